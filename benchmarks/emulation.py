"""The cost of an emulated network: start-up, a command, a connection, a kept request, megabytes; direct beside it.

Run: ``python benchmarks/emulation.py``. The backend is a plain HTTP server in the emulation's own process, as emulators
are; *direct* reaches it on its port without TLS. Medians; about ten seconds.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HOST = "bench.example"
MEGABYTES = 100
COMMANDS = 15


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = b"x" * int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def connect(port: int) -> http.client.HTTPConnection:
    """As the variables say: by proxy, as the host itself, or (with a port) directly."""
    if port:
        return http.client.HTTPConnection("127.0.0.1", port)
    context = ssl.create_default_context()
    proxy = urlsplit(os.environ.get("HTTPS_PROXY", ""))
    if not proxy.hostname:
        return http.client.HTTPSConnection(HOST, context=context)
    connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=context)
    connection.set_tunnel(HOST, 443)
    return connection


def get(connection: http.client.HTTPConnection, size: int) -> None:
    connection.request("GET", f"/{size}")
    connection.getresponse().read()


def timed(work: Callable[[], object], times: int) -> float:
    """The median of several runs, in milliseconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def measure(port: int) -> None:
    """In a process of its own."""

    def fresh() -> None:
        connection = connect(port)
        get(connection, 100)
        connection.close()

    fresh()
    kept = connect(port)
    figures = {"connection": timed(fresh, 50), "request": timed(lambda: get(kept, 100), 500)}
    figures["speed"] = MEGABYTES * 1000 / timed(lambda: get(kept, MEGABYTES * 1_000_000), 3)
    print(json.dumps(figures))


def main() -> None:
    from cloudml.emulation import Cloud, Emulator, Route, running
    from cloudml.emulation.box import Box
    from cloudml.emulation.network import variables

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    emulator = Emulator("bench", lambda _: Cloud([Route(HOST, server.server_port)], {}, lambda: None), dict)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, running.start([emulator], Path(folder)) as emulation:
        print(f"start-up of proxy, authority and administration: {1000 * (time.perf_counter() - began):.0f} ms")
        base = variables.clean(os.environ)
        network = emulation.network

        def box(argv: tuple[str, ...], *, isolated: bool) -> Box:
            told = emulation.isolated if isolated else emulation.environment
            inside = network.namespace() if isolated else None
            env, place, covers = base | dict(told), Path(folder) / "box", network.covers()
            return Box(argv, env, "/", place, emulation.owner, isolated, covers=covers, network=inside)

        plain = timed(lambda: subprocess.run(["/bin/true"]), COMMANDS)
        print(f"a command: {plain:.1f} ms plain", end="")
        for name, isolated in (("proxy", False), ("isolated", True)):
            took = timed(partial(once, box, isolated), COMMANDS)
            print(f", {took:.1f} ms {name}", end="")
        print("\n            connection ms  kept request ms    MB/s")
        me = (sys.executable, __file__)
        rows = {
            "direct": (*me, str(server.server_port)),
            "proxy": box((*me, "0"), isolated=False).command(),
        }
        for name, command in rows.items():
            show(name, subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        command = box((*me, "0"), isolated=True).command()
        show("isolated", subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def once(box: Callable[..., Any], isolated: bool) -> None:
    subprocess.run(box(("/bin/true",), isolated=isolated).command())


def show(name: str, said: str) -> None:
    figures = json.loads(said)
    print(f"{name:10} {figures['connection']:14.2f} {figures['request']:16.3f} {figures['speed']:7.0f}")


if __name__ == "__main__":
    measure(int(sys.argv[1])) if len(sys.argv) > 1 else main()
