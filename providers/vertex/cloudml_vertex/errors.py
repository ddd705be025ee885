"""What Google's errors mean, by table. gRPC and REST raise different classes for one status (vertex.md §5)."""

from __future__ import annotations

from collections.abc import Mapping

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

# The canonical status, as both transports know it.
STATUS: Mapping[str, type[ProviderError]] = {
    "INVALID_ARGUMENT": Invalid,
    "OUT_OF_RANGE": Invalid,
    "FAILED_PRECONDITION": PreconditionFailed,
    "ABORTED": PreconditionFailed,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "PERMISSION_DENIED": Denied,
    "UNAUTHENTICATED": Unauthenticated,
    "RESOURCE_EXHAUSTED": Throttled,
    "DEADLINE_EXCEEDED": AnswerLost,
    "CANCELLED": AnswerLost,
    "UNIMPLEMENTED": Invalid,
    "INTERNAL": Unavailable,
    "UNKNOWN": Unavailable,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": Unavailable,
}
# Where REST names no status: by HTTP code.
CODES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# What never reached Google, by the name of the exception's class.
BELOW: Mapping[str, type[ProviderError]] = {
    "google.auth.exceptions.DefaultCredentialsError": Unauthenticated,
    "google.auth.exceptions.RefreshError": Unauthenticated,
    "google.auth.exceptions.TransportError": Unavailable,
    "requests.exceptions.ConnectTimeout": Unavailable,
    "requests.exceptions.Timeout": AnswerLost,
    "requests.exceptions.ConnectionError": AnswerLost,
    "builtins.ConnectionRefusedError": Unavailable,
    "builtins.ConnectionError": AnswerLost,
    "builtins.TimeoutError": AnswerLost,
}
OVER = "exceed quota limits"  # of an account, where a limit of requests per minute passes by itself
HINTS: Mapping[type[ProviderError], str] = {
    Unauthenticated: "run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS",
    Denied: "Vertex AI needs roles/aiplatform.user, the bucket roles/storage.objectAdmin",
    QuotaExceeded: "ask for more in the console under IAM & Admin, Quotas, or use another location",
}


def classify(error: Exception) -> ProviderError | None:
    """The error of the tree for one of Google's client libraries'; None for a defect."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if "google.api_core.exceptions.GoogleAPICallError" in names:
        kind = STATUS.get(status(error), Unavailable)
        said = str(getattr(error, "message", None) or error)
        return _made(QuotaExceeded if kind is Throttled and OVER in said else kind, said)
    found = next((kind for name, kind in BELOW.items() if name in names), None)
    return _made(found, str(error) or type(error).__name__) if found else None


def status(error: Exception) -> str:
    """The canonical status: gRPC's own, the one in REST's body, or what the HTTP code says."""
    grpc = getattr(error, "grpc_status_code", None)
    response = getattr(error, "response", None)
    if grpc is not None and type(response).__name__ != "Response":
        return str(grpc.name)
    code = int(getattr(error, "code", 0) or 0)
    return _in_body(response) or CODES.get(code, "UNAVAILABLE" if code >= 500 else "INVALID_ARGUMENT")


def _in_body(response: object) -> str | None:
    text = getattr(response, "text", "")
    return next((name for name in STATUS if f'"{name}"' in text), None) if isinstance(text, str) else None


def _made(kind: type[ProviderError], said: str) -> ProviderError:
    return kind(said, hint=HINTS.get(kind))
