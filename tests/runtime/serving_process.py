"""The real server as a child process, and a client of raw sockets for it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SRC = str(Path(__file__).resolve().parents[2] / "src")
DEADLINE = 120.0


class Served:
    """One endpoint process. ``ready=False`` does not wait for the model."""

    def __init__(self, model: Path, folder: Path, *, ready: bool = True, **env: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "stderr.txt"
        ready_file = folder / "ready.json"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDML_")}
        wanted = {"CLOUDML_MODEL_DIR": str(model), "CLOUDML_PORT": "0", "CLOUDML_READY_FILE": str(ready_file)}
        wanted["CLOUDML_ALLOW_PICKLE"] = "1"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cloudml.runtime", "serve"],
                env={**clean, "PYTHONPATH": SRC, **wanted, **env},
                stderr=log,
                stdout=log,
            )
        try:
            until(lambda: ready_file.exists() or self.process.poll() is not None)
            self.port = int(json.loads(ready_file.read_text())["port"]) if ready_file.exists() else 0
            if ready:
                until(lambda: self.process.poll() is not None or self.call("GET", "/readyz")[0] == 200)
                assert self.process.poll() is None, self.log.read_text()
        except BaseException:
            self.stop()
            raise

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own; a body that is not bytes goes as JSON."""
        given = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            given.setdefault("content-type", "application/json")
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            client.request(method, path, body, given)
            answer = client.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            client.close()

    def predict(self, body: Any, path: str = "/invocations", **headers: str) -> tuple[int, Any]:
        status, _, answer = self.call("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        return status, json.loads(answer)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def raw(self, data: bytes, *, half_close: bool = True) -> bytes:
        """What the server says to these bytes until it closes."""
        with self.connect() as sock:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            return receive_all(sock)

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()


def receive_all(sock: socket.socket) -> bytes:
    found = b""
    while True:
        try:
            block = sock.recv(1 << 16)
        except ConnectionResetError:
            return found
        if not block:
            return found
        found += block


def until(condition: Any, seconds: float = DEADLINE) -> None:
    """Poll; fails when the deadline passes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the deadline passed"
        time.sleep(0.01)


def manifested(folder: Path) -> Path:
    """The folder, with its manifest written."""
    from cloudml.runtime.manifest import write_manifest

    write_manifest(folder)
    return folder
