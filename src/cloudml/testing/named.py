"""The adapter for the cloud of chosen names; ``plugin`` makes it a provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cloudml import specs
from cloudml.spi import Call, Caller, Effect, Goal, Later, Plugin, Provider, Repeat, Yes
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
from cloudml.testing.named_cloud import NamedCloud
from cloudml.testing.named_endpoints import NamedEndpoints
from cloudml.testing.named_monitors import NamedMonitors
from cloudml.testing.world import Row, World

JOBS = {
    "Pending": Phase.PENDING,
    "InProgress": Phase.RUNNING,
    "Completed": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "Stopping": Phase.CANCELLING,
    "Stopped": Phase.CANCELLED,
}
PACKAGES = {"Pending": Phase.CREATING, "Completed": Phase.READY, "Failed": Phase.FAILED}
ALIAS = "cloudml-alias-"


def failure(row: Row) -> Failure | None:
    return Failure(row["reason"]) if row.get("reason") else None


class NamedJobs(Adapter):
    def observe(self, key: Key, want: specs.TrainingJob | None) -> State | None:
        job = self.find("jobs", key.name)
        if job is None:
            return None
        labels, done = job["labels"], job["status"] == "Completed"
        facts = {"model": job["output"], "metrics": job["metrics"]} if done else EMPTY
        return State(
            key, JOBS[job["status"]], labels.get("cloudml-stack"), labels.get("cloudml-hash"), job["name"],
            failure=failure(job), labels=labels, facts=facts, created=job["created"], native=job,
        )  # fmt: skip

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        name = {"TrainingJobName": goal.key.name}
        if goal.want and have is None:
            command = goal.want.command if isinstance(goal.want.command, str) else " ".join(goal.want.command)
            output = self.output(goal.key.name, goal.key.stack)
            document = {**name, "command": command, "output": output, "labels": dict(goal.labels)}
            return [Call("CreateTrainingJob", goal.key.name, document, "there is no such job")]
        if goal.want or have is None:
            return []
        steps = []
        if not have.phase.settled and have.phase is not Phase.CANCELLING:
            steps.append(Call("StopTrainingJob", goal.key.name, name, "it is running", Effect.UPDATE))
        if not goal.cancel:
            steps.append(Call("DeleteTrainingJob", goal.key.name, name, "it is to be gone", Effect.DELETE))
        return steps

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("job", name, owner) for owner, name in self.names(["jobs"], "job", stack)]
        return (state for key in keys if (state := self.observe(key, None)))

    def unsettled(self, stack: str) -> Mapping[str, Phase]:
        phases = {row["name"]: JOBS[row["status"]] for row in self.rows("jobs", stack=stack)}
        return {name: phase for name, phase in phases.items() if not phase.settled}


class NamedModels(Adapter):
    """A version's hash is in its metadata; an alias is one tag of the group."""

    def observe(self, key: Key, want: specs.Model | None) -> State | None:
        group = self.find("groups", key.name)
        if group is None:
            return None
        packages = [
            row for row in self.caller.read("list", lambda: self.cloud.all("packages")) if row["group"] == key.name
        ]
        labels = group["labels"]
        aliases = {tag.removeprefix(ALIAS): number for tag, number in labels.items() if tag.startswith(ALIAS)}
        parts = tuple(_version(row, aliases) for row in sorted(packages, key=_number))
        owner = labels.get("cloudml-stack")
        facts = {"aliases": aliases}
        return State(key, Phase.READY, owner, aliased(parts, want), key.name, parts, labels=labels, facts=facts)

    def render(self, goal: Goal[specs.Model], have: State | None) -> Sequence[Call]:
        group = {"ModelPackageGroupName": goal.key.name}
        if goal.version:
            return [_turn_package(part, goal.version.phase) for part in goal.version.differing(have)]
        if goal.want is None:
            packages = [_delete_package(part, "it is to be gone") for part in have.of("version")] if have else []
            last = Call("DeleteModelPackageGroup", goal.key.name, group, "it is to be gone", Effect.DELETE)
            return [*packages, last] if have else []
        spec, steps = specs.spec_hash(goal.want), []
        tags = base(goal.labels)
        arn = {"ResourceArn": f"groups/{goal.key.name}"}
        if have is None:
            steps.append(Call("CreateModelPackageGroup", goal.key.name, group | {"Tags": tags}, "it is a new family"))
        elif lacks(have.labels, tags):
            steps.append(Call("AddTags", goal.key.name, arn | {"Tags": tags}, "its labels differ", Effect.UPDATE))
        found = version(have, spec)
        for part in have.of("version") if have else ():
            if part.spec == spec and part != found:
                steps.append(_delete_package(part, "it failed, or a second process made it"))
        if found is None:
            uri, metadata = self.origin(goal.want, goal.key.stack), {"hash": spec}
            document = group | {"ModelDataUrl": uri, "CustomerMetadataProperties": metadata}
            steps.append(
                Call("CreateModelPackage", goal.key.name, document, "it is a new version", repeat=Repeat.GUARDED)
            )
        if (alias := goal.want.alias) and (found is None or alias not in found.facts["aliases"]):
            tag = {ALIAS + alias: found.name if found else Later("version")}
            steps.append(
                Call("AddTags", goal.key.name, arn | {"Tags": tag}, f"{alias} points elsewhere", Effect.UPDATE)
            )
        return steps

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("model", name, owner) for owner, name in self.names(["groups"], "model", stack)]
        return (state for key in keys if (state := self.observe(key, None)))


def _number(row: Row) -> int:
    return int(row["name"].rpartition("/")[2])


def _version(row: Row, aliases: dict[str, str]) -> Part:
    number = str(_number(row))
    facts = {"uri": row["uri"], "aliases": tuple(sorted(alias for alias, at in aliases.items() if at == number))}
    return Part(
        "version", number, row["name"], put_away(row, PACKAGES[row["status"]]), row["hash"], failure(row), facts
    )


def _turn_package(part: Part, phase: Phase | None) -> Call:
    if phase is None:
        return _delete_package(part, "it is to be gone")
    document = {"ModelPackageName": part.id, "CustomerMetadataProperties": {"archived": phase is Phase.ARCHIVED}}
    return Call("UpdateModelPackage", part.id, document, f"it is {part.phase.value}", Effect.UPDATE)


def _delete_package(part: Part, why: str) -> Call:
    return Call("DeleteModelPackage", part.id, {"ModelPackageName": part.id}, why, Effect.DELETE)


def plugin(world: World) -> Plugin:
    """A provider named ``named``, whose cloud lives in that world."""

    def connect(caller: Caller) -> Provider:
        cloud, artifacts = NamedCloud(world), MemoryArtifacts(world, caller)
        jobs, models = NamedJobs(cloud, caller, artifacts), NamedModels(cloud, caller, artifacts)
        endpoints, monitors = NamedEndpoints(cloud, caller, artifacts), NamedMonitors(cloud, caller, artifacts)
        return MemoryProvider(jobs, models, endpoints, monitors, artifacts, MemoryTelemetry(world))

    return memory_plugin("named", connect, MONITORS_SCHEDULE=Yes())
