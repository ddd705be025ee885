"""A registry in memory that keeps to the OCI distribution specification, and breaks where a test tells it to."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Faults:
    """What goes wrong: ``breaks`` uploads end after ``after`` bytes, and are forgotten if ``forgets``."""

    def __init__(self) -> None:
        self.breaks = 0
        self.after = 0
        self.forgets = False
        self.status: tuple[int, bytes] | None = None
        self.wants: tuple[str, str] | None = None
        self.bearer = False


class Memory:
    """What the registry holds, and what it was asked."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.starts: list[int] = []
        self.faults = Faults()
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    memory: Memory

    def handle_any(self) -> None:
        memory, faults = self.memory, self.memory.faults
        path = urlsplit(self.path).path
        with memory.lock:
            memory.asked.append(f"{self.command} {path}")
        if path == "/token":
            return self._token()
        if not self._allowed():
            return None
        if faults.status is not None:
            return self._answer(*faults.status)
        where = path.split("/")
        kind, last = where[-2], where[-1]
        if kind == "manifests":
            return self._manifest(last)
        if kind == "blobs":
            return self._answer(200 if last in memory.blobs else 404)
        return self._upload(last)

    do_HEAD = do_GET = do_POST = do_PATCH = do_PUT = handle_any

    def _allowed(self) -> bool:
        faults = self.memory.faults
        if faults.wants is None:
            return True
        basic = "Basic " + base64.b64encode(":".join(faults.wants).encode()).decode()
        if self.headers.get("Authorization") == ("Bearer of-the-realm" if faults.bearer else basic):
            return True
        realm = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        how = f'Bearer realm="{realm}",service="here"' if faults.bearer else 'Basic realm="here"'
        self._answer(401, b"", {"www-authenticate": how})
        return False

    def _token(self) -> None:
        wants = self.memory.faults.wants or ("", "")
        basic = "Basic " + base64.b64encode(":".join(wants).encode()).decode()
        scope = parse_qs(urlsplit(self.path).query).get("scope")
        right = self.headers.get("Authorization") == basic and scope == ["repository:team/fraud:pull,push"]
        self._answer(200 if right else 401, b'{"token": "of-the-realm"}' if right else b"")

    def _manifest(self, tag: str) -> None:
        held = self.memory.manifests
        if self.command == "PUT":
            held[tag] = self._body()
            parts = json.loads(held[tag])
            lost = [
                one["digest"] for one in [parts["config"], *parts["layers"]] if one["digest"] not in self.memory.blobs
            ]
            if lost:
                return self._answer(400, b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "x"}]}')
        if tag not in held:
            return self._answer(404)
        digest = "sha256:" + hashlib.sha256(held[tag]).hexdigest()
        self._answer(201 if self.command == "PUT" else 200, b"", {"docker-content-digest": digest})

    def _upload(self, last: str) -> None:
        uploads = self.memory.uploads
        name = last or uuid.uuid4().hex
        location = {"location": f"{urlsplit(self.path).path.rpartition('/')[0]}/{name}?state=1"}
        if self.command == "POST":
            uploads[name] = b""
            return self._answer(202, b"", location)
        if name not in uploads:
            return self._answer(404)
        if self.command == "GET":
            return self._answer(204, b"", {**location, "range": f"0-{max(len(uploads[name]) - 1, 0)}"})
        if self.command == "PATCH":
            return self._patch(name, location)
        digest = parse_qs(urlsplit(self.path).query)["digest"][0]
        body = uploads.pop(name)
        if digest != "sha256:" + hashlib.sha256(body).hexdigest():
            return self._answer(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "another digest"}]}')
        self.memory.blobs[digest] = body
        self._answer(201, b"", location)

    def _patch(self, name: str, location: dict[str, str]) -> None:
        memory, faults = self.memory, self.memory.faults
        start = int(self.headers.get("Content-Range", "0-").partition("-")[0])
        memory.starts.append(start)
        if start != len(memory.uploads[name]):
            return self._answer(416)
        if faults.breaks:
            faults.breaks -= 1
            memory.uploads[name] += self.rfile.read(min(faults.after, int(self.headers["Content-Length"])))
            if faults.forgets:
                del memory.uploads[name]
            self.close_connection = True
            return None  # the connection ends without an answer
        memory.uploads[name] += self._body()
        self._answer(202, b"", location)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        if self.command in ("PATCH", "PUT", "POST") and status >= 400:
            self.close_connection = True  # what it carried was perhaps not read
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A client that goes away in the middle is nothing to tell of."""

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def registry(context: ssl.SSLContext | None = None) -> Iterator[tuple[Memory, str]]:
    """The registry, over TLS if a context is given, and its ``host:port``."""
    memory = Memory()
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"memory": memory}))
    if context is not None:
        # the handshake is left to the connection's own thread: one client that hangs up must not end the others
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield memory, f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
