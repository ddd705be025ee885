"""Who signed a request: the access key, region and service of Signature Version 4; of Version 2 in addresses, too.

Each access key that the emulator hands out has its account in it: ``AKIA``, the twelve digits of the account, four
more letters. So every test can have an account of its own; any other key is looked up by moto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qs

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request")
OURS = re.compile(r"(?:AKIA|ASIA)(\d{12})[A-Z0-9]{4}")


@dataclass(frozen=True)
class Signer:
    key: str
    region: str
    service: str


def signer(headers: Mapping[str, str], query: str) -> Signer | None:
    """From the Authorization header, or from a presigned address, which boto3 still makes by Version 2 in us-east-1."""
    text = headers.get("authorization", "")
    if not text and "X-Amz-Credential" in query:
        text = f"Credential={parse_qs(query)['X-Amz-Credential'][0]}"
    if not text and "AWSAccessKeyId=" in query:
        return Signer(parse_qs(query)["AWSAccessKeyId"][0], "us-east-1", "s3")
    match = CREDENTIAL.search(text)
    return Signer(match[1], match[3], match[4]) if match else None


def ends(query: str) -> float | None:
    """When a presigned address is over, as seconds since 1970; None for what is none."""
    found = {name: values[0] for name, values in parse_qs(query).items()}
    if "AWSAccessKeyId" in found:
        return float(found["Expires"]) if found.get("Expires", "").isdecimal() else None
    try:
        signed = datetime.strptime(found["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed.timestamp() + int(found["X-Amz-Expires"])
    except (LookupError, ValueError):
        return None


def access_key(account: str) -> str:
    """The access key of an account."""
    return f"AKIA{account}EMUL"


def account_in(key: str) -> str | None:
    """The account that an access key of ours names."""
    match = OURS.fullmatch(key)
    return match[1] if match else None
