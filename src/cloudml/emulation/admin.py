"""The administration of a running emulation: faults, reset, what is inside, stop. HTTP on the loopback, with a token.

    GET /            the clouds, notes, and the hosts that were refused
    GET /log         what each cloud says of itself
    GET /faults      those that are still ordered, by cloud
    POST /faults     one more: cloud, and the fields of a Fault
    DELETE /faults   none any more
    POST /reset      every cloud is empty
    POST /stop       the emulation ends

The address and the token are in ``admin.json`` of the emulation's folder, which only its owner can read.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudml.emulation.faults import Fault, Trouble
from cloudml.errors import ConfigError, Denied, Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from cloudml.emulation.running import Running

HOST = "emulation.cloudml.internal"  # where it is for programs that cannot reach this machine's loopback
FILE = "admin.json"
FOLDER = "CLOUDML_EMULATION"  # the variable that names the emulation's folder
ADDRESS = "CLOUDML_EMULATION_ADDRESS"  # the variable that names another address than the file's
LONGEST = 1 << 16  # bytes of a request
PATIENCE = 30.0  # seconds


class Server(ThreadingHTTPServer):
    """Listens on the loopback at once; what it administers is given to it when that is up."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = secrets.token_urlsafe(24)
        self.running: Running | None = None
        self._file = folder / FILE
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def publish(self, running: Running) -> None:
        """From now on it can be found."""
        self.running = running
        document = {"address": f"http://127.0.0.1:{self.server_port}", "token": self.token, "pid": os.getpid()}
        draft = self._file.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(document, file)
        draft.replace(self._file)

    def close(self) -> None:
        self._file.unlink(missing_ok=True)
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = PATIENCE

    def _answer(self) -> None:
        status, document = self._act()
        body = json.dumps(document, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer

    def _act(self) -> tuple[int, Any]:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
            return 403, {"error": "the token is missing or wrong"}
        act, running = ACTIONS.get((self.command, self.path)), self.server.running
        if act is None or running is None:
            return 404, {"error": f"there is no {self.command} {self.path}"}
        length = int(self.headers.get("Content-Length") or 0)
        try:
            return 200, act(running, json.loads(self.rfile.read(min(length, LONGEST)) or b"{}"))
        except (ValueError, TypeError) as error:
            return 400, {"error": str(error)}

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal is the command's."""


def _overview(running: Running, _: Mapping[str, Any]) -> Any:
    clouds = [*running.clouds]
    refused = [asdict(each) for each in running.network.refused]
    return {"clouds": clouds, "notes": running.notes, "refused": refused}


def _log(running: Running, _: Mapping[str, Any]) -> Any:
    return {name: each.cloud.inspect() for name, each in running.clouds.items()}


def _list(running: Running, _: Mapping[str, Any]) -> Any:
    return {
        name: [asdict(fault) | {"trouble": fault.trouble.value} for fault in each.faults]
        for name, each in running.clouds.items()
    }


def _add(running: Running, document: Mapping[str, Any]) -> Any:
    clouds = running.clouds
    cloud = document.get("cloud") or next(iter(clouds))
    if cloud not in clouds:
        raise ValueError(f"there is no cloud {cloud!r} here, only {', '.join(clouds)}")
    known = {field.name for field in fields(Fault)}
    if strange := set(document) - known - {"cloud"}:
        raise ValueError(f"a fault has no {', '.join(sorted(strange))}")
    given = {name: value for name, value in document.items() if name in known and value is not None}
    trouble = given.get("trouble")
    if trouble not in (troubles := [each.value for each in Trouble]):
        raise ValueError(f"there is no trouble {trouble!r}, only {', '.join(troubles)}")
    clouds[cloud].faults.add(Fault(**given | {"trouble": Trouble(trouble)}))
    return _list(running, {})


def _clear(running: Running, _: Mapping[str, Any]) -> Any:
    for each in running.clouds.values():
        each.faults.clear()
    return _list(running, {})


def _reset(running: Running, _: Mapping[str, Any]) -> Any:
    running.reset()
    return _overview(running, {})


def _stop(running: Running, _: Mapping[str, Any]) -> Any:
    running.asked_to_end.set()
    return {"variables": sorted(running.environment)}


ACTIONS: Mapping[tuple[str, str], Callable[[Running, Mapping[str, Any]], Any]] = {
    ("GET", "/"): _overview,
    ("GET", "/log"): _log,
    ("GET", "/faults"): _list,
    ("POST", "/faults"): _add,
    ("DELETE", "/faults"): _clear,
    ("POST", "/reset"): _reset,
    ("POST", "/stop"): _stop,
}


class Client:
    """Talks to the emulation whose folder that is. Raises NotFound if none runs there."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        try:
            document = json.loads((folder / FILE).read_text())
        except FileNotFoundError as error:
            raise NotFound(
                "no emulation is running", hint="'cloudml emulate PROVIDER --background' starts one"
            ) from error
        self.pid: int = document["pid"]
        self._address, self._token = env.get(ADDRESS) or document["address"], document["token"]
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def call(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        """One action. Raises Invalid for a request that is refused, Unavailable if nobody answers."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self._address + path, body, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._open(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            kind = Denied if error.code == 403 else Invalid
            raise kind(json.load(error)["error"]) from error
        except OSError as error:
            raise Unavailable(f"the emulation does not answer: {error}") from error


def folder(env: Mapping[str, str]) -> Path:
    """Where the emulation of this user is, or will be. Raises ConfigError without a home."""
    if named := env.get(FOLDER):
        return Path(named)
    state = env.get("XDG_STATE_HOME") or (f"{env['HOME']}/.local/state" if env.get("HOME") else None)
    if state is None:
        raise ConfigError("HOME is not set", hint=f"{FOLDER} names a folder for the emulation")
    return Path(state) / "cloudml" / "emulation"
