"""What comes in and what goes out: requests, answers, and refusals in the shape of Azure's own errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cloudml.emulation import http
from cloudml.emulation.http import Answer
from cloudml.errors import CloudmlError

Document = dict[str, Any]


class Request(http.Request):
    """One HTTP request; ``query`` has the last value of each name that has one."""

    @cached_property
    def path(self) -> str:
        """Without its query, and without escapes."""
        return unquote(urlsplit(self.target).path)

    @cached_property
    def query(self) -> Mapping[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def document(self) -> Document:
        """The body as a JSON object. Raises Refused."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError as bad:
            raise Refused(400, "InvalidRequestContent", f"The request content was invalid: {bad}") from bad
        if not isinstance(document, dict):
            raise Refused(400, "InvalidRequestContent", "The request content must be a JSON object.")
        return document


class Refused(Exception):
    """The service's own refusal, in ARM's form: code, message, details; ``component`` is the part that says it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        component: str | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.details = status, code, message, details
        self.headers, self.component = headers or {}, component

    def error(self) -> Document:
        """As it stands in the body, and in a failed operation's status."""
        details = [
            {"code": code, "message": message, "details": [], "additionalInfo": []} for code, message in self.details
        ]
        made: Document = {"code": self.code, "message": self.message, "details": details, "additionalInfo": []}
        if self.component:
            made["additionalInfo"] = [{"type": "ComponentName", "info": {"value": self.component}}]
        return made

    def answer(self) -> Answer:
        return Answer(self.status, {"error": self.error()}, {"x-ms-response-type": "error", **self.headers})


def told(error: CloudmlError) -> str:
    """What went wrong on this machine, with what to do about it."""
    return f"{error}; {error.hint}" if error.hint else str(error)


FRONTEND = "managementfrontend"


def user_error(status: int, message: str, *details: tuple[str, str]) -> Refused:
    """How Azure ML's own front end refuses; ARM's other refusals have codes of their own."""
    return Refused(status, "UserError", message, details, component=FRONTEND)


def invalid(*problems: str) -> Refused:
    """A body that does not fit its schema: each problem becomes a detail."""
    details = [("InvalidParameter", problem) for problem in problems]
    return Refused(400, "BadRequest", "The request is invalid.", details, component=FRONTEND)


def missing(what: str, name: str) -> Refused:
    return user_error(404, f"The specified resource was not found: {what} {name}")
