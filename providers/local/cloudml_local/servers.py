"""Endpoints on this machine: a folder each, a gateway process, and a server process for each deployment.

What ``endpoints`` calls its native service. Task ids hold a dot, which no name does: ``fraud-api.gateway``,
``fraud-api.blue.1a2b3c4d``.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudml.engines import Engine, Task, TaskStatus
from cloudml.errors import ModelError, NotFound, Unavailable
from cloudml.spi import Payload
from cloudml_local.environment import environment
from cloudml_local.home import Home, encode, read

GRACE = 30.0  # seconds from SIGTERM to SIGKILL: requests under way are answered
PROBE = 2.0
GATEWAY = "gateway"
OWN_PORT = 0


@dataclass(frozen=True)
class Process:
    """A gateway or a server: ``port`` is None until it listens, ``ready`` is whether it takes requests.

    ``reason`` is why it ended.
    """

    id: str
    status: TaskStatus
    port: int | None
    ready: bool
    reason: str | None


@dataclass(frozen=True)
class View:
    """All that there is of one endpoint. ``record`` says whose it is, ``table`` where its traffic goes.

    ``served`` is whether the gateway works by that table.
    """

    name: str
    record: Mapping[str, Any] | None
    table: Mapping[str, Any] | None
    gateway: Process | None
    servers: tuple[Process, ...]
    served: bool


class Servers:
    """Every endpoint of one home folder."""

    def __init__(self, home: Home, engine: Engine, host: str) -> None:
        self._home = home
        self._engine = engine
        self._host = host

    def get(self, name: str) -> View:
        """Raises NotFound if nothing is left of it, not even a process."""
        statuses = [status for status in self._engine.list() if status.task.id.partition(".")[0] == name]
        view = self._view(name, statuses)
        if view.record is None and not statuses:
            raise NotFound(f"there is no endpoint {name!r}")
        return view

    def list(self) -> list[View]:
        found: dict[str, list[TaskStatus]] = {}
        if self._home.endpoints.exists():
            found = {path.name: [] for path in self._home.endpoints.iterdir() if (path / "endpoint.json").exists()}
        for status in self._engine.list():
            found.setdefault(status.task.id.partition(".")[0], []).append(status)
        return [self._view(name, found[name]) for name in sorted(found)]

    def url(self, port: int) -> str:
        return f"http://[{self._host}]:{port}" if ":" in self._host else f"http://{self._host}:{port}"

    # -- writes ------------------------------------------------------------------------------------------------------

    def create(self, name: str, record: Mapping[str, Any]) -> None:
        """Raises AlreadyExists."""
        draft = self._home.draft()
        draft.write_bytes(encode({**record, "created": time.time()}))
        self._home.publish(draft, self._folder(name) / "endpoint.json")

    def set_owner(self, name: str, owner: str) -> None:
        """Raises NotFound."""
        path = self._folder(name) / "endpoint.json"
        self._home.write(path, encode({**self._record(name), "owner": owner}))

    def start_gateway(self, name: str, request: Mapping[str, Any]) -> None:
        """Raises AlreadyExists; NotFound if the endpoint is not there."""
        self._record(name)
        argv = (*request["argv"], str(self._folder(name)), self._host, str(request["port"] or OWN_PORT))
        labels = {**request["labels"], "port": str(request["port"] or OWN_PORT)}
        self._start(f"{name}.{GATEWAY}", argv, environment({}), self._folder(name), labels)

    def start_server(self, name: str, id: str, request: Mapping[str, Any]) -> None:
        """Raises AlreadyExists; NotFound if the endpoint is not there."""
        self._record(name)
        folder = self._folder(name) / "servers" / id
        folder.mkdir(parents=True, exist_ok=True)
        own = {
            **request["env"],
            "CLOUDML_HOST": self._host,
            "CLOUDML_PORT": str(OWN_PORT),
            "CLOUDML_READY_FILE": str(folder / "ready.json"),
            "CLOUDML_FAILURE_FILE": str(folder / "failure.json"),
            "PYTHONDONTWRITEBYTECODE": "1",  # a model's code is imported from the store, which nobody writes to
            **_signature(request["sidecar"]),
        }
        self._start(id, request["argv"], environment(own), folder, request["labels"])

    def stop(self, id: str) -> None:
        self._engine.stop(id)

    def ended(self, id: str) -> bool:
        """Whether a process has ended, or there is none."""
        status = self._engine.status(id)
        return status is None or status.state.ended

    def remove(self, id: str) -> None:
        """Forgets a process that has ended. Raises NotFound, and PreconditionFailed while it runs."""
        name, _, which = id.partition(".")
        if self.ended(id):  # its files first: a new process of that id must not find them
            if which == GATEWAY:
                self._home.discard(self._folder(name) / "gateway.json")
                self._home.discard(self._folder(name) / "serving.json")
            else:
                self._home.discard(self._folder(name) / "servers" / id)
        self._engine.remove(id)

    def set_table(self, name: str, table: Mapping[str, Any]) -> None:
        """Raises NotFound if the endpoint is not there."""
        self._record(name)
        self._home.write(self._folder(name) / "table.json", encode(table))

    def delete(self, name: str) -> None:
        """Raises NotFound."""
        if not self._home.discard(self._folder(name)):
            raise NotFound(f"there is no endpoint {name!r}")

    # -- requests ----------------------------------------------------------------------------------------------------

    def forward(self, url: str, body: Payload, deployment: str | None, timeout: float) -> Payload:
        """One prediction. Raises ModelError with the model's own status, Unavailable, or NotFound for a deployment."""
        address = urllib.parse.urlsplit(url)
        headers = {"content-type": body.content_type, **body.headers}
        if deployment:
            headers["x-cloudml-deployment"] = deployment
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=timeout)
        try:
            connection.request("POST", "/invocations", body.body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except ConnectionRefusedError as error:
            raise Unavailable(f"nothing listens on {url}", hint="apply again: it is started where it ended") from error
        finally:
            connection.close()
        kind = answer.headers.get("content-type", "application/octet-stream")
        if 200 <= answer.status < 300:
            return Payload(content, kind, dict(answer.headers))
        said = _said(content)
        own = {404: NotFound, 503: Unavailable} if answer.headers.get("x-cloudml-gateway") else {}
        if answer.status in own:
            raise own[answer.status](said)
        raise ModelError(said, status=answer.status)

    def metrics(self, process: Process) -> str:
        """What a server counts, as Prometheus text; empty if it does not answer."""
        found = self._get(process.port, "/metrics")
        return found[1].decode() if found and found[0] == 200 else ""

    def log(self, id: str, cursor: int) -> tuple[bytes, int]:
        return self._engine.logs(id, cursor)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _folder(self, name: str) -> Path:
        return self._home.endpoints / name

    def _record(self, name: str) -> dict[str, Any]:
        record = read(self._folder(name) / "endpoint.json")
        if record is None:
            raise NotFound(f"there is no endpoint {name!r}")
        return record

    def _start(self, id: str, argv: Any, env: Mapping[str, str], cwd: Path, labels: Mapping[str, str]) -> None:
        self._engine.start(Task(id, tuple(argv), env, str(cwd), grace=GRACE, labels=labels))

    def _view(self, name: str, statuses: Sequence[TaskStatus]) -> View:
        folder = self._folder(name)
        table, serving = read(folder / "table.json"), read(folder / "serving.json")
        gateway = next((each for each in statuses if each.task.id == f"{name}.{GATEWAY}"), None)
        return View(
            name=name,
            record=read(folder / "endpoint.json"),
            table=table,
            gateway=self._process(gateway, folder / "gateway.json", None) if gateway else None,
            servers=tuple(
                self._process(each, folder / "servers" / each.task.id / "ready.json", "/readyz")
                for each in statuses
                if each is not gateway
            ),
            served=bool(table and serving and serving["revision"] == table["revision"]),
        )

    def _process(self, status: TaskStatus, announced: Path, probe: str | None) -> Process:
        if status.state.ended:
            failure = read(announced.with_name("failure.json")) if probe else None
            reason = f"{failure['type']}: {failure['message']}" if failure else self._last_words(status)
            return Process(status.task.id, status, None, False, reason)
        port = (read(announced) or {}).get("port")
        answer = self._get(port, probe) if probe else None
        ready = answer is not None and answer[0] == 200 if probe else port is not None
        return Process(status.task.id, status, port, ready, None)

    def _get(self, port: int | None, path: str) -> tuple[int, bytes] | None:
        """A quick question to a process of ours; None if it does not answer."""
        if port is None:
            return None
        connection = http.client.HTTPConnection(self._host, port, timeout=PROBE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _last_words(self, status: TaskStatus) -> str:
        """How a process ended, and the last that it said if it ended by itself."""
        reason = status.reason or status.state.value
        if not status.exit_code or status.exit_code > 128:
            return reason
        lines = self._engine.logs(status.task.id)[0].decode(errors="replace").strip().splitlines()
        starts = [at for at, line in enumerate(lines) if line and not line[0].isspace()]  # a hint below is indented
        said = "; ".join(line.strip() for line in lines[starts[-1] :]) if starts else ""
        return f"{said.removeprefix('cloudml: ')} ({reason})" if said else reason


def serve_argv(module: str, *words: str) -> list[str]:
    """A module of this Python's, as a command."""
    return [sys.executable, "-m", module, *words]


def _signature(sidecar: str) -> dict[str, str]:
    """The sidecar, if it is there and names the model's inputs."""
    found = read(Path(sidecar.removeprefix("file://"))) if sidecar else None
    return {"CLOUDML_SIGNATURE": sidecar.removeprefix("file://")} if found and found.get("inputs") else {}


def _said(content: bytes) -> str:
    """A server's own message."""
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    said = found.get("error") if isinstance(found, dict) else None
    return str(said or content[:500].decode(errors="replace") or "no message")
