"""Endpoints: a gateway on a stable port, and behind it one server process for each deployment.

A replacement is started beside what runs; traffic moves once it is ready, and only then does the old one end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudml import specs
from cloudml.engines import TaskState
from cloudml.errors import Unavailable
from cloudml.spi import Call, Caller, Effect, Goal, Operation, Payload, leaves, patched
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml_local.environment import threads
from cloudml_local.home import Home
from cloudml_local.options import Access, EndpointOptions
from cloudml_local.places import Processes
from cloudml_local.servers import GATEWAY, Process, Servers, View, serve_argv

ROUTE = serve_argv("cloudml_local.gateway")
ENDED = {TaskState.CANCELLED: Phase.CANCELLED}  # stopped on request; whatever ends by itself has failed
REACHED = {"cloudml-hash", "cloudml-prev"}  # labels that come with the traffic: they name what has been reached
MARGIN = 5.0  # seconds that a client waits longer than the gateway, so that it hears why


class LocalEndpoints:
    """The endpoints of one home folder."""

    def __init__(self, home: Home, servers: Servers, access: Access, caller: Caller, place: Processes) -> None:
        self._place = place
        self._home = home
        self._servers = servers
        self._access = access
        self._call = caller
        self._send = {
            "CreateEndpoint": lambda call: self._servers.create(call.target, call.document),
            "SetOwner": lambda call: self._servers.set_owner(call.target, call.document["owner"]),
            "BuildImage": lambda call: self._servers.build(call.document),
            "StartServer": lambda call: self._servers.start_server(_name(call), call.target, call.document),
            "StartGateway": lambda call: self._servers.start_gateway(_name(call), call.document),
            "SetTraffic": lambda call: self._servers.set_table(call.target, call.document),
            "StopProcess": lambda call: self._servers.stop(call.target),
            "RemoveProcess": lambda call: self._servers.remove(call.target),
            "DeleteEndpoint": lambda call: self._servers.delete(call.target),
        }

    def observe(self, key: Key, want: specs.Endpoint | None) -> State | None:
        view = self._call.find("GetEndpoint", lambda: self._servers.get(key.name))
        if want is not None:
            self._check_port(key.name, view, _options(want, self._place.name).port)
        return self._state(key, view, want) if view else None

    def _check_port(self, name: str, view: View | None, port: int | None) -> None:
        """Raises Conflict if the wanted port is taken: before the gateway that serves now is stopped for it."""
        gateway = view.gateway.status if view and view.gateway else None
        listens = gateway is not None and not gateway.state.ended and gateway.task.labels["port"] == str(port)
        if port and not listens:
            self._call.read("CheckPort", lambda: self._servers.check_free(name, self._access.host, port))

    def render(self, goal: Goal[specs.Endpoint], have: State | None) -> Sequence[Call]:
        if goal.want is not None:
            return [*self._present(goal, goal.want, have)]
        return [] if goal.cancel or have is None else [*_absent(goal.key.name, have)]

    def send(self, call: Call) -> Operation | None:
        self._call.write(call.operation, lambda: self._send[call.operation](call))
        stops = call.operation == "StopProcess"
        return Operation(f"stop {call.target}", call.target, running=True) if stops else None

    def poll(self, operation: Operation) -> Operation:
        ended = self._call.read("GetProcess", lambda: self._servers.ended(operation.target))
        return Operation(operation.id, operation.target, running=not ended)

    def list(self, stack: str | None) -> Iterator[State]:
        for view in self._call.read("ListEndpoints", self._servers.list):
            owner = _owner(view)
            if stack is None or owner == stack:
                yield self._state(Key("endpoint", view.name, owner), view, None)

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        url = have.facts["url"]
        if url is None:
            raise Unavailable(f"endpoint {have.key.name} does not listen", hint="apply again")
        return self._servers.forward(have.key.name, url, body, deployment, have.facts["timeout"] + MARGIN)

    # -- the way to what is wanted -----------------------------------------------------------------------------------

    def _present(self, goal: Goal[specs.Endpoint], want: specs.Endpoint, have: State | None) -> Iterator[Call]:
        stack, labels = goal.key.stack, {**want.labels, **goal.labels, "cloudml-stack": goal.key.stack}
        if have is None or have.native["record"] is None:
            base = {name: text for name, text in labels.items() if name not in REACHED}
            record = {"owner": stack, "labels": base}
            yield Call("CreateEndpoint", goal.key.name, record, "there is no such endpoint")
        elif have.owner != stack:
            yield Call("SetOwner", goal.key.name, {"owner": stack}, f"it belongs to {have.owner}", Effect.UPDATE)
        parts = {part.id: part for part in have.parts} if have else {}
        ids = _ids(goal.key.name, want, self._place.name)
        for name, deployment in want.deployments.items():
            yield from self._server(goal, want, name, deployment, parts.get(ids[name]))
        yield from self._gateway(goal, want, parts.get(f"{goal.key.name}.{GATEWAY}"))
        table = _table(want, ids, labels)
        if have is None or _routes(have.native["table"]) != _routes(table):
            effect = Effect.UPDATE if have and have.native["table"] else Effect.CREATE
            yield Call("SetTraffic", goal.key.name, table, "traffic goes elsewhere", effect)
        for part in parts.values():
            if part.kind == "deployment" and part.id not in ids.values():
                yield from _end(part, "it is no longer wanted")

    def _server(
        self,
        goal: Goal[specs.Endpoint],
        want: specs.Endpoint,
        name: str,
        deployment: specs.Deployment,
        have: Part | None,
    ) -> Iterator[Call]:
        if have is not None and not _ended(have):
            return
        if have is not None:
            yield from _end(have, "it ended")
        id = _ids(goal.key.name, want, self._place.name)[name]
        reference = goal.references[deployment.model]
        captures = self._home.captures(goal.key.stack, goal.key.name)
        document = {
            "argv": list(self._place.serve),
            "env": {
                **threads(deployment.resources.cpu),
                **leaves(deployment.env),
                "CLOUDML_PLATFORM": self._place.name,
                "CLOUDML_MODEL_DIR": reference.uri,
                "CLOUDML_MODEL_NAME": reference.family,
                "CLOUDML_MODEL_VERSION": reference.version,
                "CLOUDML_ENDPOINT": goal.key.name,
                "CLOUDML_DEPLOYMENT": name,
                "CLOUDML_CAPTURE_RATE": str(want.capture),
                "CLOUDML_CAPTURE_DIR": str(captures),
                "CLOUDML_CAPTURE_LIMIT": str(_options(want, self._place.name).capture_limit),
                "CLOUDML_CAPTURE_REDACT": json.dumps(want.redact),
            },
            "model": reference.hash,
            "sidecar": reference.sidecar,
            "labels": {
                **deployment.labels,
                "cloudml-stack": goal.key.stack,
                "deployment": name,
                "spec": specs.spec_hash(deployment),
                "model": deployment.model,
            },
            **self._place.image_of_server(reference.uri, deployment.resources),
        }
        start = patched(document, deployment, self._place.name)
        yield from self._place.builds(id, start)
        yield Call("StartServer", id, start, f"no server runs {deployment.model}")

    def _gateway(self, goal: Goal[specs.Endpoint], want: specs.Endpoint, have: Part | None) -> Iterator[Call]:
        port, access = _options(want, self._place.name).port, self._access
        listens = {"host": access.host, "port": str(port or 0), "token": access.label}
        if have is not None and not _ended(have) and have.facts["listens"] == listens:
            return
        if have is not None:
            yield from _end(have, "it ended" if _ended(have) else "its address or its token differs")
        labels = {"cloudml-stack": goal.key.stack, **listens}
        document = {"argv": ROUTE, "host": access.host, "port": port, "token": access.token, "labels": labels}
        why = "nothing listens" if have is None or _ended(have) else "its address or its token differs"
        yield Call("StartGateway", f"{goal.key.name}.{GATEWAY}", patched(document, want, self._place.name), why)

    # -- what there is -----------------------------------------------------------------------------------------------

    def _state(self, key: Key, view: View, want: specs.Endpoint | None) -> State:
        targets = {name: entry["server"] for name, entry in (view.table or {}).get("targets", {}).items()}
        awaited = {*targets.values(), *(_ids(view.name, want, self._place.name).values() if want else ())}
        table = view.table or {"targets": {}, "labels": {}, "spec": None, "capture": 0.0, "timeout": 60.0}
        traffic = {name: entry["weight"] for name, entry in table["targets"].items()}
        wanted = _ids(view.name, want, self._place.name).values() if want else ()
        found = [_part(process, traffic, targets, awaited, want is None) for process in view.servers]
        servers = sorted(found, key=lambda part: (part.id not in wanted, part.id not in targets.values(), part.id))
        gateway = (_gateway_part(view.gateway),) if view.gateway else ()
        phase, failure = _condition(view, {part.id: part for part in (*servers, *gateway)}, awaited)
        listens = view.gateway if view.gateway and view.gateway.port else None
        record = view.record or {"labels": {}, "created": None}
        return State(
            key=key,
            phase=phase,
            owner=_owner(view),
            spec=table["spec"],
            id=f"{view.name}.{GATEWAY}",
            parts=(*servers, *gateway),
            failure=failure,
            labels={**record["labels"], **table["labels"], "cloudml-stack": _owner(view)},
            facts={
                "url": self._servers.url(listens) if listens else None,
                "token": bool(listens and listens.status.task.labels["token"]),
                "traffic": traffic,
                "capture": table["capture"],
                "timeout": table["timeout"],
            },
            created=record["created"],
            native={
                "record": view.record,
                "table": view.table,
                "pids": {each.id: each.status.pid for each in (*view.servers, view.gateway) if each},
            },
        )


def _condition(view: View, parts: Mapping[str, Part], awaited: set[str]) -> tuple[Phase, Failure | None]:
    """The endpoint's phase. Trouble is DEGRADED, never FAILED: every part of it can be started again."""
    gateway = parts.get(f"{view.name}.{GATEWAY}")
    starting = {part.id for part in parts.values() if part.phase is Phase.CREATING}
    if starting & {*awaited, f"{view.name}.{GATEWAY}"} or (
        gateway and gateway.phase is Phase.READY and view.table and not view.served
    ):
        return (Phase.UPDATING if view.table else Phase.CREATING), None
    if view.table is None:
        return Phase.EMPTY, gateway.failure if gateway else None
    if gateway is None or gateway.phase is not Phase.READY:
        said = gateway.failure.reason if gateway and gateway.failure else "it does not run"
        return Phase.DEGRADED, Failure(f"{GATEWAY}: {said}")
    for name, entry in view.table["targets"].items():
        part = parts.get(entry["server"])
        if entry["weight"] and (part is None or part.phase is not Phase.READY):
            said = part.failure.reason if part and part.failure else "its server does not run"
            return Phase.DEGRADED, Failure(f"{name}: {said}")
        if entry["weight"] and entry["server"] not in view.reached:
            return Phase.UPDATING, None
    return Phase.READY, None


