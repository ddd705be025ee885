"""CRC-32C, by which Cloud Storage's clients check what they read; the library that they bring does it."""

from __future__ import annotations

import base64

import google_crc32c


def crc32c(body: bytes) -> str:
    """As the service writes it: four bytes, big-endian, in base 64."""
    return base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
