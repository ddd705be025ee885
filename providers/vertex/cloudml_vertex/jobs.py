"""Jobs as custom jobs. Vertex AI makes their ids; ours stands in the label ``cloudml-id``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cloudml import bundle, specs
from cloudml.objects import Objects
from cloudml.outputs import Left, Outputs
from cloudml.spi import Call, Effect, Goal, Operation, Repeat, Secret, leaves, patched, spec_key
from cloudml.states import EMPTY, Failure, Key, Part, Phase, State
from cloudml_vertex import machines
from cloudml_vertex.artifacts import mounted
from cloudml_vertex.options import NAME, JobOptions
from cloudml_vertex.wire import Wire

PHASES: Mapping[str, Phase] = {
    "JOB_STATE_QUEUED": Phase.PENDING,
    "JOB_STATE_PENDING": Phase.PROVISIONING,
    "JOB_STATE_RUNNING": Phase.RUNNING,
    "JOB_STATE_UPDATING": Phase.RUNNING,
    "JOB_STATE_SUCCEEDED": Phase.SUCCEEDED,
    "JOB_STATE_PARTIALLY_SUCCEEDED": Phase.SUCCEEDED,
    "JOB_STATE_FAILED": Phase.FAILED,
    "JOB_STATE_EXPIRED": Phase.FAILED,
    "JOB_STATE_CANCELLING": Phase.CANCELLING,
    "JOB_STATE_CANCELLED": Phase.CANCELLED,
    "JOB_STATE_PAUSED": Phase.UNKNOWN,
}
LEAST_DISK = 100  # GB: the smallest boot disk of a worker
GB = 10**9


class VertexJobs:
    """A run is one custom job; of several with its id, made by a lost answer, the oldest is the one."""

    def __init__(self, wire: Wire, artifacts: Objects, image: str, service_account: str | None) -> None:
        self._wire = wire
        self._artifacts = artifacts
        self._image = image
        self._service_account = service_account
        self._outputs = Outputs(artifacts)

    def observe(self, key: Key, want: specs.TrainingJob | None) -> State | None:
        jobs = self._jobs(f'labels.cloudml-id="{key.name}"')
        if jobs:
            return self._state(key, jobs)
        left = self._outputs.parts(self._output(key))
        return State(key, Phase.EMPTY, key.stack, parts=left) if left else None

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        there = [(have.id, have.phase)] if have is not None and have.id else []
        if goal.want is not None and not there:
            return [self._create(goal, goal.want)]
        there += [(part.id, part.phase) for part in have.of("job")] if have else []
        steps = [
            Call("CancelCustomJob", name, {"name": name}, "it is not wanted to run", Effect.UPDATE)
            for name, phase in (there[1:] if goal.present else there)
            if not phase.settled and phase is not Phase.CANCELLING
        ]
        if goal.present or goal.cancel:
            return steps
        for name, _ in there:
            steps.append(Call("DeleteCustomJob", name, {"name": name}, "it is not wanted", Effect.DELETE))
        for part in have.of("output") if have else ():
            steps.append(Call("DeleteObjects", part.id, {"prefix": part.id}, "they go with their job", Effect.DELETE))
        return steps

    def send(self, call: Call) -> Operation | None:
        if call.operation == "DeleteObjects":
            self._artifacts.delete(call.target)
            return None
        return self._wire.write(call.operation, call.document)

    def poll(self, operation: Operation) -> Operation:
        return self._wire.poll(operation)

    def list(self, stack: str | None) -> Iterator[State]:
        mark = f'labels.cloudml-stack="{stack}"' if stack else "labels.cloudml-stack:*"
        runs: dict[str, list[dict[str, Any]]] = {}
        for job in self._jobs(f'labels.cloudml-kind="job" AND {mark}'):
            runs.setdefault(job["labels"]["cloudml-id"], []).append(job)
        for id, jobs in sorted(runs.items()):
            yield self._state(Key("job", id, stack or jobs[0]["labels"]["cloudml-stack"]), jobs)

    def unsettled(self, stack: str) -> Mapping[str, Phase]:
        going = " AND ".join(f'state!="{state}"' for state, phase in PHASES.items() if phase.settled)
        jobs = self._jobs(f'labels.cloudml-kind="job" AND labels.cloudml-stack="{stack}" AND {going}')
        return {job["labels"]["cloudml-id"]: _phase(job) for job in reversed(jobs)}  # of several the oldest

    # -- the request -------------------------------------------------------------------------------------------------

    def _create(self, goal: Goal[specs.TrainingJob], want: specs.TrainingJob) -> Call:
        options = JobOptions.model_validate(want.options.get(NAME, {}))
        place = self._wire.place
        job = {
            "displayName": goal.key.name,
            "labels": {**want.labels, **goal.labels},
            "jobSpec": {
                "workerPoolSpecs": self._pools(goal, want, options),
                "scheduling": {
                    "timeout": f"{want.timeout:g}s",
                    "disableRetries": True,
                    **({"strategy": "SPOT"} if want.spot else {}),
                },
                "baseOutputDirectory": {"outputUriPrefix": self._output(goal.key)},
                **_given(
                    serviceAccount=options.service_account or self._service_account,
                    network=options.network,
                    tensorboard=options.tensorboard,
                ),
            },
        }
        document = {"parent": place.name, "customJob": patched(job, want, NAME)}
        return Call("CreateCustomJob", goal.key.name, document, "there is no such job", repeat=Repeat.GUARDED)

    def _pools(
        self, goal: Goal[specs.TrainingJob], want: specs.TrainingJob, options: JobOptions
    ) -> Sequence[dict[str, Any]]:
        """The first pool is the primary replica alone; the other nodes are the second."""
        resources = want.resources
        machine = machines.choose(resources, machines.TRAINING, options.machine_type, options.accelerator)
        pool: dict[str, Any] = {
            "machineSpec": machines.spec(machine),
            "replicaCount": "1",
            "containerSpec": {
                "imageUri": want.image or self._image,
                "command": ["python3", self._mounted(bundle.key(goal.key.stack)), "train"],
                "args": self._arguments(goal.key, want),
                "env": [{"name": name, "value": value} for name, value in self._env(want).items()],
            },
        }
        if resources.disk:
            size = max(LEAST_DISK, -(-resources.disk // GB))
            pool["diskSpec"] = {"bootDiskType": "pd-ssd", "bootDiskSizeGb": size}
        return [pool, {**pool, "replicaCount": str(want.nodes - 1)}] if want.nodes > 1 else [pool]

    def _arguments(self, key: Key, want: specs.TrainingJob) -> Sequence[str]:
        """Paths under ``/gcs``; the runtime reads command and parameters from the stored spec."""
        inputs = {name: self._place(key.stack, value) for name, value in sorted(want.inputs.items())}
        output = mounted(self._output(key))
        return [
            *("--id", key.name, "--spec", self._mounted(spec_key(key.stack, want)), "--output", output),
            *(("--source", self._place(key.stack, want.source)) if want.source else ()),
            *(word for name, path in inputs.items() for word in ("--input", f"{name}={path}")),
        ]

    def _env(self, want: specs.TrainingJob) -> dict[str, str | Secret]:
        return {"CLOUDML_PLATFORM": NAME, **leaves(want.env)}

    def _place(self, stack: str, value: str) -> str:
        """Content is where the core has put it; a ``gs://`` URI is mounted too; anything else is the program's own."""
        kind, _, digest = value.partition(":")
        if kind == "sha256":
            return self._mounted(f"{stack}/content/{digest}")
        return mounted(value) if value.startswith("gs://") else value

    def _mounted(self, key: str) -> str:
        return mounted(self._artifacts.uri(key))

    def _output(self, key: Key) -> str:
        return self._artifacts.uri(f"{key.stack}/runs/{key.name}")

    # -- what is there -----------------------------------------------------------------------------------------------

    def _jobs(self, filter: str) -> Sequence[dict[str, Any]]:
        """Oldest first."""
        found = self._wire.items("ListCustomJobs", {"parent": self._wire.place.name, "filter": filter})
        return sorted(found, key=lambda job: (job["createTime"], job["name"]))

    def _state(self, key: Key, jobs: Sequence[Mapping[str, Any]]) -> State:
        job, *others = jobs
        labels, phase = job["labels"], _phase(job)
        owned = Key(key.kind, key.name, labels.get("cloudml-stack", key.stack))
        output = self._output(owned)
        left = self._outputs.ended(output, job["name"]) if phase.settled else Left()
        files = self._outputs.parts(output) if phase.settled else ()
        return State(
            key=key,
            phase=phase,
            owner=labels.get("cloudml-stack"),
            spec=labels.get("cloudml-hash"),
            id=job["name"],
            parts=(*(Part("job", each["name"], each["name"], _phase(each)) for each in others), *files),
            operations=tuple(each for row in jobs for each in self._wire.running(row["name"])) if phase.settled else (),
            failure=_failure(job, left) if phase.failed else None,
            labels=labels,
            facts=left.facts if phase.settled else EMPTY,
            created=_seconds(job["createTime"]),
            native=job,
        )


def _phase(job: Mapping[str, Any]) -> Phase:
    return PHASES.get(job.get("state", ""), Phase.UNKNOWN)


def _failure(job: Mapping[str, Any], left: Left) -> Failure:
    """The script's own exception if it left one, else what the service says."""
    said = job.get("error", {})
    reason = left.failure or said.get("message", "the service gave no reason")
    return Failure(reason, str(said["code"]) if "code" in said else None)


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
