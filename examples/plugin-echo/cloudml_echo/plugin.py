"""The provider, whole: what the entry point names, and the waist over this cloud. No try, no sleep, no retry."""

import json
import shutil
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cloudml import bundle, specs, spi
from cloudml.errors import AlreadyExists, Denied, ModelError, NotFound, PreconditionFailed, ProviderError
from cloudml.spi import Call, Caller, Effect, Goal, No, Operation, Payload, Plugin, Provider, Window, Yes
from cloudml.spi import Capability as C
from cloudml.states import Captured, Failure, Key, LogLine, Part, Phase, Sample, State
from cloudml_echo.cloud import Cloud, Document, Refused

Want = TypeVar("Want")
NAME = "echo"
PHASES = {
    "Running": Phase.RUNNING,
    "Stopping": Phase.CANCELLING,
    "Stopped": Phase.CANCELLED,
    "Succeeded": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "TimedOut": Phase.TIMED_OUT,
}


@dataclass(frozen=True)
class Store:
    """Artifacts: keys are paths under one folder, and a URI is the absolute path."""

    root: Path
    caller: Caller

    def uri(self, key: str) -> str:
        return str(self.root / key)

    def place(self, stack: str, value: str) -> str:
        """Where a planned spec's content lies; any other value is a place already."""
        return self.uri(f"{stack}/content/{value.removeprefix('sha256:')}") if value.startswith("sha256:") else value

    def missing(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if not (self.root / key).exists()}

    def put(self, key: str, source: Path | bytes) -> str:
        self.caller.write("put", lambda: self._put(self.root / key, source))
        return self.uri(key)

    def open(self, uri: str) -> IO[bytes]:
        return self.caller.read("open", lambda: open(uri, "rb"))

    def list(self, prefix: str) -> Iterator[str]:
        start = self.root / prefix
        return (str(file) for file in sorted([start, *start.rglob("*")]) if file.is_file())

    def delete(self, uri: str) -> None:
        shutil.rmtree(uri) if Path(uri).is_dir() else Path(uri).unlink(missing_ok=True)

    def _put(self, target: Path, source: Path | bytes) -> None:
        """Written beside its place and then renamed, so that it is there whole or not at all."""
        draft = self.root.parent / "drafts" / uuid.uuid4().hex
        for folder in (draft.parent, target.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            draft.write_bytes(source)
        else:
            shutil.copytree(source, draft) if source.is_dir() else shutil.copyfile(source, draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.replace(target)


@dataclass(frozen=True)
class Resources(ABC, Generic[Want]):
    """One kind: a native id is ``<kind>s/<name>``, and every write is one request to it."""

    cloud: Cloud
    store: Store
    caller: Caller
    kind: ClassVar[str]

    @abstractmethod
    def state(self, key: Key, document: Document) -> State:
        """A native document as it is seen from outside."""

    @abstractmethod
    def wanted(self, goal: Goal[Want], want: Want, have: State | None) -> tuple[Document, list[Any]]:
        """The document as it is to be, and the files that it needs."""

    def observe(self, key: Key, want: Want | None) -> State | None:
        document = self.caller.find("GET", lambda: self.cloud.get(f"{self.kind}s/{key.name}"))
        if document is None:
            return None
        labels = document["labels"]
        known = replace(self.state(key, document), labels=labels, created=document["created"], native=document)
        return replace(known, owner=labels.get("cloudml-stack"), id=f"{self.kind}s/{key.name}")

    def list(self, stack: str | None) -> Iterator[State]:
        for name in self.caller.read("LIST", lambda: self.cloud.names(f"{self.kind}s")):
            state = self.observe(Key(self.kind, name, stack or ""), None)
            if state and state.owner and stack in (None, state.owner):
                yield replace(state, key=Key(self.kind, name, state.owner))

    def render(self, goal: Goal[Want], have: State | None) -> Sequence[Call]:
        """One document is the whole way: it is put where it differs from what is there."""
        path = f"{self.kind}s/{goal.key.name}"
        if goal.want is None:
            return [Call("DELETE", path, {}, "it is to be gone", Effect.DELETE)] if have and not goal.cancel else []
        document, files = self.wanted(goal, goal.want, have)
        native: Mapping[str, Any] = have.native if have else {}
        differs = [name for name, value in document.items() if native.get(name) != value]
        body = {"etag": native.get("etag"), "document": document, "files": files}
        effect = Effect.UPDATE if have else Effect.CREATE
        return [Call("PUT", path, body, f"{', '.join(differs)} differ", effect)] if differs else []

    def send(self, call: Call) -> Operation | None:
        method = getattr(self.cloud, call.operation.lower())
        failure = self.caller.write(call.operation, lambda: method(call.target, call.document))
        return Operation(call.fingerprint(), call.target, running=False, error=Failure(failure)) if failure else None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"this cloud answers at once and has no operation {operation.id}")


class Jobs(Resources[specs.TrainingJob]):
    kind = "job"

    def state(self, key: Key, document: Document) -> State:
        phase, said = PHASES[document["status"]], document["failure"]
        reason = f"{said['type']}: {said['message']}" if said else f"exit code {document['code']}"
        metrics = {each["name"]: each["value"] for each in document["metrics"]}
        facts = {"model": document["model"] if phase is Phase.SUCCEEDED else None, "metrics": metrics}
        spec = document["labels"].get("cloudml-hash")
        return State(key, phase, None, spec, failure=Failure(reason) if phase.failed else None, facts=facts)

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        path = f"jobs/{goal.key.name}"
        if goal.want:
            document, _ = self.wanted(goal, goal.want, have)
            return [] if have else [Call("START", path, document, "there is no such job")]
        stop = [Call("STOP", path, {}, "it is running", Effect.UPDATE)] if have and not have.phase.settled else []
        return [*stop, *super().render(goal, have)]

    def wanted(
        self, goal: Goal[specs.TrainingJob], want: specs.TrainingJob, have: State | None
    ) -> tuple[Document, list[Any]]:
        """The command is the runtime's, which the core has stored beside the spec; paths are as on the node."""
        stack, at = goal.key.stack, self.store
        model = at.uri(f"{stack}/runs/{goal.key.name}/model")
        command = [sys.executable, at.uri(bundle.key(stack)), "train", "--id", goal.key.name]
        command += ["--spec", at.uri(spi.spec_key(stack, want)), "--source", "source", "--output", "output"]
        command += [f"--input={name}={at.place(stack, value)}" for name, value in want.inputs.items()]
        document = {
            "labels": dict(goal.labels),
            "command": [*command, "--model", model],
            "env": spi.leaves(want.env),
            "timeout": want.timeout,
            "source": at.place(stack, want.source) if want.source else None,
            "model": model,
        }
        return spi.patched(document, want, NAME), []


class Models(Resources[specs.Model]):
    """The number of a version is its place in the list."""

    kind = "model"

    def state(self, key: Key, document: Document) -> State:
        named: dict[str, list[str]] = {}
        for alias, number in document["aliases"].items():
            named.setdefault(number, []).append(alias)
        parts = tuple(
            Part("version", number, f"models/{key.name}/{number}", Phase.READY, version["hash"],
                 facts={**version, "aliases": tuple(named.get(number, ()))})
            for number, version in ((str(at), each) for at, each in enumerate(document["versions"], 1))
        )  # fmt: skip
        return State(key, Phase.READY, None, parts=parts, facts={"aliases": document["aliases"]})

    def wanted(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> tuple[Document, list[Any]]:
        stack, spec = goal.key.stack, specs.spec_hash(want)
        run = f"{stack}/runs/{(want.from_ or '').removeprefix('run:')}/model"
        uri = self.store.place(stack, want.path) if want.path else self.store.uri(run)
        versions = [*have.native["versions"]] if have else []
        if spec not in [each["hash"] for each in versions]:
            versions.append(spi.patched({"hash": spec, "uri": uri, "description": want.description}, want, NAME))
        number = str([each["hash"] for each in versions].index(spec) + 1)
        aliases = {**(have.facts["aliases"] if have else {}), **({want.alias: number} if want.alias else {})}
        return {"labels": dict(goal.labels), "versions": versions, "aliases": aliases}, [uri]


class Endpoints(Resources[specs.Endpoint]):
    kind = "endpoint"

    def state(self, key: Key, document: Document) -> State:
        deployments = document["deployments"].items()
        parts = [Part("deployment", name, name, Phase.READY, each["hash"]) for name, each in deployments]
        facts = {"url": (self.cloud.root / "endpoints" / key.name).as_uri(), "traffic": document["traffic"]}
        return State(key, Phase.READY, None, document["hash"], parts=tuple(parts), facts=facts)

    def wanted(
        self, goal: Goal[specs.Endpoint], want: specs.Endpoint, have: State | None
    ) -> tuple[Document, list[Any]]:
        deployments = {
            name: {"uri": goal.references[each.model].uri, "hash": specs.spec_hash(each)}
            for name, each in want.deployments.items()
        }
        document = {
            "labels": dict(goal.labels),
            "hash": specs.spec_hash(want),
            "deployments": deployments,
            "traffic": dict(want.traffic),
            "capture": want.capture,
        }
        return spi.patched(document, want, NAME), [each["uri"] for each in deployments.values()]

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        answer = self.caller.read("ask", lambda: self.cloud.ask(have.id, body.body, deployment))
        return Payload(json.dumps(answer).encode())


@dataclass(frozen=True)
class Telemetry:
    cloud: Cloud
    caller: Caller

    def logs(self, have: State, cursor: str | None) -> tuple[Sequence[LogLine], str]:
        """The cursor is the number of lines that were read."""
        text = self.caller.read("log", lambda: self.cloud.text(f"{have.id}/log"))
        lines = text.splitlines() if have.phase.settled else text.split("\n")[:-1]
        return [LogLine(line) for line in lines[int(cursor or 0) :]], str(len(lines))

    def metrics(self, have: State, window: Window) -> Iterator[Sample]:
        for line in self.caller.read("asked", lambda: self.cloud.text(f"{have.id}/asked")).splitlines():
            time, deployment = line.split()
            if (window.start or 0.0) <= float(time) < (window.end or float("inf")):
                yield Sample("requests", 1.0, float(time), {"deployment": deployment})

    def captured(self, have: State, window: Window) -> Iterator[Captured]:
        text = self.caller.read("captured", lambda: self.cloud.text(f"{have.id}/captured.jsonl"))
        for each in map(json.loads, text.splitlines()):
            if (window.start or 0.0) <= each["time"] < (window.end or float("inf")):
                time = datetime.fromtimestamp(each["time"], UTC).isoformat()
                yield Captured(each["id"], time, each["rows"], each["rows"], deployment=each["deployment"])


class Config(BaseModel):
    """``folder`` is where this cloud is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path


@dataclass(frozen=True)
class Echo:
    jobs: Jobs
    models: Models
    endpoints: Endpoints
    artifacts: Store
    telemetry: Telemetry
    monitors: None = None


def connect(config: Config, caller: Caller) -> Provider:
    cloud = Cloud(config.folder)
    store = Store(cloud.root / "artifacts", caller)
    parts = (cloud, store, caller)
    return Echo(Jobs(*parts), Models(*parts), Endpoints(*parts), store, Telemetry(cloud, caller))


ERRORS: Mapping[type[Exception], type[ProviderError]] = {
    FileNotFoundError: NotFound,
    FileExistsError: AlreadyExists,
    PermissionError: Denied,
    Refused: PreconditionFailed,
}


def classify(native: Exception) -> ProviderError | None:
    """The error of the tree for this cloud's own; None for a defect, which stays what it is."""
    if isinstance(native, ValidationError):
        return ModelError(f"the request is not understood: {native.errors()[0]['msg']}", status=400)
    kind = ERRORS.get(type(native))
    return kind(str(native)) if kind else None


CAN = {
    *(C.JOBS, C.MODELS, C.MODELS_ALIAS, C.MONITORS),
    *(C.ENDPOINTS, C.ENDPOINTS_TRAFFIC, C.ENDPOINTS_CAPTURE, C.ENDPOINTS_PIN),
}
WHY_NOT = {C.MONITORS_SCHEDULE: "run 'cloudml monitors run' from any cron"}
CANNOT = "an echo needs none of that; leave it out, or use another provider"
CAPABILITIES: Mapping[C, Yes | No] = {each: Yes() if each in CAN else No(WHY_NOT.get(each, CANNOT)) for each in C}

plugin = Plugin(NAME, Config, connect, classify, CAPABILITIES, pace=0.02, carried=True)