def _part(
    process: Process, traffic: Mapping[str, int], targets: Mapping[str, str], awaited: set[str], all_count: bool
) -> Part:
    """A server. One that nobody waits for any more counts as archived until it is gone."""
    labels = process.status.task.labels
    name = labels["deployment"]
    phase = _phase(process)
    if not phase.failed and phase is not Phase.CANCELLED and process.id not in awaited and not all_count:
        phase = Phase.ARCHIVED
    return Part(
        kind="deployment",
        name=name,
        id=process.id,
        phase=phase,
        spec=labels["spec"],
        failure=Failure(process.reason) if process.reason else None,
        facts={
            "traffic": traffic.get(name, 0) if targets.get(name) == process.id else 0,
            "model": labels["model"],
            "port": process.port,
            "runs": not process.status.state.ended,
        },
    )


def _gateway_part(process: Process) -> Part:
    listens = {name: process.status.task.labels[name] for name in ("host", "port", "token")}
    return Part(
        kind=GATEWAY,
        name=GATEWAY,
        id=process.id,
        phase=_phase(process),
        failure=Failure(process.reason) if process.reason else None,
        facts={"listens": listens, "runs": not process.status.state.ended},
    )


def _phase(process: Process) -> Phase:
    """What is down has failed, even if it is started again: whoever waits for it must hear of it."""
    if process.down:
        return ENDED.get(process.status.state, Phase.FAILED)
    return Phase.READY if process.ready else Phase.CREATING


