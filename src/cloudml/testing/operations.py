"""The adapter for the cloud of operations; ``plugin`` makes it a provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloudml import specs
from cloudml.spi import Call, Caller, Effect, Goal, Later, No, Plugin, Provider, Repeat
from cloudml.states import EMPTY, Failure, Key, Part, Phase, State
from cloudml.testing.memory import (
    MemoryArtifacts,
    MemoryProvider,
    MemoryTelemetry,
    aliased,
    base,
    lacks,
    put_away,
    version,
)
from cloudml.testing.memory import plugin as memory_plugin
from cloudml.testing.operations_cloud import OperationsCloud
from cloudml.testing.operations_endpoints import OperationsAdapter, OperationsEndpoints
from cloudml.testing.world import Row, World

JOBS = {
    "PENDING": Phase.PENDING,
    "RUNNING": Phase.RUNNING,
    "SUCCEEDED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "CANCELLING": Phase.CANCELLING,
    "CANCELLED": Phase.CANCELLED,
}


class OperationsJobs(OperationsAdapter):
    """The cloud names a job; ours is found by its label. Of several with the same, the oldest is the one."""

    def observe(self, key: Key, want: specs.TrainingJob | None) -> State | None:
        jobs = self.rows("jobs", kind=key.kind, id=key.name, stack=key.stack)
        if not jobs:
            return None
        job = jobs[0]
        labels, done = job["labels"], job["status"] == "SUCCEEDED"
        failure = Failure(job["reason"]) if job["status"] == "FAILED" else None
        facts = {"model": job["output"], "metrics": job["metrics"]} if done else EMPTY
        parts = tuple(Part("job", row["name"], row["name"], JOBS[row["status"]]) for row in jobs[1:])
        operations = tuple(each for row in jobs for each in self.running(row["name"]))
        return State(
            key, JOBS[job["status"]], labels["cloudml-stack"], labels["cloudml-hash"], job["name"], parts, operations,
            failure, labels, facts, job["created"], job,
        )  # fmt: skip

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        if have is None:
            return [self._create(goal, goal.want)] if goal.want else []
        there = [(have.id, have.phase), *((part.id, part.phase) for part in have.parts)]
        stopped = there[1:] if goal.present else there
        steps = [
            Call("CancelCustomJob", name, {"name": name}, "it is not wanted to run", Effect.UPDATE)
            for name, phase in stopped
            if not phase.settled and phase is not Phase.CANCELLING
        ]
        if not goal.present and not goal.cancel:
            steps += [
                Call("DeleteCustomJob", name, {"name": name}, "it is to be gone", Effect.DELETE) for name, _ in there
            ]
        return steps

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("job", name, owner) for owner, name in self.names(["jobs"], "job", stack)]
        return (state for key in keys if (state := self.observe(key, None)))

    def _create(self, goal: Goal[specs.TrainingJob], want: specs.TrainingJob) -> Call:
        command = want.command if isinstance(want.command, str) else " ".join(want.command)
        output = self.output(goal.key.name, goal.key.stack)
        document = {"command": command, "output": output, "labels": dict(goal.labels)}
        return Call("CreateCustomJob", goal.key.name, document, "there is no such job", repeat=Repeat.GUARDED)


class OperationsModels(OperationsAdapter):
    """The cloud numbers the versions and has aliases of its own; an upload is seen when it has ended."""

    def observe(self, key: Key, want: specs.Model | None) -> State | None:
        operations = tuple(self.running(key.name))  # first: what ends after this look is then seen in the model
        model = self.find("models", key.name)
        if model is None:
            return State(key, Phase.CREATING, None, operations=operations) if operations else None
        rows = [
            row for row in self.caller.read("list", lambda: self.cloud.all("versions")) if row["parent"] == key.name
        ]
        parts = tuple(_version(row) for row in sorted(rows, key=_number))
        aliases = {alias: part.name for part in parts for alias in part.facts["aliases"]}
        labels, spec, facts = model["labels"], aliased(parts, want), {"aliases": aliases}
        owner = labels.get("cloudml-stack")
        return State(key, Phase.READY, owner, spec, key.name, parts, operations, labels=labels, facts=facts)

    def render(self, goal: Goal[specs.Model], have: State | None) -> Sequence[Call]:
        model = {"model": goal.key.name}
        if goal.version:
            return [_turn(part, goal.version.phase) for part in goal.version.differing(have)]
        if goal.want is None:
            return [Call("DeleteModel", goal.key.name, model, "it is to be gone", Effect.DELETE)] if have else []
        spec, tags, steps = specs.spec_hash(goal.want), base(goal.labels), []
        there = have is not None and bool(have.id)
        if have and there and lacks(have.labels, tags):
            steps.append(
                Call("UpdateModel", goal.key.name, model | {"labels": tags}, "its labels differ", Effect.UPDATE)
            )
        found = version(have, spec)
        for part in have.of("version") if have else ():
            if part.spec == spec and part != found:
                steps.append(_delete(part, "a second process made it"))
        if found is None:
            uri = self.origin(goal.want, goal.key.stack)
            document = model | {"parentModel": there, "artifactUri": uri, "hash": spec, "labels": tags}
            steps.append(Call("UploadModel", goal.key.name, document, "it is a new version", repeat=Repeat.GUARDED))
        if (alias := goal.want.alias) and (found is None or alias not in found.facts["aliases"]):
            number = found.name if found else Later("version")
            document = model | {"version": number, "aliases": [alias]}
            target = f"{goal.key.name}@{number}"
            steps.append(Call("MergeVersionAliases", target, document, f"{alias} points elsewhere", Effect.UPDATE))
        return steps

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("model", name, owner) for owner, name in self.names(["models"], "model", stack)]
        return (state for key in keys if (state := self.observe(key, None)))


def _number(row: Row) -> int:
    return int(row["name"].rpartition("@")[2])


def _version(row: Row) -> Part:
    facts = {"uri": row["uri"], "aliases": tuple(row["aliases"])}
    return Part("version", str(_number(row)), row["name"], put_away(row, Phase.READY), row["hash"], facts=facts)


def _delete(part: Part, why: str) -> Call:
    return Call("DeleteModelVersion", part.id, {"name": part.id}, why, Effect.DELETE)


def _turn(part: Part, phase: Phase | None) -> Call:
    if phase is None:
        return _delete(part, "it is to be gone")
    document = {"name": part.id, "archived": phase is Phase.ARCHIVED}
    return Call("UpdateModelVersion", part.id, document, f"it is {part.phase.value}", Effect.UPDATE)


def plugin(world: World) -> Plugin:
    """A provider named ``operations``, whose cloud lives in that world."""

    def connect(caller: Caller) -> Provider:
        cloud, artifacts = OperationsCloud(world), MemoryArtifacts(world, caller)
        jobs, models = OperationsJobs(cloud, caller, artifacts), OperationsModels(cloud, caller, artifacts)
        endpoints = OperationsEndpoints(cloud, caller, artifacts)
        return MemoryProvider(jobs, models, endpoints, None, artifacts, MemoryTelemetry(world))

    return memory_plugin("operations", connect, MONITORS_SCHEDULE=No("run 'cloudml monitors run' from any cron"))
