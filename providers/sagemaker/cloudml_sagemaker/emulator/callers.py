"""Whose request it is: the account behind an access key, as long as its token is good."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass

from cloudml_sagemaker.emulator.front import Request
from cloudml_sagemaker.emulator.problems import Refused
from cloudml_sagemaker.emulator.signing import account_in, ends

INVALID = ("UnrecognizedClientException", "The security token included in the request is invalid.", 403)
EXPIRED = ("ExpiredTokenException", "The security token included in the request is expired", 403)


@dataclass(frozen=True)
class Key:
    """What is known of an access key: its account and, of a temporary one, its token and its end."""

    account: str
    token: str | None = None
    expires: datetime.datetime | None = None


def account(request: Request, find: Callable[[str], Key | None]) -> str:
    """The caller's account. Raises Refused, as AWS does, for nobody, strangers, and tokens and addresses that are over.

    ``find`` looks up the keys that IAM and STS gave out.
    """
    signer = request.signer
    if signer is None:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
    if (end := ends(request.query)) and end < time.time():
        raise Refused("AccessDenied", "Request has expired", 403)
    if own := account_in(signer.key):
        return own
    key = find(signer.key)
    if key is None or (key.token and request.headers.get("x-amz-security-token") not in (None, key.token)):
        raise Refused(*INVALID)
    if key.expires and key.expires < datetime.datetime.now(datetime.UTC):
        raise Refused(*EXPIRED)
    return key.account