def _options(want: specs.Endpoint, place: str) -> EndpointOptions:
    return EndpointOptions.model_validate(want.options.get(place, {}))


def _ids(endpoint: str, want: specs.Endpoint, place: str) -> dict[str, str]:
    """The server of each deployment: whatever it is started with is in its hash."""
    kept = [want.capture, sorted(want.redact), _options(want, place).capture_limit]
    return {
        name: f"{endpoint}.{name}.{specs.hash8([specs.spec_hash(deployment), *kept])}"
        for name, deployment in want.deployments.items()
    }


def _table(want: specs.Endpoint, ids: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    table = {
        "spec": specs.spec_hash(want),
        "labels": dict(labels),
        "capture": want.capture,
        "timeout": want.timeout,
        "targets": {name: {"server": ids[name], "weight": want.traffic.get(name, 0)} for name in want.deployments},
    }
    return {**table, "revision": specs.hash8(table)}


def _routes(table: Mapping[str, Any] | None) -> Any:
    """What of a table is compared: a label that tells of the past is no reason to change anything."""
    if table is None:
        return None
    labels = {name: text for name, text in table["labels"].items() if name != "cloudml-prev"}
    return {**table, "labels": labels, "revision": None}


def _absent(name: str, have: State) -> Iterator[Call]:
    """The gateway first: whoever still asks is told at once that nobody listens."""
    for part in (*have.of(GATEWAY), *have.of("deployment")):
        yield from _end(part, "its endpoint is not wanted")
    if have.native["record"] is not None:
        yield Call("DeleteEndpoint", name, {}, "it is not wanted", Effect.DELETE)


def _ended(part: Part) -> bool:
    return part.phase.failed or part.phase is Phase.CANCELLED


def _end(part: Part, why: str) -> Iterator[Call]:
    if part.facts["runs"]:
        yield Call("StopProcess", part.id, {}, why, Effect.DELETE)
    yield Call("RemoveProcess", part.id, {}, why, Effect.DELETE)


def _name(call: Call) -> str:
    return call.target.partition(".")[0]


def _owner(view: View) -> str:
    if view.record is not None:
        return str(view.record["owner"])
    some = view.gateway or view.servers[0]
    return str(some.status.task.labels["cloudml-stack"])
