"""What the platforms' headers say about one request: its id, and what goes back with its answer."""

from __future__ import annotations

from collections.abc import Mapping

Headers = Mapping[bytes, bytes]
IDS = (b"x-request-id", b"x-amzn-sagemaker-inference-id", b"x-ms-client-request-id")
LONGEST_ID = 128
# what a platform hands on to its client as it came, and the most characters that it takes
RETURNED = {b"x-amzn-sagemaker-custom-attributes": 1024, b"x-ms-client-request-id": 100}
DEPLOYMENT = b"azureml-model-deployment"
KNOWN = frozenset((*IDS, *RETURNED, DEPLOYMENT))


def given_id(headers: Headers) -> bytes | None:
    """The client's own id, the first that can be sent back."""
    for name in IDS:
        value = headers.get(name)
        if value and _sendable(value, LONGEST_ID):
            return value
    return None


def returned(headers: Headers, deployment: str | None) -> bytes:
    """Whole header lines for the answer; ``deployment`` is the one that answers, told to whoever named one."""
    lines = b""
    for name, longest in RETURNED.items():
        value = headers.get(name)
        if value and _sendable(value, longest):
            lines += name + b": " + value + b"\r\n"
    if deployment is not None and DEPLOYMENT in headers:
        lines += DEPLOYMENT + b": " + deployment.encode() + b"\r\n"
    return lines


def _sendable(value: bytes, longest: int) -> bool:
    return len(value) <= longest and value.isascii() and value.decode().isprintable()
