"""Whose request it is: the account behind an access key, as long as its token is good."""

from __future__ import annotations

import datetime
from typing import Any

from cloudml_sagemaker.emulator.front import Request
from cloudml_sagemaker.emulator.problems import Refused
from cloudml_sagemaker.emulator.signing import account_in

INVALID = ("UnrecognizedClientException", "The security token included in the request is invalid.", 403)
EXPIRED = ("ExpiredTokenException", "The security token included in the request is expired", 403)
NOBODY = "123456789012"  # the account that moto takes for keys that it does not know


def account(request: Request) -> str:
    """The caller's account. Raises Refused, as AWS does, for nobody, for strangers and for tokens that have expired."""
    signer = request.signer
    if signer is None:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
    found = account_in(signer.key)
    if found:
        return found
    session = _session(signer.key)
    if session is not None:
        if request.headers.get("x-amz-security-token") not in (None, session.session_token):
            raise Refused(*INVALID)
        if session.expiration.replace(tzinfo=datetime.UTC) < datetime.datetime.now(datetime.UTC):
            raise Refused(*EXPIRED)
        return str(session.account_id)
    from moto.iam.models import get_account_id_from

    known: str = get_account_id_from(signer.key)
    if known == NOBODY:
        raise Refused(*INVALID)
    return known


def _session(key: str) -> Any:
    """The assumed role that a temporary key belongs to."""
    from moto.sts.models import sts_backends

    for regions in [*sts_backends.values()]:
        for backend in [*regions.values()]:
            if found := backend.get_assumed_role_from_access_key(key):
                return found
    return None
