"""What emulators answer HTTP with: a small HTTP/1.1 server on the loopback, one thread a connection, kept alive."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

LARGEST = 1 << 30  # bytes of one body
LINE = 1 << 16
TOO_LARGE, MALFORMED = 413, 400


@dataclass(frozen=True)
class Request:
    """One request; ``headers`` by lower-case name, ``target`` as it stood in the request line."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @cached_property
    def path(self) -> str:
        """Without its query, and with what was escaped in it."""
        return urllib.parse.urlsplit(self.target).path

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The last value of each parameter."""
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.target).query, keep_blank_values=True))

    @property
    def host(self) -> str:
        """The name that was asked for, without a port and a final dot."""
        return self.headers.get("host", "").partition(":")[0].rstrip(".").lower()


@dataclass(frozen=True)
class Answer:
    """What goes back: bytes as they are, anything else as JSON, nothing where ``body`` is None."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> tuple[bytes, str | None]:
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b"", None
        return json.dumps(self.body, separators=(",", ":")).encode(), "application/json; charset=utf-8"


Respond = Callable[[Request], Answer | None]


class Server:
    """Answers with what ``respond`` says; None ends the connection without an answer.

    ``refusals`` are the cloud's own words, by status, for a body of more than ``largest`` bytes (413) and for one whose
    length is no number (400).
    """

    def __init__(
        self, respond: Respond, name: str, refusals: Mapping[int, Answer] | None = None, largest: int = LARGEST
    ) -> None:
        self._server = _Listening(respond, refusals or {}, largest)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more requests; connections that are open end."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.hang_up()


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, respond: Respond, refusals: Mapping[int, Answer], largest: int) -> None:
        self.respond, self.refusals, self.largest = respond, refusals, largest
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Connection)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own looks its host name up

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error; anything else is a defect of ours, and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listening

    def handle_one_request(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline(LINE)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self._body()
            if isinstance(body, int):
                self._send(self.server.refusals.get(body) or Answer(body))
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = self.server.respond(Request(self.command, self.path, headers, body))
            if answer is None:
                self.close_connection = True
            else:
                self._send(answer)
        except OSError:  # the client went away
            self.close_connection = True

    def _body(self) -> bytes | int:
        """The body, or the status that refuses it."""
        try:
            if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
                return self._chunks()
            length = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(length) if 0 <= length <= self.server.largest else TOO_LARGE
        except ValueError:
            return MALFORMED

    def _chunks(self) -> bytes | int:
        body = bytearray()
        while size := int(self.rfile.readline(LINE).split(b";")[0], 16):
            if size < 0 or len(body) + size > self.server.largest:
                return TOO_LARGE
            body += self.rfile.read(size)
            self.rfile.readline(3)
        while self.rfile.readline(LINE) not in (b"\r\n", b"\n", b""):
            continue
        return bytes(body)

    def _send(self, answer: Answer) -> None:
        content, kind = answer.content()
        headers = {**({"Content-Type": kind} if kind else {}), **answer.headers}
        headers.setdefault("Content-Length", str(len(content)))
        phrase = self.responses.get(answer.status, ("Unknown",))[0]
        lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        self.wfile.write(head + (b"" if self.command == "HEAD" else content))  # one packet, if it fits
