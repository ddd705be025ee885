"""The server around a scoring script: ``init()`` once, ``run(body)`` for each request. Part of the container.

It answers as Azure's own inference server does: GET / when it is healthy, POST /score with what ``run`` returned as
JSON, 500 with the text of what it raised. ``WORKER_COUNT`` requests at a time, one unless it is set.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(path: Path) -> Any:
    """The script as a module, its folder importable."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("entry_module", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["entry_module"] = module
    spec.loader.exec_module(module)
    for name in ("init", "run"):
        if not callable(getattr(module, name, None)):
            raise AttributeError(f"the scoring script has no function {name}()")
    return module


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    script: Any
    turn = threading.BoundedSemaphore(int(os.environ.get("WORKER_COUNT", "1")))

    def do_GET(self) -> None:
        if self.path == "/":
            self._send(200, b"Healthy", "text/plain")
        else:
            self._send(404, b"Not Found", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.split("?")[0] != "/score":
            self._send(404, b"Not Found", "text/plain")
            return
        try:
            with self.turn:
                said = self.script.run(body.decode())
            self._send(200, json.dumps(said).encode(), "application/json")
        except Exception as failure:  # noqa: BLE001  # a script may raise anything, and the server must live
            traceback.print_exc()
            self._send(500, str(failure).encode(), "text/plain", {"x-ms-run-function-failed": "True"})

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        sys.stderr.write(f"{self.address_string()} {format % arguments}\n")


def main(port: int) -> None:
    Handler.script = load(Path(os.environ["AZUREML_ENTRY_SCRIPT"]))
    Handler.script.init()
    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
