"""The HTTP server in front of the emulated AWS: it reads a request, finds the backend by host, and sends the answer.

Plain HTTP/1.1 on the loopback; TLS has ended before. ``Expect: 100-continue`` is answered at once and unbuffered,
because an upload waits for it.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cloudml_sagemaker.emulator.problems import Lost
from cloudml_sagemaker.emulator.signing import Signer, signer

LOOPBACK = "127.0.0.1"
PIECE = 1 << 18  # bytes that are read at once
IDLE = 60.0  # seconds after which an idle connection is closed


@dataclass(frozen=True)
class Request:
    """A request as it came; ``headers`` has names in lower case, ``target`` is path and query as they were sent."""

    method: str
    host: str
    target: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False, default=b"")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def signer(self) -> Signer | None:
        """Whose signature it bears; None if it bears none."""
        return signer(self.headers, self.query)


@dataclass(frozen=True)
class Answer:
    """An answer; with ``file``, that is its body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(repr=False, default=b"")
    file: Path | None = None


Backend = Callable[[Request], Answer]


@runtime_checkable
class Streamed(Protocol):
    """A backend that reads the body as it comes, because it may be large."""

    def stream(self, request: Request, body: Iterator[bytes]) -> Answer:
        """The answer; what is left of the body is read after it."""


class Front:
    """A server on a free port of the loopback, until `close`."""

    def __init__(self, choose: Callable[[Request], Backend | Streamed]) -> None:
        handler = type("Handler", (_Handler,), {"choose": staticmethod(choose)})
        self._server = _Server((LOOPBACK, 0), handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="aws-front", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        self._opening = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._opening:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._opening:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def hang_up(self) -> None:
        """End the connections that clients keep open."""
        with self._opening:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE
    choose: Callable[[Request], Backend | Streamed]

    def log_message(self, *_: Any) -> None:
        """Requests are recorded by the backends."""

    def _serve(self) -> None:
        names = {name.lower() for name in self.headers}
        headers = {name: ", ".join(self.headers.get_all(name, ())) for name in names}
        target = self.path
        host = headers.get("host", "")
        if "://" in target:  # absolute form, as to a proxy
            host, slash, rest = target.partition("://")[2].partition("/")
            target = slash + rest or "/"
        request = Request(self.command, host.lower(), target, headers)
        backend = self.choose(request)
        if isinstance(backend, Streamed):
            body = self._body(headers)
            answer = backend.stream(request, body)
            for _ in body:
                pass
            self._send(answer)
            return
        request = replace(request, body=b"".join(self._body(headers)))
        try:
            self._send(backend(request))
        except Lost:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _serve

    def _body(self, headers: Mapping[str, str]) -> Iterator[bytes]:
        if "chunked" not in headers.get("transfer-encoding", ""):
            left = int(headers.get("content-length") or 0)
            while left and (part := self.rfile.read(min(left, PIECE))):
                left -= len(part)
                yield part
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        names = {name.lower() for name in answer.headers}
        for name, value in answer.headers.items():
            self.send_header(name, value)
        size = answer.file.stat().st_size if answer.file else len(answer.body)
        if "content-length" not in names and answer.status not in (204, 304):
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.file:
            with answer.file.open("rb") as file:
                shutil.copyfileobj(file, self.wfile, PIECE)
        else:
            self.wfile.write(answer.body)
