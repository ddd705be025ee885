"""Jobs, models and endpoints: what is there, what would be sent, and one thing sent. No try, no sleep, no retry."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from cloudml import specs
from cloudml.errors import NotFound
from cloudml.spi import Call, Caller, Effect, Goal, Operation, Payload, leaves
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml_echo.cloud import Cloud, Document
from cloudml_echo.options import JobOptions
from cloudml_echo.store import Store

Want = TypeVar("Want")
PHASES = {
    "Running": Phase.RUNNING,
    "Stopping": Phase.CANCELLING,
    "Stopped": Phase.CANCELLED,
    "Succeeded": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "TimedOut": Phase.TIMED_OUT,
}


class Resources(ABC, Generic[Want]):
    """One kind: a native id is ``<kind>s/<name>``, and every write is one request to it."""

    kind: str

    def __init__(self, cloud: Cloud, store: Store, caller: Caller) -> None:
        self.cloud, self.store, self.caller = cloud, store, caller

    @abstractmethod
    def state(self, key: Key, document: Document) -> State:
        """A native document as it is seen from outside."""

    @abstractmethod
    def render(self, goal: Goal[Want], have: State | None) -> Sequence[Call]: ...

    def read(self, path: str) -> Document:
        return self.cloud.get(path)

    def observe(self, key: Key, want: Want | None) -> State | None:
        document = self.caller.find("GET", lambda: self.read(f"{self.kind}s/{key.name}"))
        return self.state(key, document) if document else None

    def list(self, stack: str | None) -> Iterator[State]:
        for name in self.caller.read("LIST", lambda: self.cloud.names(f"{self.kind}s")):
            state = self.observe(Key(self.kind, name, stack or ""), None)
            if state and state.owner and stack in (None, state.owner):
                yield replace(state, key=Key(self.kind, name, state.owner))

    def send(self, call: Call) -> Operation | None:
        method = call.operation
        failure = self.caller.write(method, lambda: self.cloud.request(method, call.target, call.document))
        return Operation(call.fingerprint(), call.target, running=False, error=Failure(failure)) if failure else None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"this cloud answers at once and has no operation {operation.id}")


class Jobs(Resources[specs.TrainingJob]):
    kind = "job"

    def read(self, path: str) -> Document:
        return self.cloud.job(path)

    def state(self, key: Key, document: Document) -> State:
        phase, labels, failure = PHASES[document["status"]], document["labels"], None
        if phase.failed:
            said = document["failure"]
            failure = Failure(f"{said['type']}: {said['message']}" if said else f"exit code {document['code']}")
        model = document["model"] if phase is Phase.SUCCEEDED else None
        facts = {"model": model, "metrics": {each["name"]: each["value"] for each in document["metrics"]}}
        return State(
            key, phase, labels.get("cloudml-stack"), labels.get("cloudml-hash"), f"jobs/{key.name}",
            failure=failure, labels=labels, facts=facts, created=document["created"], native=document,
        )  # fmt: skip

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        path, want = f"jobs/{goal.key.name}", goal.want
        if want:
            return [] if have else [Call("START", path, self._request(goal, want), "there is no such job")]
        if have is None:
            return []
        stop = [] if have.phase.settled else [Call("STOP", path, {}, "it is running", Effect.UPDATE)]
        return stop if goal.cancel else [*stop, Call("DELETE", path, {}, "it is to be gone", Effect.DELETE)]

    def _request(self, goal: Goal[specs.TrainingJob], want: specs.TrainingJob) -> Document:
        """What ``cloudml.runtime`` reads on the node, and beside it what only this cloud knows."""
        stack, options = goal.key.stack, specs.make(JobOptions, "options.echo", want.options.get("echo", {}))
        job = {
            "id": goal.key.name,
            "name": goal.labels["cloudml-name"],
            "attempt": int(goal.key.name.rpartition("-")[2]),
            "command": want.command if isinstance(want.command, str) else list(want.command),
            "params": dict(want.params),
            "inputs": {name: place(self.store, stack, value) for name, value in want.inputs.items()},
            "source": place(self.store, stack, want.source) if want.source else None,
            "model": self.store.uri(f"{stack}/runs/{goal.key.name}/model"),
            "labels": {**want.labels, **goal.labels},
            **want.patch.get("echo", {}),
        }
        return {"job": job, "env": leaves(want.env), "timeout": want.timeout, "nice": options.nice}


class Documents(Resources[Want]):
    """A kind whose every state is one document, which is put whole: nothing is sent where nothing differs."""

    @abstractmethod
    def wanted(self, goal: Goal[Want], want: Want, have: State | None) -> tuple[Document, list[Any]]:
        """The document as it is to be, and the files that it needs."""

    def render(self, goal: Goal[Want], have: State | None) -> Sequence[Call]:
        path = f"{self.kind}s/{goal.key.name}"
        if goal.want is None:
            return [Call("DELETE", path, {}, "it is to be gone", Effect.DELETE)] if have and not goal.cancel else []
        document, files = self.wanted(goal, goal.want, have)
        native: Mapping[str, Any] = have.native if have else {}
        differs = [name for name, value in document.items() if native.get(name) != value]
        body = {"etag": native.get("etag"), "document": document, "files": files}
        effect = Effect.UPDATE if have else Effect.CREATE
        return [Call("PUT", path, body, f"{', '.join(differs)} differ", effect)] if differs else []


class Models(Documents[specs.Model]):
    """The number of a version is its place in the list."""

    kind = "model"

    def state(self, key: Key, document: Document) -> State:
        aliases, labels = document["aliases"], document["labels"]
        parts = [
            Part("version", str(number), f"models/{key.name}/{number}", Phase.READY, version["hash"], facts={
                **version, "aliases": tuple(alias for alias, at in aliases.items() if at == str(number)),
            })
            for number, version in enumerate(document["versions"], 1)
        ]  # fmt: skip
        return State(
            key, Phase.READY, labels.get("cloudml-stack"), None, f"models/{key.name}", tuple(parts),
            labels=labels, facts={"aliases": aliases}, created=document["created"], native=document,
        )  # fmt: skip

    def wanted(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> tuple[Document, list[Any]]:
        stack, spec = goal.key.stack, specs.spec_hash(want)
        run = f"{stack}/runs/{(want.from_ or '').removeprefix('run:')}/model"
        uri = place(self.store, stack, want.path) if want.path else self.store.uri(run)
        versions = [*have.native["versions"]] if have else []
        hashes = [each["hash"] for each in versions]
        if spec not in hashes:
            new = {"hash": spec, "uri": uri, "description": want.description, **want.patch.get("echo", {})}
            versions, hashes = [*versions, new], [*hashes, spec]
        moved = {want.alias: str(hashes.index(spec) + 1)} if want.alias else {}
        aliases = {**(have.facts["aliases"] if have else {}), **moved}
        return {"labels": {**want.labels, **goal.labels}, "versions": versions, "aliases": aliases}, [uri]


class Endpoints(Documents[specs.Endpoint]):
    kind = "endpoint"

    def state(self, key: Key, document: Document) -> State:
        labels, path = document["labels"], f"endpoints/{key.name}"
        parts = tuple(
            Part("deployment", name, f"{path}/{name}", Phase.READY, each["hash"])
            for name, each in document["deployments"].items()
        )
        facts = {"url": (self.cloud.root / path).as_uri(), "traffic": document["traffic"]}
        return State(
            key, Phase.READY, labels.get("cloudml-stack"), document["hash"], path, parts,
            labels=labels, facts=facts, created=document["created"], native=document,
        )  # fmt: skip

    def wanted(
        self, goal: Goal[specs.Endpoint], want: specs.Endpoint, have: State | None
    ) -> tuple[Document, list[Any]]:
        deployments = {
            name: {"uri": goal.references[each.model].uri, "hash": specs.spec_hash(each)}
            for name, each in want.deployments.items()
        }
        document = {
            "labels": {**want.labels, **goal.labels},
            "hash": specs.spec_hash(want),
            "deployments": deployments,
            "traffic": dict(want.traffic),
            "capture": want.capture,
            **want.patch.get("echo", {}),
        }
        return document, [each["uri"] for each in deployments.values()]

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        answer = self.caller.read("ask", lambda: self.cloud.ask(have.id, body.body, deployment))
        return Payload(json.dumps(answer).encode())


def place(store: Store, stack: str, value: str) -> str:
    """Where a planned spec's content lies; any other value is a place already."""
    return store.uri(f"{stack}/content/{value.removeprefix('sha256:')}") if value.startswith("sha256:") else value
