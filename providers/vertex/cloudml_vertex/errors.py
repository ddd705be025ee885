"""What Google's errors mean, by table. gRPC and REST raise different classes for one status (vertex.md §5)."""

from __future__ import annotations

import re
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

ADDRESS = re.compile(r"^[A-Z]+ https?://\S+: ")
POOL = re.compile(
    r"HTTPSConnectionPool\(host='([^']+)'.*['\"]([^'\"]+)['\"]\)+$", re.DOTALL
)  # urllib3's, with its cause
CHANNEL = re.compile(r"failed to connect to all addresses; last error: (?:[A-Z]+: )?")  # gRPC's own words
FIELD = re.compile(r"\d+\.Field: (.*?); Message: (.*?)\t")  # of "List of found errors"
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
HINTS: Mapping[type[ProviderError], str] = {
    Unauthenticated: "run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS",
    Denied: "give roles/aiplatform.user, and the bucket's roles/storage.objectAdmin; or as 'cloudml permissions' says",
}
LOCATION = "is 'location' of provider 'vertex' one of Vertex AI's regions, and this machine's network up?"
BUCKET = (
    "make it by 'gcloud storage buckets create gs://NAME --location=LOCATION', or set 'bucket' of provider 'vertex'"
)
# What the words say and the status does not; the first that fits.
SAID: tuple[tuple[str, type[ProviderError], str], ...] = (
    (
        "exceed quota limits",  # of a project, where a limit of requests per minute passes by itself
        QuotaExceeded,
        "ask for more in the console under IAM & Admin, Quotas, or use another location",
    ),
    ("bucket does not exist", Invalid, BUCKET),
    ("DNS resolution failed", Invalid, LOCATION),
    ("Name or service not known", Invalid, LOCATION),
    ("Failed to resolve", Invalid, LOCATION),
    ("proxy returned response code 403", Invalid, LOCATION),  # a proxy that does not know the host, over gRPC
    ("Tunnel connection failed: 403", Invalid, LOCATION),  # and over REST
    ("machine_type; Message", Invalid, "name another: options.vertex.machine_type"),
)


def classify(error: Exception) -> ProviderError | None:
    """The error of the tree for one of Google's client libraries'; None for a defect."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    called = "google.api_core.exceptions.GoogleAPICallError" in names
    found = (
        STATUS.get(status(error), Unavailable)
        if called
        else next((kind for name, kind in BELOW.items() if name in names), None)
    )
    if found is None:
        return None
    said = str((called and getattr(error, "message", None)) or error) or type(error).__name__
    for words, kind, hint in SAID:
        if words in said:
            return kind(_plain(said), hint=hint)
    return found(_plain(said), hint=HINTS.get(found))


def _plain(said: str) -> str:
    """Without the address that REST puts before it and what wraps a cause; a list of wrong fields as a line."""
    text = CHANNEL.sub("no connection: ", ADDRESS.sub("", said))
    text = POOL.sub(lambda match: f"{match[1]}: {match[2].strip(' ()')}", text)
    return "; ".join(f"{field}: {why}" for field, why in FIELD.findall(text)) or text


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
