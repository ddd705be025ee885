"""A small HTTP/1.1 server on loopback: one thread a connection, keep-alive, bodies of a bounded size."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from cloudml_azureml.emulator.answers import Answer, Request

LARGEST = 100 * 1024 * 1024  # bytes of one body; blobs do not come this way

TOO_LARGE = Answer(413, {"error": {"code": "RequestEntityTooLarge", "message": "The body is too large."}})
MALFORMED = Answer(400, {"error": {"code": "BadRequest", "message": "The body's length is not a number."}})

Respond = Callable[[Request], Answer | None]


class Server:
    """Answers with what ``respond`` says; None ends the connection without an answer."""

    def __init__(self, respond: Respond) -> None:
        self._server = _Listening(respond)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="azureml", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.hang_up()


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
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
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self._body()
            if isinstance(body, Answer):
                self._send(body)
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = self.server.respond(Request(self.command, self.path, headers, body))
            if answer is None:
                self.close_connection = True
            else:
                self._send(answer)
        except OSError:
            self.close_connection = True

    def _body(self) -> bytes | Answer:
        """The body, or what to say to a request that has none of a kind that can be read."""
        try:
            if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
                return self._chunks()
            length = int(self.headers.get("Content-Length") or 0)
            return self.rfile.read(length) if 0 <= length <= LARGEST else TOO_LARGE
        except ValueError:
            return MALFORMED

    def _chunks(self) -> bytes | Answer:
        body = b""
        while size := int(self.rfile.readline(1024).split(b";")[0], 16):
            if size < 0 or len(body) + size > LARGEST:
                return TOO_LARGE
            body += self.rfile.read(size)
            self.rfile.readline(3)
        while self.rfile.readline(1024) not in (b"\r\n", b"\n", b""):
            continue
        return body

    def _send(self, answer: Answer) -> None:
        content, kind = answer.content()
        headers = {"x-ms-request-id": str(uuid.uuid4()), **answer.headers}
        if kind:
            headers["Content-Type"] = kind
        headers["Content-Length"] = str(len(content))
        phrase = self.responses.get(answer.status, ("Unknown",))[0]
        lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        self.wfile.write(head + (b"" if self.command == "HEAD" else content))  # one packet, if it fits
