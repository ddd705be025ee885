"""What AWS's errors mean, by table. Looking at it loads no SDK: exceptions are known by their names and members."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from cloudml.errors import (
    AlreadyExists,
    AnswerLost,
    Denied,
    Invalid,
    ModelError,
    NotFound,
    PreconditionFailed,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthenticated,
    Unavailable,
)

SIGN_IN = "sign in again ('aws sso login', 'aws configure'), or set AWS_PROFILE; 'aws sts get-caller-identity' tells"
REGION = "check 'region' ($AWS_REGION): SageMaker must exist there, and be enabled for the account"
TRUST = (
    "the role must exist and trust sagemaker.amazonaws.com; give another as 'role' ($CLOUDML_SAGEMAKER_ROLE); "
    "a role that was made just now needs some seconds"
)
QUOTA = "ask for more in the Service Quotas console, or choose another instance type by options.sagemaker"
BUCKET = "make it with 'aws s3 mb s3://BUCKET --region REGION', or name another as 'bucket' ($CLOUDML_SAGEMAKER_BUCKET)"
MOVED = "SageMaker needs a bucket in its own region: set another 'bucket' or 'region'"
POLICY = "'cloudml permissions -p sagemaker' prints the policy that is needed"

SCALED = "Application Auto Scaling must see the endpoint and its alarms: " + POLICY

MACHINE = "name another as options.sagemaker.instance_type, or leave it to 'resources'"

Row = tuple[type[ProviderError], str | None]
# The codes of all services that are used; what is not here goes by its HTTP status.
CODES: Mapping[str, Row] = {
    **dict.fromkeys(
        ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"),
        (Throttled, None),
    ),
    **dict.fromkeys(("ModelNotReadyException", "LimitExceededException"), (Throttled, None)),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"), (Unauthenticated, SIGN_IN)
    ),
    **dict.fromkeys(
        ("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        (Unauthenticated, SIGN_IN),
    ),
    **dict.fromkeys(
        ("AuthFailure", "InvalidToken", "IncompleteSignature", "MissingAuthenticationToken"), (Unauthenticated, SIGN_IN)
    ),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"), (Denied, POLICY)),
    "OptInRequired": (Denied, REGION),
    **dict.fromkeys(
        ("ResourceNotFound", "ResourceNotFoundException", "NoSuchKey", "NoSuchEntity", "ObjectNotFoundException"),
        (NotFound, None),
    ),
    "NoSuchBucket": (Invalid, BUCKET),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"), (Invalid, MOVED)
    ),
    **dict.fromkeys(("ResourceLimitExceeded", "ServiceQuotaExceededException"), (QuotaExceeded, QUOTA)),
    **dict.fromkeys(("ConflictException", "ConcurrentUpdateException"), (PreconditionFailed, None)),
    "FailedResourceAccessException": (Denied, SCALED),
    **dict.fromkeys(
        (
            "InternalFailure",
            "InternalServerError",
            "InternalError",
            "ServiceUnavailable",
            "InternalDependencyException",
        ),
        (Unavailable, None),
    ),
}
LISTED = re.compile(
    r"Value '(?P<value>[^']*)' at '(?P<place>[^']*)' failed to satisfy constraint: "
    r"Member must satisfy enum value set: \[(?P<values>[^\]]*)\]"
)
FEW = 12  # values that are worth reading
# A ValidationException tells only by its text (the service model declares no errors for many operations); the first
# fragment that occurs counts.
TEXTS: tuple[tuple[str, Row], ...] = (
    ("could not assume role", (Denied, TRUST)),
    ("cannot assume", (Denied, TRUST)),
    ("instancetype is none of", (Invalid, MACHINE)),
    ("data capture enabled", (Invalid, "a schedule reads captured requests: give the endpoint 'capture: 1.0'")),
    ("already exist", (AlreadyExists, None)),
    ("could not find", (NotFound, None)),
    ("not found", (NotFound, None)),
    ("does not exist", (NotFound, None)),
    ("no such", (NotFound, None)),
    ("in-progress", (PreconditionFailed, None)),
    ("is in status", (PreconditionFailed, None)),
    ("status of", (PreconditionFailed, None)),
    ("in use", (PreconditionFailed, None)),
    ("cannot be deleted", (PreconditionFailed, None)),
    ("must be empty", (PreconditionFailed, None)),
)
SCALING = ("RegisterScalableTarget", "PutScalingPolicy")
STATUS: Mapping[int, Row] = {
    301: (Invalid, MOVED),
    401: (Unauthenticated, SIGN_IN),
    403: (Denied, POLICY),
    404: (NotFound, None),
    409: (PreconditionFailed, None),
    412: (PreconditionFailed, None),
    429: (Throttled, None),
}
# botocore's own exceptions, by name; the first class of the error's own order that is here counts.
LOCAL: Mapping[str, Row] = {
    "NoCredentialsError": (Unauthenticated, SIGN_IN),
    "PartialCredentialsError": (Unauthenticated, SIGN_IN),
    "CredentialRetrievalError": (Unauthenticated, SIGN_IN),
    "TokenRetrievalError": (Unauthenticated, SIGN_IN),
    "SSOError": (Unauthenticated, SIGN_IN),
    "ProfileNotFound": (Unauthenticated, "check 'profile' ($AWS_PROFILE) against ~/.aws/config"),
    "NoRegionError": (Invalid, REGION),
    "InvalidRegionError": (Invalid, REGION),
    "EndpointConnectionError": (Unavailable, REGION),
    "ConnectTimeoutError": (Unavailable, REGION),
    "SSLError": (Invalid, "check AWS_CA_BUNDLE and the proxy"),
    "ProxyConnectionError": (Unavailable, "check HTTPS_PROXY"),
    "ParamValidationError": (Invalid, None),
    "HTTPClientError": (AnswerLost, None),
    "ResponseStreamingError": (AnswerLost, None),
    "IncompleteReadError": (AnswerLost, None),
    "S3UploadFailedError": (Unavailable, None),
}


def classify(error: Exception) -> ProviderError | None:
    """The error of the tree for one of botocore's; None for a defect."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and "Error" in response:
        return _answered(response, str(getattr(error, "operation_name", "")))
    names = [
        kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in ("botocore", "boto3")
    ]
    row = next((LOCAL[name] for name in names if name in LOCAL), None)
    return row[0](str(error), hint=row[1]) if row else None


