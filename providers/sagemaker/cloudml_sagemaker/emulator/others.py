"""Every service but SageMaker: who asks, what was ordered to go wrong, who answers, in which form it is refused.

What a source does not implement is a 4xx here, in the form of the service: a 500 makes every client try again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from cloudml.emulation.faults import Trouble
from cloudml_sagemaker.emulator import callers, operations, simulating
from cloudml_sagemaker.emulator.accounts import World
from cloudml_sagemaker.emulator.callers import Key
from cloudml_sagemaker.emulator.front import Answer, Request
from cloudml_sagemaker.emulator.problems import Lost, Refused
from cloudml_sagemaker.emulator.services import MARK

# What AWS's services call the same refusal.
CODES = {
    ("s3", "UnrecognizedClientException"): "InvalidAccessKeyId",
    ("s3", "ExpiredTokenException"): "ExpiredToken",
    ("xml", "UnrecognizedClientException"): "InvalidClientTokenId",
    ("xml", "ExpiredTokenException"): "ExpiredToken",
    ("xml", "MissingAuthenticationTokenException"): "MissingAuthenticationToken",
}


class Source(Protocol):
    """An emulator of some of AWS's services; 500 and 501 are what it cannot answer."""

    name: str

    def ask(self, request: Request, account: str | None) -> Answer:
        """Its answer to a request; nobody signed it if there is no account. Raises Refused."""

    def find(self, key: str) -> Key | None:
        """What it knows of an access key that its IAM or STS gave out."""


class Others:
    """The services of ``sources`` by their names, and all that are left by ``rest``."""

    def __init__(self, world: World, rest: Source, sources: Mapping[str, Source]) -> None:
        self._world, self._rest, self._sources = world, rest, sources

    def account(self, request: Request) -> str:
        """The account of whoever signed. Raises Refused."""
        return callers.account(request, self._source("iam").find)

    def _source(self, service: str) -> Source:
        return self._sources.get(service, self._rest)

    def __call__(self, request: Request) -> Answer:
        called = operations.called(request)
        source = self._source(called.service)
        try:
            account = self.account(request) if request.signer or called.service != "s3" else None
            if account and MARK not in request.headers.get("user-agent", ""):
                self._world.count(account, f"{called.service} {called.operation.partition(' ')[0]}")
            fault = self._ordered(called, request)
            if account and (called.service, called.operation) == ("iam", simulating.OPERATION):
                answer = simulating.simulate(self._world, account, request)
            else:
                answer = source.ask(request, account)
        except Refused as refused:
            return refusal(called, refused)
        if fault is not None and fault.trouble is Trouble.LOSE:
            raise Lost
        if answer.status in (500, 501):
            return refusal(called, _unsupported(called, source.name))
        return answer

    def _ordered(self, called: operations.Called, request: Request) -> Any:
        if MARK in request.headers.get("user-agent", ""):
            return None
        troubles = (Trouble.THROTTLE, Trouble.UNAVAILABLE, Trouble.SLOW, Trouble.LOSE, Trouble.QUOTA, Trouble.DENY)
        fault = self._world.site.faults.take(called.operation, called.target, *troubles)
        match fault and fault.trouble:
            case Trouble.THROTTLE if called.service == "s3":
                raise Refused("SlowDown", "Please reduce your request rate.", 503)
            case Trouble.THROTTLE:
                raise Refused("ThrottlingException", "Rate exceeded")
            case Trouble.UNAVAILABLE:
                raise Refused("ServiceUnavailable", "Service is unavailable", 503)
            case Trouble.DENY if called.service == "s3":
                raise Refused("AccessDenied", "Access Denied", 403)
            case Trouble.DENY:
                raise Refused("AccessDeniedException", f"not authorized to perform: {called.operation}")
            case Trouble.QUOTA:
                raise Refused("LimitExceededException", "The limit of this account is reached.")
            case Trouble.SLOW if fault:
                self._world.sleep(fault.seconds)
        return fault


def _unsupported(called: operations.Called, source: str) -> Refused:
    what = f"{called.service} {called.operation}"
    message = f"{what} is outside cloudml's emulator of AWS: {source} does not implement it."
    return Refused("UnsupportedOperation", message)


def refusal(called: operations.Called, refused: Refused) -> Answer:
    """An error in the form that clients of the service read."""
    id = str(uuid.uuid4())
    form = "s3" if called.service == "s3" else called.protocol
    code, message = CODES.get((form, refused.code), refused.code), refused.message
    if called.protocol == "json":
        body = json.dumps({"__type": code, "message": message, "Message": message}).encode()
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": id, "x-amzn-ErrorType": code}
        return Answer(refused.status, headers, body)
    text = f"<Code>{_escaped(code)}</Code><Message>{_escaped(message)}</Message>"
    if called.service == "s3":
        body = f"<?xml version='1.0' encoding='UTF-8'?><Error>{text}<RequestId>{id}</RequestId></Error>".encode()
    else:
        inner = f"<Error><Type>Sender</Type>{text}</Error><RequestId>{id}</RequestId>"
        body = f"<ErrorResponse>{inner}</ErrorResponse>".encode()
    return Answer(refused.status, {"Content-Type": "text/xml", "x-amzn-RequestId": id}, body)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
