"""Servers that do what they are told, and a gateway in front of them, each a real process or socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from local_things import until

from cloudml_local.environment import environment

Reply = Callable[[bytes, socket.socket], bool]


def says(body: bytes) -> Reply:
    """Answers every request alike, over connections that are kept."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    def reply(request: bytes, to: socket.socket) -> bool:
        to.sendall(answer)
        return True

    return reply


class Backend:
    """One server: ``reply`` is given each whole request, and whether it returns True the connection is kept."""

    def __init__(self, reply: Reply, ready: bool = True) -> None:
        self.reply = reply
        self.ready = ready
        self.open = 0  # connections
        self.requests: list[bytes] = []
        self.connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(one)
            self._threads.append(threading.Thread(target=self._serve, args=(one,)))
            self._threads[-1].start()

    def _serve(self, one: socket.socket) -> None:
        with one, self._counted():
            try:
                while request := _whole(one):
                    if request.startswith(b"GET /readyz "):
                        one.sendall(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % (200 if self.ready else 503))
                        return
                    self.requests.append(request)
                    if not self.reply(request, one):
                        return
            except OSError:
                return

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.open += 1
        yield
        self.open -= 1

    def hang_up(self) -> None:
        """Ends every connection; goes on listening."""
        while self.connections:
            one = self.connections.pop()
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(5)


class Gateway:
    """A gateway process over a folder."""

    def __init__(self, folder: Path, token: str | None = None, **limits: float) -> None:
        self.folder = folder
        folder.mkdir()
        env = {"CLOUDML_GATEWAY_LIMITS": json.dumps(limits), **({"CLOUDML_GATEWAY_TOKEN": token} if token else {})}
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._revision = 0
        self._ending = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cloudml_local.gateway", str(folder), "127.0.0.1", "0"], env=environment(env)
        )
        until(lambda: (folder / "gateway.json").exists())
        self.port = json.loads((folder / "gateway.json").read_text())["port"]

    def announce(self, name: str, backend: Backend) -> None:
        """As a server does once it has bound its port."""
        place = self.folder / "servers" / f"{name}.{backend.port}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "ready.json").write_text(json.dumps({"pid": os.getpid(), "port": backend.port}))

    def table(self, timeout: float = 60.0, **targets: tuple[Backend, int]) -> None:
        """Sets the table, and waits until the gateway works by it."""
        self._revision += 1
        found = {
            name: {"server": f"{name}.{backend.port}", "weight": weight} for name, (backend, weight) in targets.items()
        }
        for name, (backend, _) in targets.items():
            self.announce(name, backend)
        table = {"revision": str(self._revision), "targets": found, "timeout": timeout}
        (self.folder / "draft").write_text(json.dumps(table))
        (self.folder / "draft").replace(self.folder / "table.json")
        until(lambda: self.status()["revision"] == table["revision"])

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/livez?servers", headers=self._headers)
            found: dict[str, Any] = json.load(connection.getresponse())
            return found
        finally:
            connection.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        if not self._ending:
            self._process.terminate()
        self._ending = True

    def close(self) -> None:
        self.terminate()
        assert self._process.wait(60) == 0


def _whole(one: socket.socket) -> bytes:
    """One request with a length; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (block := one.recv(65536)):
            return b""
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")), 0)
    while len(body) < length:
        body += one.recv(65536)
    return head + b"\r\n\r\n" + body
