"""What emulators answer HTTP with: a small HTTP/1.1 server on the loopback, one thread a connection, kept alive."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

LARGEST = 1 << 30  # bytes of one body
LINE = 1 << 16
PIECE = 1 << 18  # bytes that are read or sent at once
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
    """What goes back: bytes as they are, anything else as JSON, nothing where ``body`` is None; or a file's content."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    def content(self) -> tuple[bytes, str | None]:
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b"", None
        return json.dumps(self.body, separators=(",", ":")).encode(), "application/json; charset=utf-8"


Respond = Callable[[Request], Answer | None]
Read = Callable[[Iterator[bytes]], Answer | None]  # takes a body as it comes, or a part of it
Streamed = Callable[[Request], Read | None]


class Server:
    """Answers with what ``respond`` says; None ends the connection without an answer.

    ``refusals`` are the cloud's own words, by status, for a body of more than ``largest`` bytes (413) and for one whose
    length is no number (400). ``streamed`` is asked first, and may name who reads the body of this request, of any
    size, as it comes.
    """

    def __init__(
        self,
        respond: Respond,
        name: str,
        refusals: Mapping[int, Answer] | None = None,
        largest: int = LARGEST,
        streamed: Streamed = lambda request: None,
    ) -> None:
        self._server = _Listening(respond, refusals or {}, largest, streamed)
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

    def __init__(self, respond: Respond, refusals: Mapping[int, Answer], largest: int, streamed: Streamed) -> None:
        self.respond, self.refusals, self.largest, self.streamed = respond, refusals, largest, streamed
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
            self._answer()
        except OSError:  # the client went away
            self.close_connection = True

    def _answer(self) -> None:
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        read = self.server.streamed(request)
        pieces = self._pieces(sys.maxsize if read else self.server.largest)
        try:
            answer = read(pieces) if read else self.server.respond(replace(request, body=b"".join(pieces)))
            for _ in pieces:  # what nobody wanted to read
                pass
        except _Refused as refused:
            self._send(self.server.refusals.get(refused.status) or Answer(refused.status))
            answer = None
        if answer is None:
            self.close_connection = True
        else:
            self._send(answer)

    def _pieces(self, largest: int) -> Iterator[bytes]:
        """The body as it comes. Raises _Refused."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            seen = 0
            while size := _number(self.rfile.readline(LINE).split(b";")[0], 16):
                seen += size
                yield from self._exactly(size, seen <= largest)
                self.rfile.readline(3)
            while self.rfile.readline(LINE) not in (b"\r\n", b"\n", b""):
                continue
        else:
            size = _number(self.headers.get("Content-Length") or "0", 10)
            yield from self._exactly(size, size <= largest)

    def _exactly(self, size: int, fits: bool) -> Iterator[bytes]:
        if size < 0 or not fits:
            raise _Refused(TOO_LARGE)
        while size and (piece := self.rfile.read(min(size, PIECE))):
            size -= len(piece)
            yield piece

    def _send(self, answer: Answer) -> None:
        content, kind = answer.content()
        headers = {**({"Content-Type": kind} if kind else {}), **answer.headers}
        headers.setdefault("Content-Length", str(answer.file.stat().st_size if answer.file else len(content)))
        phrase = self.responses.get(answer.status, ("Unknown",))[0]
        lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        self.wfile.write(head + (b"" if self.command == "HEAD" else content))  # one packet, if it fits
        if answer.file and self.command != "HEAD":
            with answer.file.open("rb") as file:
                shutil.copyfileobj(file, self.wfile, PIECE)


class _Refused(Exception):
    """A body that is not read, and the status that says so."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _number(text: bytes | str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError as error:
        raise _Refused(MALFORMED) from error
