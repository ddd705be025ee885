"""What Azure's errors mean: by HTTP status, and where one status says several things, by the service's own code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cloudml.errors import (
    AlreadyExists,
    AnswerLost,
    Denied,
    Invalid,
    NotFound,
    PreconditionFailed,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from cloudml_azureml.permissions import built_in

STATUS: Mapping[int, type[ProviderError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Denied,
    404: NotFound,
    405: Invalid,
    408: AnswerLost,
    409: AlreadyExists,
    412: PreconditionFailed,
    413: Invalid,
    429: Throttled,
    504: AnswerLost,
}
# The service's codes and texts that say more than their status; the first row that fits counts.
SAID: tuple[tuple[str, type[ProviderError]], ...] = (
    ("QuotaExceeded", QuotaExceeded),
    ("OutOfQuota", QuotaExceeded),
    ("OutOfCapacity", QuotaExceeded),
    ("provisioning state", PreconditionFailed),
    ("cancel it first", PreconditionFailed),
    ("DeploymentHasTraffic", PreconditionFailed),
    ("needs to be unique within a region", AlreadyExists),
    ("ErrorCode:ServerBusy", Throttled),  # of the storage account: over its rate, and nothing was done
)
ABORTED = re.compile(r"\('([^']+?)\.?', \w+\((?:\d+, )?'([^']+)'\)\)")  # how urllib3 words a connection that ended
ACTION = re.compile(r"perform action '([^']+)'")  # what ARM says of a permission that is missing
REFUSED = "Authentication failed: "  # other credentials of a chain were not there
# What never reached Azure, by the name of the exception's class.
BELOW: Mapping[str, type[ProviderError]] = {
    "azure.core.exceptions.ClientAuthenticationError": Unauthenticated,
    "azure.core.exceptions.ServiceRequestError": Unavailable,
    "azure.core.exceptions.ServiceResponseError": AnswerLost,
    "azure.core.exceptions.IncompleteReadError": AnswerLost,
    "requests.exceptions.ConnectTimeout": Unavailable,
    "requests.exceptions.RequestException": AnswerLost,
    "builtins.ConnectionError": AnswerLost,
    "builtins.TimeoutError": AnswerLost,
}
HINTS: Mapping[type[ProviderError], str] = {
    Unauthenticated: "run 'az login', or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
    Denied: "'cloudml permissions' prints the least role; a firewall of the workspace or its storage refuses too",
    QuotaExceeded: "ask for more in the portal under Quotas, or choose another size or region",
}


def classify(error: Exception) -> ProviderError | None:
    """The error of the tree for one of Azure's client libraries'; None for a defect."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    code = getattr(error, "status_code", None)
    if "azure.core.exceptions.HttpResponseError" in names and isinstance(code, int):
        return _of_answer(error, code)
    found = next((kind for name, kind in BELOW.items() if name in names), None)
    return found(_below(error), hint=HINTS.get(found)) if found else None


def _below(error: Exception) -> str:
    """The first line, and which credential was refused: azure-identity tells of each that it tried, on a page."""
    first, *rest = str(error).splitlines() or [type(error).__name__]
    return " ".join([ABORTED.sub(r"\1: \2", first), *(line.strip() for line in rest if REFUSED in line)])


def _of_answer(error: Exception, code: int) -> ProviderError:
    said = message(error)
    kind = STATUS.get(code, Unavailable if code >= 500 else Invalid)
    kind = next((found for text, found in SAID if text in said), kind)
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    wait = headers.get("Retry-After", "")
    return kind(
        said,
        request_id=headers.get("x-ms-request-id"),
        retry_after=float(wait) if kind is Throttled and str(wait).isdecimal() else None,
        hint=_permission(said) if kind is Denied else HINTS.get(kind),
    )


def _permission(said: str) -> str:
    """The action that is missing, and the built-in role that has it."""
    found = ACTION.search(said)
    if found is None:
        return HINTS[Denied]
    role = built_in(found[1])
    return f"{found[1]} is missing: the role {role!r} on the workspace has it; 'cloudml permissions' prints the least"


def message(error: Exception) -> str:
    """Code and message, and of a refused body every detail: the reason stands there."""
    model: Any = getattr(error, "error", None)
    if model is None or getattr(model, "message", None) is None:
        return str(getattr(error, "message", None) or error)
    details = "; ".join(f"{each.code}: {_plain(each.message)}" for each in model.details or () if each.message)
    return f"{model.code}: {model.message}" + (f" ({details})" if details else "")


def _plain(text: str) -> str:
    """What a service behind the front end said, which may be a document: ``{"errors": {"": ["…"]}, "status": 400}``."""
    try:
        return " ".join(said for all in json.loads(text)["errors"].values() for said in all)
    except (ValueError, TypeError, KeyError, AttributeError):
        return text
