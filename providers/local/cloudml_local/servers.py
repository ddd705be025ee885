"""Endpoints on this machine: a folder each, a gateway process, and a server process for each deployment.

What ``endpoints`` calls its native service. Task ids hold a dot, which no name does: ``fraud-api.gateway``,
``fraud-api.blue.1a2b3c4d``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudml import payloads
from cloudml.engines import Container, Engine, Restart, Task, TaskStatus
from cloudml.errors import AlreadyExists, AnswerLost, Conflict, Denied, ModelError, NotFound, ProviderError, Unavailable
from cloudml.spi import Payload
from cloudml_local.environment import environment
from cloudml_local.home import Home, encode, read
from cloudml_local.places import PROCESSES, Processes

GRACE = 30.0  # seconds from SIGTERM to SIGKILL: requests under way are answered
PROBE = 2.0
GATEWAY = "gateway"
OWN_PORT = 0
SERVERS = "127.0.0.1"  # where servers listen: whoever is elsewhere comes through the gateway
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # how to reach it from here
TOKEN = "CLOUDML_GATEWAY_TOKEN"  # the gateway's variable
# 2 and 3: a wrong setting, a port that is taken, a model that does not load. Once more would end the same way.
AGAIN = Restart(first=0.2, longest=30.0, healthy=30.0, final=(2, 3))
# What a gateway itself answers; all else is the model's.
REFUSALS: Mapping[int, type[ProviderError]] = {401: Denied, 404: NotFound, 502: AnswerLost, 503: Unavailable}
Registered = Callable[[str, str], str | None]


@dataclass(frozen=True)
class Process:
    """A gateway or a server: ``port`` is None unless it listens, ``ready`` is whether it takes requests.

    ``down`` is whether it ended, even if it is about to be started again, and ``reason`` is why.
    """

    id: str
    status: TaskStatus
    port: int | None
    ready: bool
    down: bool
    reason: str | None


@dataclass(frozen=True)
class View:
    """All that there is of one endpoint. ``record`` says whose it is, ``table`` where its traffic goes.

    ``served`` is whether the gateway works by that table, ``reached`` which servers it sends requests to.
    """

    name: str
    record: Mapping[str, Any] | None
    table: Mapping[str, Any] | None
    gateway: Process | None
    servers: tuple[Process, ...]
    served: bool
    reached: frozenset[str]


class Servers:
    """Every endpoint of one home folder."""

    def __init__(self, home: Home, engine: Engine, registered: Registered, place: Processes = PROCESSES) -> None:
        """``registered`` gives the digest of a model version by its family and hash."""
        self._home = home
        self._engine = engine
        self._place = place
        self._registered = registered

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

    def url(self, gateway: Process) -> str:
        """An address by which a gateway is reached from here."""
        host = gateway.status.task.labels["host"]
        near = ANYWHERE.get(host, host)
        return f"http://[{near}]:{gateway.port}" if ":" in near else f"http://{near}:{gateway.port}"

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
        """Raises AlreadyExists; NotFound if the endpoint is not there; Conflict if its port is taken."""
        self._record(name)
        host, port = str(request["host"]), request["port"] or OWN_PORT
        self.check_free(name, host, port)
        token = {TOKEN: request["token"] or self._own_token()} if request["labels"]["token"] else {}
        argv = (*request["argv"], str(self._folder(name)), host, str(port))
        self._start(f"{name}.{GATEWAY}", argv, environment(token), self._folder(name), request["labels"])

    def start_server(self, name: str, id: str, request: Mapping[str, Any]) -> None:
        """Raises AlreadyExists; NotFound if the endpoint is not there."""
        self._record(name)
        folder = self._folder(name) / "servers" / id
        folder.mkdir(parents=True, exist_ok=True)
        own = {
            **request["env"],
            **self._place.listens(folder),
            "CLOUDML_FAILURE_FILE": str(folder / "failure.json"),
            "PYTHONDONTWRITEBYTECODE": "1",  # a model's code is imported from the store, which nobody writes to
            **_signature(request["sidecar"]),
        }
        if digest := self._registered(request["env"]["CLOUDML_MODEL_NAME"], request["model"]):
            own["CLOUDML_MODEL_DIGEST"] = digest
        container = self._place.server(request, own, folder)
        self._start(id, request["argv"], self._place.environment(own), folder, request["labels"], container)

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

    def forward(self, name: str, url: str, body: Payload, deployment: str | None, timeout: float) -> Payload:
        """One prediction.

        Raises ModelError with the model's own status, NotFound for a deployment, Denied without the right token,
        Unavailable if no server took it, and AnswerLost if one ended with it.
        """
        address = urllib.parse.urlsplit(url)
        status = self._engine.status(f"{name}.{GATEWAY}")
        headers = {"content-type": body.content_type, **_authorization(status), **body.headers}
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
        said = payloads.message(content)
        if answer.headers.get("x-cloudml-gateway") and answer.status in REFUSALS:
            raise REFUSALS[answer.status](said)
        raise ModelError(said, status=answer.status)

    def metrics(self, process: Process) -> str:
        """What a server counts, as Prometheus text; empty if it does not answer."""
        found = _get(SERVERS, process.port, "/metrics")
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

    def _start(
        self,
        id: str,
        argv: Any,
        env: Mapping[str, str],
        cwd: Path,
        labels: Mapping[str, str],
        container: Container | None = None,
    ) -> None:
        task = Task(id, tuple(argv), env, str(cwd), grace=GRACE, labels=labels, restart=AGAIN, container=container)
        self._engine.start(task)

    def build(self, image: Mapping[str, Any]) -> None:
        """The image that servers of a model are started from."""
        self._place.build(image)

    def check_free(self, name: str, host: str, port: int) -> None:
        """Raises Conflict if somebody else listens where the gateway is to."""
        kept = self._folder(name) / "port"
        wanted = port or (int(kept.read_text()) if kept.exists() else OWN_PORT)
        if not wanted:
            return
        try:
            socket.create_server((host, wanted), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            hint = "end what listens there" + (", or set another options.local.port" if port else "")
            raise Conflict(f"cannot listen on {host}:{wanted}: {error.strerror or error}", hint=hint) from error

    def _own_token(self) -> str:
        """This home's token; made on its first use."""
        if not self._home.token.exists():
            draft = self._home.draft()
            with open(draft, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(secrets.token_urlsafe(32))
            with contextlib.suppress(AlreadyExists):  # another process was faster
                self._home.publish(draft, self._home.token)
        return self._home.token.read_text()

    def _view(self, name: str, statuses: Sequence[TaskStatus]) -> View:
        folder = self._folder(name)
        table = read(folder / "table.json")
        own = next((each for each in statuses if each.task.id == f"{name}.{GATEWAY}"), None)
        gateway, says = self._gateway(own, folder) if own else (None, {})
        return View(
            name=name,
            record=read(folder / "endpoint.json"),
            table=table,
            gateway=gateway,
            servers=tuple(
                self._server(each, folder / "servers" / each.task.id) for each in statuses if each is not own
            ),
            served=bool(table and says.get("revision") == table["revision"]),
            reached=frozenset(says.get("ready", ())),
        )

    def _gateway(self, status: TaskStatus, folder: Path) -> tuple[Process, dict[str, Any]]:
        """The gateway, and what it says of itself."""
        port = _port(status, folder / "gateway.json")
        host = status.task.labels["host"]
        found = _get(ANYWHERE.get(host, host), port, "/livez?servers", _authorization(status))
        says = json.loads(found[1]) if found and found[0] == 200 else {}
        ready = says.get("pid") == status.pid and status.pid is not None
        return self._process(status, port, ready, None), says

    def _server(self, status: TaskStatus, folder: Path) -> Process:
        port = _port(status, folder / "ready.json")
        answer = _get(SERVERS, port, "/readyz")
        return self._process(status, port, answer is not None and answer[0] == 200, read(folder / "failure.json"))

    def _process(self, status: TaskStatus, port: int | None, ready: bool, failure: Mapping[str, Any] | None) -> Process:
        ended = status.state.ended
        down = ended or (status.restarts > 0 and not ready)
        said = f"{failure['type']}: {failure['message']}" if failure else None
        reason = said or (self._last_words(status) if ended else f"{status.reason}; it is started again")
        return Process(
            status.task.id, status, None if ended else port, ready and not ended, down, reason if down else None
        )

    def _last_words(self, status: TaskStatus) -> str:
        """How a process ended, and the last that it said if it ended by itself."""
        reason = status.reason or status.state.value
        if not status.exit_code or status.exit_code > 128:
            return reason
        lines = self._engine.logs(status.task.id)[0].decode(errors="replace").strip().splitlines()
        starts = [at for at, line in enumerate(lines) if line and not line[0].isspace()]  # a hint below is indented
        said = "; ".join(line.strip() for line in lines[starts[-1] :]) if starts else ""
        return f"{said.removeprefix('cloudml: ')} ({reason})" if said else reason


def _port(status: TaskStatus, announced: Path) -> int | None:
    """Where a process listens; what an earlier one with its id announced does not count."""
    found = read(announced)
    return int(found["port"]) if found and status.pid is not None and found["pid"] == status.pid else None


def _authorization(status: TaskStatus | None) -> dict[str, str]:
    """What a gateway wants to see; whoever may read its task may use it."""
    token = status.task.env.get(TOKEN) if status else None
    return {"authorization": f"Bearer {token}"} if token else {}


def _get(host: str, port: int | None, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes] | None:
    """A quick question to a process of ours; None if it does not answer."""
    if port is None:
        return None
    connection = http.client.HTTPConnection(host, port, timeout=PROBE)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def serve_argv(module: str, *words: str) -> list[str]:
    """A module of this Python's, as a command."""
    return [sys.executable, "-m", module, *words]


def _signature(sidecar: str) -> dict[str, str]:
    """The sidecar, if it is there and names the model's inputs."""
    found = read(Path(sidecar.removeprefix("file://"))) if sidecar else None
    return {"CLOUDML_SIGNATURE": sidecar.removeprefix("file://")} if found and found.get("inputs") else {}
