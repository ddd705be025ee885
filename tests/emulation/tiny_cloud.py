"""A cloud of the tests' own: an HTTP backend that says what it got, a gRPC service, and containers."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

from cloudml.emulation import Cloud, Emulator, Evidence, Route, Site

HOST = "api.tiny.example"
BOTH = "both.tiny.example"  # speaks HTTP and gRPC
METADATA = "169.254.169.254"
METHOD = "/tiny.Echo/Say"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        said = {"host": self.headers["Host"], "path": self.path, "headers": dict(self.headers)}
        self._answer(json.dumps(said).encode())

    def do_PUT(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.server.seen.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


def _grpc_server() -> tuple[grpc.Server, int]:
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: b"you said " + request)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tiny.Echo", {"Say": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


@dataclass
class Tiny:
    """The emulator, and what the test sees of it."""

    sites: list[Site] = field(default_factory=list)
    resets: int = 0

    def start(self, site: Site) -> Cloud:
        self.sites.append(site)
        http = _Server()
        calls, port = _grpc_server()

        def close() -> None:
            calls.stop(0).wait()
            http.shutdown()
            http.server_close()

        def reset() -> None:
            self.resets += 1

        routes = (
            Route(HOST, http.server_port),
            Route("*.wild.tiny.example", http.server_port),
            Route(BOTH, http.server_port, port),
            Route(METADATA, http.server_port),
        )

        def account() -> dict[str, str]:
            return {"TINY_ACCOUNT": uuid.uuid4().hex}

        return Cloud(routes, {"TINY_REGION": "here"}, close, lambda: {"seen": http.seen}, reset, account)

    @property
    def emulator(self) -> Emulator:
        return Emulator("tiny", self.start, evidence)


def evidence() -> Mapping[str, Evidence]:
    return {"GET /": Evidence.GUESSED}


EMULATOR = Tiny().emulator
