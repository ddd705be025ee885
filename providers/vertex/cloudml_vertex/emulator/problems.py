"""The service's own refusals: a canonical status and a text, in the form of gRPC and of REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Canonical status: its number, and the HTTP code that REST answers with (google.rpc.Code).
STATUS: Mapping[str, tuple[int, int]] = {
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "UNAUTHENTICATED": (16, 401),
}


class Problem(Exception):
    """What a call is refused with."""

    def __init__(self, status: str, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self._code = code

    @property
    def number(self) -> int:
        return STATUS[self.status][0]

    @property
    def code(self) -> int:
        """Of HTTP."""
        return self._code or STATUS[self.status][1]

    def document(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "status": self.status}}


class Lost(Exception):
    """The call was carried out and its answer does not arrive."""


def invalid(message: str) -> Problem:
    return Problem("INVALID_ARGUMENT", message)


def wrong_fields(*errors: tuple[str, str]) -> Problem:
    """In the service's own words (seen in public issues; facts, vertex.md §5)."""
    listed = "".join(f"\t{number}.Field: {field}; Message: {text}" for number, (field, text) in enumerate(errors, 1))
    return invalid(f"List of found errors:{listed}\t")


def precondition(message: str) -> Problem:
    return Problem("FAILED_PRECONDITION", message)


def missing(name: str) -> Problem:
    kind = name.split("/")[-2] if "/" in name else "resource"
    singular = {"customJobs": "CustomJob", "models": "Model", "endpoints": "Endpoint"}.get(kind, "Resource")
    return Problem("NOT_FOUND", f"The {singular} does not exist. Resource name: {name}")
