"""The services that moto answers. It is found by the host; moto itself would go by the signature, and else say S3.

What moto does not implement is a 4xx here, in the form of the service: its own 500 makes every client try again.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from cloudml.emulation.faults import Trouble
from cloudml_sagemaker.emulator import operations
from cloudml_sagemaker.emulator.accounts import World
from cloudml_sagemaker.emulator.front import Answer, Request
from cloudml_sagemaker.emulator.problems import DEFECTS, Lost, Refused
from cloudml_sagemaker.emulator.services import MARK

# What AWS's services call the same refusal.
CODES = {
    ("s3", "UnrecognizedClientException"): "InvalidAccessKeyId",
    ("s3", "ExpiredTokenException"): "ExpiredToken",
    ("xml", "UnrecognizedClientException"): "InvalidClientTokenId",
    ("xml", "ExpiredTokenException"): "ExpiredToken",
    ("xml", "MissingAuthenticationTokenException"): "MissingAuthenticationToken",
}
HANDLERS: dict[str, list[tuple[re.Pattern[str], Callable[..., Any]]]] = {}


class Moto:
    """Every service but SageMaker."""

    def __init__(self, world: World, account: Callable[[Request], str]) -> None:
        self._world, self._account = world, account
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        called = operations.called(request)
        try:
            account = self._account(request) if request.signer or called.service != "s3" else None
            if account and MARK not in request.headers.get("user-agent", ""):
                self._world.count(account, f"{called.service} {called.operation.partition(' ')[0]}")
            fault = self._ordered(called, request)
            answer = self._ask(request, account)
        except Refused as refused:
            return refusal(called, refused)
        if fault is not None and fault.trouble is Trouble.LOSE:
            raise Lost
        if called.operation == "GetAuthorizationToken":
            answer = _valid_for_a_while(answer)
        if answer.status in (500, 501) or (answer.status == 404 and answer.body == b"Not yet implemented"):
            return refusal(called, _unsupported(called))
        return answer

    def _ordered(self, called: operations.Called, request: Request) -> Any:
        if MARK in request.headers.get("user-agent", ""):
            return None
        troubles = (Trouble.THROTTLE, Trouble.UNAVAILABLE, Trouble.SLOW, Trouble.LOSE, Trouble.QUOTA)
        fault = self._world.site.faults.take(called.operation, called.target, *troubles)
        match fault and fault.trouble:
            case Trouble.THROTTLE if called.service == "s3":
                raise Refused("SlowDown", "Please reduce your request rate.", 503)
            case Trouble.THROTTLE:
                raise Refused("ThrottlingException", "Rate exceeded")
            case Trouble.UNAVAILABLE:
                raise Refused("ServiceUnavailable", "Service is unavailable", 503)
            case Trouble.QUOTA:
                raise Refused("LimitExceededException", "The limit of this account is reached.")
            case Trouble.SLOW if fault:
                self._world.sleep(fault.seconds)
        return fault

    def _ask(self, request: Request, account: str | None) -> Answer:
        """moto's own answer; 501 for what it has no handler of."""
        from moto.core.exceptions import HTTPException

        host = request.host.partition(":")[0]
        url = f"https://{host}{request.path}"
        for pattern, handler in self._handlers(host):
            if pattern.match(url):
                asked = _as_moto(request, host, account)
                try:
                    found = handler(asked, asked.raw_url, asked.headers)
                except HTTPException as error:
                    found = error.code or 400, dict(error.get_headers()), error.get_body()
                except NotImplementedError:
                    return Answer(501)
                except DEFECTS as error:  # of moto's
                    return Answer(501, {}, repr(error).encode())
                return _answer(found)
        return Answer(501)

    def _handlers(self, host: str) -> list[tuple[re.Pattern[str], Callable[..., Any]]]:
        """moto's handlers of the service that a host belongs to, loaded when it is first asked."""
        if host not in HANDLERS:
            with self._lock:
                HANDLERS[host] = _load(host)
        return HANDLERS[host]


def _load(host: str) -> list[tuple[re.Pattern[str], Callable[..., Any]]]:
    import moto.backends
    from moto import backend_index
    from moto.core import DEFAULT_ACCOUNT_ID

    found: list[tuple[re.Pattern[str], Callable[..., Any]]] = []
    for service, pattern in backend_index.backend_url_patterns:
        if pattern.match(f"https://{host}/"):
            regions = moto.backends.get_backend(service)[DEFAULT_ACCOUNT_ID]
            backend = regions["us-east-1" if "us-east-1" in regions else "aws"]
            found += [(re.compile(url), handler) for url, handler in backend.urls.items()]
    return found


def _as_moto(request: Request, host: str, account: str | None) -> Any:
    from moto.core.request import PRESERVED_HEADER_NAMES_ENVIRON_KEY
    from moto.core.request import Request as Asked

    headers = [(name, value) for name, value in request.headers.items() if name not in ("transfer-encoding", "expect")]
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _decoded(request.path),
        "QUERY_STRING": request.query,
        "RAW_URI": request.target,
        "REQUEST_URI": request.target,
        "SERVER_NAME": host,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0),
        "CONTENT_LENGTH": str(len(request.body)),
        PRESERVED_HEADER_NAMES_ENVIRON_KEY: {
            "HTTP_" + name.upper().replace("-", "_"): name
            for name, _ in headers
            if "_" in name and name.startswith("x-amz-meta-")
        },
    }
    for name, value in headers:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_LENGTH", "HOST"):
            environ["CONTENT_TYPE" if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    environ["HTTP_HOST"] = host
    if account:
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = account
    return Asked(environ)


def _decoded(path: str) -> str:
    """A path as WSGI has it: its bytes, each as one character."""
    return unquote_to_bytes(path).decode("latin-1")


def _answer(found: Any) -> Answer:
    status, headers, body = found if len(found) == 3 else (200, {}, found)
    status = int(headers.pop("status", status)) if isinstance(headers, dict) else status
    content = body if isinstance(body, bytes) else b"".join(body) if not isinstance(body, str) else body.encode()
    kept = {str(name): str(value) for name, value in headers.items() if name.lower() != "transfer-encoding"}
    if kept.get("content-length") and content:
        kept.pop("content-length")
    return Answer(int(status), kept, content)


def _valid_for_a_while(answer: Answer) -> Answer:
    """ECR's token ends twelve hours from now; moto's ended in 2015."""
    document = json.loads(answer.body)
    for each in document.get("authorizationData", ()):
        each["expiresAt"] = time.time() + 12 * 3600
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
    return Answer(answer.status, headers, json.dumps(document).encode())


def _unsupported(called: operations.Called) -> Refused:
    message = f"{called.service} {called.operation} is outside cloudml's emulator of AWS: moto does not implement it."
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
