"""The adapter for the cloud of parents and children; ``plugin`` makes it a provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloudml import specs
from cloudml.spi import Call, Caller, Effect, Goal, No, Plugin, Provider
from cloudml.states import EMPTY, Failure, Key, Part, Phase, State
from cloudml.testing.memory import (
    Adapter,
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
from cloudml.testing.nested_cloud import NestedCloud
from cloudml.testing.nested_endpoints import NestedEndpoints
from cloudml.testing.world import Row, World

JOBS = {
    "NotStarted": Phase.PENDING,
    "Running": Phase.RUNNING,
    "Completed": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "CancelRequested": Phase.CANCELLING,
    "Canceled": Phase.CANCELLED,
}
VERSIONS = {"Creating": Phase.CREATING, "Succeeded": Phase.READY, "Failed": Phase.FAILED}
ALIAS = "cloudml-alias-"


class NestedJobs(Adapter):
    def observe(self, key: Key, want: specs.TrainingJob | None) -> State | None:
        job = self.find("jobs", key.name)
        if job is None:
            return None
        labels, done = job["labels"], job["status"] == "Completed"
        failure = Failure(job["reason"]) if job["status"] == "Failed" else None
        facts = {"model": job["output"], "metrics": job["metrics"]} if done else EMPTY
        return State(
            key, JOBS[job["status"]], labels.get("cloudml-stack"), labels.get("cloudml-hash"), job["name"],
            failure=failure, labels=labels, facts=facts, created=job["created"], native=job,
        )  # fmt: skip

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        path = f"jobs/{goal.key.name}"
        if goal.want and have is None:
            command = goal.want.command if isinstance(goal.want.command, str) else " ".join(goal.want.command)
            output = self.output(goal.key.name, goal.key.stack)
            body = {"command": command, "output": output, "labels": dict(goal.labels)}
            return [Call(f"PUT {path}", path, body, "there is no such job")]
        if goal.want or have is None:
            return []
        steps = []
        if not have.phase.settled and have.phase is not Phase.CANCELLING:
            steps.append(Call(f"CANCEL {path}", path, {}, "it is running", Effect.UPDATE))
        if not goal.cancel:
            steps.append(Call(f"DELETE {path}", path, {}, "it is to be gone", Effect.DELETE))
        return steps

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("job", name, owner) for owner, name in self.names(["jobs"], "job", stack)]
        return (state for key in keys if (state := self.observe(key, None)))


class NestedModels(Adapter):
    """We choose the versions: one more than the last that there has been. An alias is one tag of the container."""

    def observe(self, key: Key, want: specs.Model | None) -> State | None:
        container = self.find("models", key.name)
        if container is None:
            return None
        labels = container["labels"]
        versions = [
            row for row in self.caller.read("list", lambda: self.cloud.all("versions")) if row["parent"] == key.name
        ]
        aliases = {tag.removeprefix(ALIAS): number for tag, number in labels.items() if tag.startswith(ALIAS)}
        parts = tuple(_version(row, aliases) for row in sorted(versions, key=_number))
        facts = {"aliases": aliases, "last": container.get("last", 0)}
        owner = labels.get("cloudml-stack")
        return State(key, Phase.READY, owner, aliased(parts, want), key.name, parts, labels=labels, facts=facts)

    def render(self, goal: Goal[specs.Model], have: State | None) -> Sequence[Call]:
        path, parts = f"models/{goal.key.name}", have.of("version") if have else ()
        if goal.version:
            return [_turn(path, part, goal.version.phase) for part in goal.version.differing(have)]
        if goal.want is None:
            last = Call(f"DELETE {path}", path, {}, "it is to be gone", Effect.DELETE)
            return [*(_delete(path, part, "it is to be gone") for part in parts), last] if have else []
        spec, tags, steps = specs.spec_hash(goal.want), base(goal.labels), []
        labels = {**have.labels, **tags} if have else tags
        if have is None or lacks(have.labels, tags):
            effect = Effect.UPDATE if have else Effect.CREATE
            steps.append(Call(f"PUT {path}", path, {"labels": labels}, "its labels differ", effect))
        found = version(have, spec)
        duplicates = [part for part in parts if part.spec == spec and part != found]
        steps += [_delete(path, part, "it failed, or a second process made it") for part in duplicates]
        number = found.name if found else str(1 + (have.facts["last"] if have else 0))
        if found is None:
            body = {"uri": self.origin(goal.want, goal.key.stack), "hash": spec}
            steps.append(
                Call(f"PUT {path}/versions/{number}", f"{path}/versions/{number}", body, "it is a new version")
            )
        if (alias := goal.want.alias) and labels.get(ALIAS + alias) != number:
            moved = {"labels": {**labels, ALIAS + alias: number}}
            steps.append(Call(f"PUT {path}", path, moved, f"{alias} points elsewhere", Effect.UPDATE))
        return steps

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("model", name, owner) for owner, name in self.names(["models"], "model", stack)]
        return (state for key in keys if (state := self.observe(key, None)))


def _number(row: Row) -> int:
    return int(row["name"].rpartition("/")[2])


def _version(row: Row, aliases: dict[str, str]) -> Part:
    number = str(_number(row))
    facts = {"uri": row["uri"], "aliases": tuple(sorted(alias for alias, at in aliases.items() if at == number))}
    failure = Failure(row["reason"]) if row.get("reason") else None
    return Part("version", number, row["name"], put_away(row, VERSIONS[row["state"]]), row["hash"], failure, facts)


def _turn(path: str, part: Part, phase: Phase | None) -> Call:
    if phase is None:
        return _delete(path, part, "it is to be gone")
    target = f"{path}/versions/{part.name}"
    body = {"uri": part.facts["uri"], "hash": part.spec, "archived": phase is Phase.ARCHIVED}
    return Call(f"PUT {target}", target, body, f"it is {part.phase.value}", Effect.UPDATE)


def _delete(path: str, part: Part, why: str) -> Call:
    return Call(f"DELETE {path}/versions/{part.name}", f"{path}/versions/{part.name}", {}, why, Effect.DELETE)


def plugin(world: World) -> Plugin:
    """A provider named ``nested``, whose cloud lives in that world."""

    def connect(caller: Caller) -> Provider:
        cloud, artifacts = NestedCloud(world), MemoryArtifacts(world, caller)
        jobs, models = NestedJobs(cloud, caller, artifacts), NestedModels(cloud, caller, artifacts)
        endpoints = NestedEndpoints(cloud, caller, artifacts)
        return MemoryProvider(jobs, models, endpoints, None, artifacts, MemoryTelemetry(world))

    return memory_plugin("nested", connect, MONITORS_SCHEDULE=No("run 'cloudml monitors run' from any cron"))
