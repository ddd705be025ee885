"""Services by moto, in this process: a handler is found by the host; moto itself would go by the signature.

moto keeps its state for the whole process, so every emulator of a process has accounts of its own.
"""

from __future__ import annotations

import datetime
import io
import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from cloudml_sagemaker.emulator.callers import Key
from cloudml_sagemaker.emulator.front import Answer, Request
from cloudml_sagemaker.emulator.problems import DEFECTS

NOBODY = "123456789012"  # the account that moto takes for keys that it does not know
HANDLERS: dict[str, list[tuple[re.Pattern[str], Callable[..., Any]]]] = {}


class Moto:
    """Every service but SageMaker."""

    name = "moto"

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def find(self, key: str) -> Key | None:
        """An access key that IAM made, or one of a role that was taken on."""
        from moto.iam.models import get_account_id_from

        if session := _session(key):
            return Key(str(session.account_id), session.session_token, session.expiration.replace(tzinfo=datetime.UTC))
        known: str = get_account_id_from(key)
        return Key(known) if known != NOBODY else None

    def ask(self, request: Request, account: str | None) -> Answer:
        """moto's own answer; 501 for what it has no handler of, and for what it fails on."""
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
                return _repaired(request, _answer(found))
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


def _repaired(request: Request, answer: Answer) -> Answer:
    """What moto says it has not implemented, and its login to a registry, which is over."""
    if answer.status == 404 and answer.body == b"Not yet implemented":
        return Answer(501)
    if request.headers.get("x-amz-target", "").endswith(".GetAuthorizationToken"):
        return _valid_for_a_while(answer)
    return answer


def _valid_for_a_while(answer: Answer) -> Answer:
    """ECR's token ends twelve hours from now; moto's ended in 2015."""
    document = json.loads(answer.body)
    for each in document.get("authorizationData", ()):
        each["expiresAt"] = time.time() + 12 * 3600
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
    return Answer(answer.status, headers, json.dumps(document).encode())


def _session(key: str) -> Any:
    """The assumed role that a temporary key belongs to."""
    from moto.sts.models import sts_backends

    for regions in [*sts_backends.values()]:
        for backend in [*regions.values()]:
            if found := backend.get_assumed_role_from_access_key(key):
                return found
    return None
