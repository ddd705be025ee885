"""What the adapters of the three clouds in memory share: reads, writes, artifacts, telemetry, the provider."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict

from cloudml import content, specs
from cloudml.errors import NotFound
from cloudml.spi import Call, Caller, Endpoints, Kind, No, Payload, Plugin, Provider, Telemetry, Window, Yes
from cloudml.spi import Capability as C
from cloudml.states import Captured, LogLine, Operation, Part, Phase, Sample, State
from cloudml.testing.cloud import Cloud, Route, classify
from cloudml.testing.world import Row, World

SCHEME = "memory://"


class Adapter:
    """What the adapters share: reads go through the caller, and one call is one request."""

    def __init__(self, cloud: Cloud, caller: Caller, artifacts: MemoryArtifacts) -> None:
        self.cloud = cloud
        self.caller = caller
        self.artifacts = artifacts

    def find(self, table: str, name: str) -> Row | None:
        return self.caller.find(f"get {table}", lambda: self.cloud.get(table, name))

    def rows(self, table: str, **labels: str) -> list[Row]:
        """The rows of a table that carry those labels, oldest first."""
        wanted = {f"cloudml-{key}": value for key, value in labels.items()}
        rows = self.caller.read(f"list {table}", lambda: self.cloud.all(table))
        return [row for row in rows if wanted.items() <= row["labels"].items()]

    def names(self, tables: Iterable[str], kind: str, stack: str | None) -> Iterator[tuple[str, str]]:
        """``(stack, name)`` of each resource of which a labelled row is left."""
        wanted = {"kind": kind} | ({"stack": stack} if stack else {})
        rows = [row for table in tables for row in self.rows(table, **wanted)]
        yield from sorted({(row["labels"]["cloudml-stack"], row["labels"]["cloudml-id"]) for row in rows})

    def send(self, call: Call) -> Operation | None:
        answer = self.caller.write(call.operation, lambda: self.cloud.call(call.operation, call.document))
        return Operation(answer["operation"], call.target, running=True) if answer and "operation" in answer else None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"this cloud has no operations, so none is named {operation.id}")

    def origin(self, want: specs.Model, stack: str) -> str:
        """Where the files of a model are: what a run wrote, or uploaded content."""
        if want.from_ is not None:
            return self.output(want.from_.removeprefix("run:"), stack)
        return self.artifacts.uri(f"{stack}/content/{(want.path or '').removeprefix('sha256:')}")

    def output(self, job: str, stack: str) -> str:
        return self.artifacts.uri(f"{stack}/runs/{job}/model")

    def ask(self, have: State, routes: Sequence[Route], body: Payload, deployment: str | None) -> Payload:
        answer = self.caller.read("invoke", lambda: self.cloud.invoke(have.key.name, routes, body.body, deployment))
        return Payload(answer)


def base(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that say whose and which a resource is; they never change while it lives."""
    return {key: value for key, value in labels.items() if key not in ("cloudml-hash", "cloudml-prev")}


def runs(label: str | None) -> str | None:
    """The hash of what runs, from the label of an endpoint, which may add that of its whole spec."""
    return label.partition("-")[0] if label else None


def lacks(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return not wanted.items() <= labels.items()


def version(have: State | None, spec: str) -> Part | None:
    """The version that counts for a hash: the oldest that did not fail."""
    versions = have.of("version") if have else ()
    return next((part for part in versions if part.spec == spec and not part.phase.failed), None)


def put_away(row: Row, phase: Phase) -> Phase:
    """The phase of a version of which the row may say that it is archived."""
    return Phase.ARCHIVED if phase is Phase.READY and row.get("archived") else phase


def aliased(parts: Sequence[Part], want: specs.Model | None) -> str | None:
    """The hash of what the wanted alias points to."""
    alias = want.alias if want else None
    return next((part.spec for part in parts if alias and alias in part.facts["aliases"]), None)


@dataclass(frozen=True)
class MemoryArtifacts:
    """Files by URI in a table of the world."""

    world: World
    caller: Caller

    def uri(self, key: str) -> str:
        return SCHEME + key

    def missing(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if not list(self.list(key))}

    def put(self, key: str, source: Path | bytes) -> str:
        files = {self.uri(key): {"bytes": source}} if isinstance(source, bytes) else _files(self.uri(key), source)
        rows = {uri: {"name": uri, **file} for uri, file in files.items()}
        change = self.world.rows("artifacts").update
        self.caller.write("Put", lambda: self.world.write("Put", lambda: change(rows)))
        return self.uri(key)

    def open(self, uri: str) -> IO[bytes]:
        row = self.caller.read("Get", lambda: Cloud(self.world).get("artifacts", uri))
        return io.BytesIO(row["bytes"])

    def list(self, prefix: str) -> Iterator[str]:
        root = self.uri(prefix)
        rows = self.caller.read("List", lambda: self.world.read("artifacts"))
        return iter(sorted(uri for uri in rows if uri == root or uri.startswith(root.rstrip("/") + "/")))

    def delete(self, uri: str) -> None:
        gone = list(self.list(uri.removeprefix(SCHEME)))
        rows = self.world.rows("artifacts")
        self.caller.write("Delete", lambda: self.world.write("Delete", lambda: [rows.pop(each) for each in gone]))


def _files(uri: str, path: Path) -> dict[str, Row]:
    if path.is_file():
        return {uri: {"bytes": path.read_bytes()}}
    return {f"{uri}/{name}": {"bytes": file.read_bytes()} for name, file in content.files(path)}


@dataclass(frozen=True)
class MemoryTelemetry:
    world: World

    def logs(self, have: State, cursor: str | None) -> tuple[Sequence[LogLine], str]:
        lines = self.world.lines.get(have.id, [])
        return [LogLine(line) for line in lines[int(cursor or 0) :]], str(len(lines))

    def metrics(self, have: State, window: Window) -> Iterator[Sample]:
        yield Sample("requests", float(self.world.requests[have.key.name]), self.world.time)

    def captured(self, have: State, window: Window) -> Iterator[Captured]:
        low, high = window.start or float("-inf"), window.end or float("inf")
        kept = self.world.captured.get(have.key.name, [])
        return iter([each for each in kept if low <= datetime.fromisoformat(each.time).timestamp() <= high])


@dataclass(frozen=True)
class MemoryProvider:
    jobs: Kind[specs.TrainingJob]
    models: Kind[specs.Model]
    endpoints: Endpoints
    monitors: Kind[specs.Monitor] | None
    artifacts: MemoryArtifacts
    telemetry: Telemetry


class MemoryConfig(BaseModel):
    """An in-memory cloud has nothing to configure."""

    model_config = ConfigDict(extra="forbid")


CAN = (
    C.JOBS,
    C.MODELS,
    C.MODELS_ALIAS,
    C.MODELS_ARCHIVE,
    C.MODELS_DELETE_VERSION,
    C.ENDPOINTS,
    C.ENDPOINTS_TRAFFIC,
    C.ENDPOINTS_CAPTURE,
    C.ENDPOINTS_PIN,
    C.MONITORS,
)
CANNOT = No("a cloud in memory has none; use a real provider")


def plugin(name: str, connect: Callable[[Caller], Provider], **more: Yes | No) -> Plugin:
    """The plugin of an in-memory cloud; ``more`` are the capabilities in which it differs, by their enum names."""
    answers: dict[C, Yes | No] = {each: Yes() if each in CAN else CANNOT for each in C}
    answers |= {C[key]: answer for key, answer in more.items()}
    return Plugin(name, MemoryConfig, lambda config, caller: connect(caller), classify, answers)