def _answered(response: Mapping[str, Any], operation: str) -> ProviderError:
    """An error that AWS answered with, by its code, else by its text, else by its status."""
    said, about = response["Error"], response.get("ResponseMetadata", {})
    code, text, status = str(said.get("Code", "")), _plain(str(said.get("Message", ""))), about.get("HTTPStatusCode", 0)
    if code == "ModelError":
        return ModelError(
            str(response.get("OriginalMessage") or text), status=int(response.get("OriginalStatusCode", 500))
        )
    kind, hint = _row(code.removesuffix("Fault"), text, int(status), operation)
    asked = about.get("HTTPHeaders", {}).get("retry-after", "")
    error = kind(text or code, hint=hint)
    error.operation, error.request_id = operation or None, about.get("RequestId")
    error.retry_after = float(asked) if asked.isdigit() else None
    return error


def _plain(text: str) -> str:
    """Without the list of all values where a value is none of them: that of the instance types fills a screen."""
    return LISTED.sub(_unlisted, text)


def _unlisted(match: re.Match[str]) -> str:
    values = match["values"].split(", ")
    near = difflib.get_close_matches(match["value"], values, n=3, cutoff=0.7)
    like = f", such as {', '.join(near)}" if near and len(values) > FEW else ""
    shown = match["values"] if len(values) <= FEW else f"the {len(values)} that there are{like}"
    return f"{match['value']!r} at {match['place']} is none of {shown}"


def _row(code: str, text: str, status: int, operation: str) -> Row:
    if code in ("ResourceInUse", "ResourceInUseException"):
        return (AlreadyExists if operation.startswith("Create") else PreconditionFailed), None
    if code == "LimitExceededException" and operation in SCALING:  # elsewhere it is a rate
        return QuotaExceeded, QUOTA
    if code in CODES:
        return CODES[code]
    if code in ("ValidationException", "ValidationError", "InvalidParameterException", "400"):
        lowered = text.lower()
        return next((row for fragment, row in TEXTS if fragment in lowered), (Invalid, None))
    return STATUS.get(status, (Unavailable if status >= 500 else Invalid, None))
