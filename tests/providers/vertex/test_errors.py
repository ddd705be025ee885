"""What Google's exceptions become: real ones of both transports, and of what lies below them."""

from __future__ import annotations

import grpc
import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from grpc.aio import AioRpcError

from cloudml import errors
from cloudml_vertex.errors import classify

ROWS = (
    (400, "INVALID_ARGUMENT", errors.Invalid),
    (400, "FAILED_PRECONDITION", errors.PreconditionFailed),
    (401, "UNAUTHENTICATED", errors.Unauthenticated),
    (403, "PERMISSION_DENIED", errors.Denied),
    (404, "NOT_FOUND", errors.NotFound),
    (409, "ALREADY_EXISTS", errors.AlreadyExists),
    (409, "ABORTED", errors.PreconditionFailed),
    (429, "RESOURCE_EXHAUSTED", errors.Throttled),
    (500, "INTERNAL", errors.Unavailable),
    (501, "UNIMPLEMENTED", errors.Invalid),
    (503, "UNAVAILABLE", errors.Unavailable),
    (504, "DEADLINE_EXCEEDED", errors.AnswerLost),
)


def over_grpc(status: str, said: str) -> Exception:
    nothing = grpc.aio.Metadata()
    found: Exception = exceptions.from_grpc_error(AioRpcError(grpc.StatusCode[status], nothing, nothing, said))
    return found


def over_rest(code: int, status: str, said: str) -> Exception:
    answer = requests.Response()
    answer.status_code = code
    answer.request = requests.Request("POST", "https://us-central1-aiplatform.googleapis.com/v1/x?a=b").prepare()
    answer.json = lambda **_: {"error": {"code": code, "message": said, "status": status}}  # type: ignore[method-assign]
    answer._content = f'{{"error": {{"code": {code}, "message": "{said}", "status": "{status}"}}}}'.encode()
    return exceptions.from_http_response(answer)


@pytest.mark.parametrize(("code", "status", "kind"), ROWS)
def test_one_status_is_one_error_whatever_the_transport(
    code: int, status: str, kind: type[errors.ProviderError]
) -> None:
    for error in (over_grpc(status, "said so"), over_rest(code, status, "said so")):
        found = classify(error)
        assert type(found) is kind, error
        assert str(found) == "said so"


@pytest.mark.parametrize(
    ("status", "said", "kind", "hint"),
    [
        ("RESOURCE_EXHAUSTED", "The following quota metrics exceed quota limits: x", errors.QuotaExceeded, "Quotas"),
        ("UNAVAILABLE", "DNS resolution failed for mars1-aiplatform.googleapis.com", errors.Invalid, "'location'"),
        ("NOT_FOUND", "The specified bucket does not exist.", errors.Invalid, "buckets create"),
        ("PERMISSION_DENIED", "The caller does not have permission.", errors.Denied, "roles/aiplatform.user"),
    ],
)
def test_what_the_words_say(status: str, said: str, kind: type[errors.ProviderError], hint: str) -> None:
    found = classify(over_grpc(status, said))
    assert type(found) is kind
    assert hint in str(found.hint)


def test_a_list_of_wrong_fields_is_a_line() -> None:
    said = "List of found errors:\t1.Field: a.b; Message: No.\t2.Field: c; Message: Neither.\t"
    assert str(classify(over_grpc("INVALID_ARGUMENT", said))) == "a.b: No.; c: Neither."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DefaultCredentialsError("none"), errors.Unauthenticated),
        (RefreshError("revoked"), errors.Unauthenticated),
        (TransportError("cut"), errors.Unavailable),
        (requests.exceptions.ConnectTimeout("late"), errors.Unavailable),
        (requests.exceptions.ReadTimeout("late"), errors.AnswerLost),
        (requests.exceptions.ConnectionError("Failed to resolve 'mars1-aiplatform.googleapis.com'"), errors.Invalid),
        (ConnectionResetError("reset"), errors.AnswerLost),
        (ConnectionRefusedError("refused"), errors.Unavailable),
    ],
)
def test_what_never_reached_google(error: Exception, kind: type[errors.ProviderError]) -> None:
    assert type(classify(error)) is kind


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (
            """NameResolutionError("HTTPSConnection(host='m'): Failed to resolve 'mars1-x' ([Errno -2] Unknown)")""",
            "mars1-x: [Errno -2] Unknown",
        ),
        (
            "ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 403 Forbidden'))",
            "mars1-x: Tunnel connection failed: 403 Forbidden",
        ),
    ],
)
def test_what_wraps_a_cause_is_left_out(cause: str, said: str) -> None:
    text = (
        f"HTTPSConnectionPool(host='mars1-x', port=443): Max retries exceeded with url: /v1/a?b=c (Caused by {cause})"
    )
    found = classify(requests.exceptions.ConnectionError(text))
    assert (type(found), str(found)) == (errors.Invalid, said)
    assert "one of Vertex AI's regions" in str(found.hint)
    channel = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: Connection refused"
    assert str(classify(over_grpc("UNAVAILABLE", channel))) == "no connection: ipv4:127.0.0.1:9: Connection refused"


def test_a_defect_stays_what_it_is() -> None:
    assert classify(KeyError("x")) is None
