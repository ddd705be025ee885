"""A door in front of Azurite that a test shuts: connections that are cut in the middle of a body, and refusals."""

from __future__ import annotations

import fnmatch
import http.client
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from azure_account import Emulated

from cloudml.emulation import Cloud, Route, Site

ENDING = ("connection", "keep-alive", "transfer-encoding", "content-length")
BUSY = b"<?xml version='1.0'?><Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>"


@dataclass(frozen=True)
class Order:
    """For the next ``times`` PUTs of blobs that fit ``name``: an answer ``status``, or the end after ``cut`` bytes.

    Those that come before ``after`` bytes of that blob have been taken are let through.
    """

    name: str
    status: int = 0
    cut: int = 0
    times: int = 1
    after: int = 0


class Relay(ThreadingHTTPServer):
    """Passes requests on to ``port`` but for what was ordered; ``puts``: path, bytes and status (0: cut) of each."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.behind = port
        self.orders: list[Order] = []
        self.puts: list[tuple[str, int, int]] = []
        self._taken: dict[str, int] = {}  # bytes of a blob since it was last cut
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def take(self, path: str, length: int) -> Order | None:
        """What was ordered for this PUT, if anything."""
        with self._lock:
            taken = self._taken.get(path, 0)
            for index, order in enumerate(self.orders):
                if fnmatch.fnmatchcase(path, order.name) and taken >= order.after:
                    self.orders[index : index + 1] = [replace(order, times=order.times - 1)] * (order.times > 1)
                    self._taken.pop(path, None)
                    return order
            self._taken[path] = taken + length
        return None

    def sent(self, *words: str) -> list[tuple[int, int]]:
        """Bytes and status of the PUTs in whose path these words stand."""
        return [(size, status) for path, size, status in self.puts if all(word in path for word in words)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def relay(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        path = urlsplit(self.path).path
        order = self.server.take(path, length) if self.command == "PUT" else None
        if order and order.cut:
            read = len(self.rfile.read(min(order.cut, length)))
            self.server.puts.append((path, read, 0))
            self.close_connection = True
            return
        body = self.rfile.read(length)
        if order:
            status, headers, said = order.status, [("x-ms-error-code", "ServerBusy")], BUSY
        else:
            status, headers, said = self._behind(body)
        if self.command == "PUT":
            self.server.puts.append((path, len(body), status))
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_PUT = do_GET = do_HEAD = do_DELETE = do_POST = relay

    def _behind(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            kept = ENDING if self.command != "HEAD" else ENDING[:-1]
            return answer.status, [each for each in answer.getheaders() if each[0].lower() not in kept], answer.read()
        finally:
            connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Doored(Emulated):
    """An Azure ML whose blobs are behind a relay."""

    relay: Relay

    def _start(self, site: Site) -> Cloud:
        cloud = super()._start(site)
        behind = self.azure.storage.port
        self.relay = relay = Relay(behind)

        def close() -> None:
            relay.close()
            cloud.close()

        routes = [Route(each.host, relay.server_port if each.port == behind else each.port) for each in cloud.routes]
        return replace(cloud, routes=routes, close=close)
