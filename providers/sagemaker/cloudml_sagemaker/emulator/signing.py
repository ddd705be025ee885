"""Who signed a request: the access key, region and service of Signature Version 4.

Each access key that the emulator hands out has its account in it: ``AKIA``, the twelve digits of the account, four
more letters. So every test can have an account of its own; any other key is looked up by moto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request")
OURS = re.compile(r"(?:AKIA|ASIA)(\d{12})[A-Z0-9]{4}")


@dataclass(frozen=True)
class Signer:
    key: str
    region: str
    service: str


def signer(headers: Mapping[str, str], query: str) -> Signer | None:
    """From the Authorization header, or from a presigned address."""
    text = headers.get("authorization", "")
    if not text and "X-Amz-Credential" in query:
        text = f"Credential={parse_qs(query)['X-Amz-Credential'][0]}"
    match = CREDENTIAL.search(text)
    return Signer(match[1], match[3], match[4]) if match else None


def access_key(account: str) -> str:
    """The access key of an account."""
    return f"AKIA{account}EMUL"


def account_in(key: str) -> str | None:
    """The account that an access key of ours names."""
    match = OURS.fullmatch(key)
    return match[1] if match else None
