"""Monitors with a schedule: a schedule of the workspace whose command job is one run of the universal image's monitor.

Azure's own monitors run on Spark and know no baseline of ours; the job compares what the data collector kept with the
model's sidecar, and writes the run where ``cloudml monitors history`` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cloudml import specs
from cloudml.errors import ConfigError
from cloudml.objects import Objects
from cloudml.spi import Call, Effect, Goal, Later, Operation, Subject
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml_azureml import environments, instances, places
from cloudml_azureml.options import NAME
from cloudml_azureml.wire import Wire

PHASES: Mapping[str, Phase] = {
    "Creating": Phase.CREATING,
    "Updating": Phase.UPDATING,
    "Succeeded": Phase.READY,
    "Failed": Phase.FAILED,
    "Canceled": Phase.FAILED,
    "Deleting": Phase.DELETING,
}
MARK = "cloudml-mark"  # the tag that covers all of a schedule that we wrote
PAST = "2026-01-01T00:00:00"  # without a start, the service runs the job at once (reference-yaml-schedule)
LIMIT = 3600  # seconds of one run
WRITE, DROP = "PUT blob", "DELETE blobs"
KEPT = "marker"


class AzureMonitors:
    """``image`` is the universal image, ``compute`` a cluster or None for serverless machines."""

    def __init__(self, wire: Wire, artifacts: Objects, image: str | None, compute: str | None) -> None:
        self._wire = wire
        self._artifacts = artifacts
        self._image = image
        self._compute = compute

    def observe(self, key: Key, want: specs.Monitor | None) -> State | None:
        schedule = self._wire.find(_path(key))
        made = environments.parts(self._wire, self._environments(key)) if want and want.schedule else ()
        if schedule is None:
            return State(key, Phase.EMPTY, key.stack, parts=made) if made else None
        return self._state(key, schedule, made)

    def render(self, goal: Goal[specs.Monitor], have: State | None) -> Sequence[Call]:
        if goal.want is not None and goal.want.schedule is not None:
            return list(self._present(goal, goal.want, goal.want.schedule, have))
        if have is None or not have.id:
            return []
        gone = [Call(DROP, part.id, {}, "nothing reads the folder then", Effect.DELETE) for part in have.of(KEPT)]
        return [*gone, self._delete(goal.key, "it is not wanted")]

    def send(self, call: Call) -> Operation | None:
        if call.operation == WRITE:
            self._artifacts.put(call.target, call.document["body"].encode())
            return None
        if call.operation == DROP:
            self._artifacts.delete(self._artifacts.uri(call.target))
            return None
        return self._wire.write(call.operation, call.document)

    def poll(self, operation: Operation) -> Operation:
        return self._wire.poll(operation)

    def list(self, stack: str | None) -> Iterator[State]:
        for schedule in sorted(self._wire.items("schedules", listViewType="All"), key=lambda each: str(each["name"])):
            tags = schedule["properties"].get("tags") or {}
            if tags.get("cloudml-kind") == "monitor" and stack in (None, tags["cloudml-stack"]):
                yield self._state(Key("monitor", schedule["name"], stack or tags["cloudml-stack"]), schedule, ())

    # -- the way there -----------------------------------------------------------------------------------------------

    def _present(
        self, goal: Goal[specs.Monitor], want: specs.Monitor, schedule: str, have: State | None
    ) -> Iterator[Call]:
        yield from environments.calls(self._environments(goal.key), have.of(environments.KIND) if have else ())
        there = have if have is not None and have.id else None
        if there is not None and there.phase.failed:
            yield self._delete(goal.key, "it failed")
        endpoint, subject = want.endpoint or goal.key.name, goal.subject
        assert subject is not None, f"the core says what {goal.key} compares"
        properties = {
            "displayName": goal.key.name,
            "isEnabled": True,
            "trigger": _trigger(goal.key, schedule),
            "action": {
                "actionType": "CreateJob",
                "jobDefinition": self._job(goal, endpoint, _words(endpoint, want, subject), subject),
            },
        }
        tags = {**(there.labels if there else {}), **goal.labels, MARK: specs.hash8(properties)}
        path = _path(goal.key)
        if there is None or there.phase.failed:
            yield Call(f"PUT {path}", path, {"properties": {**properties, "tags": tags}}, "there is no such schedule")
        elif dict(there.labels) != tags or not _as_written(there.native, properties):
            document = {"properties": {**properties, "tags": tags}}
            yield Call(f"PUT {path}", path, document, "it differs", Effect.UPDATE)
        if there is None or not there.of(KEPT):
            yield Call(WRITE, self._marker(endpoint), {"body": "{}"}, "a run before any traffic needs a folder to read")

    def _job(self, goal: Goal[specs.Monitor], endpoint: str, command: str, subject: Subject) -> dict[str, Any]:
        """One run, as a command job; it is none of our jobs, so its tags say monitor."""
        environment, _ = environments.training(self._universal(goal.key))
        captured = self._artifacts.uri(places.captured(self._wire.workspace, endpoint))
        runs = self._artifacts.uri(f"{goal.key.stack}/monitors/{endpoint}/runs")
        compute = self._compute or instances.SERVERLESS
        size = instances.choose(specs.Resources(), instances.TRAINING, None)
        where: dict[str, Any] = (
            {"resources": {"instanceCount": 1, "instanceType": size}}
            if compute == instances.SERVERLESS
            else {"computeId": self._wire.id(f"computes/{compute}"), "resources": {"instanceCount": 1}}
        )
        return {
            "jobType": "Command",
            "displayName": f"monitor-{endpoint}",
            "experimentName": goal.labels["cloudml-name"],
            "command": command,
            "environmentId": self._wire.id(environment),
            "environmentVariables": {"CLOUDML_PLATFORM": NAME},
            "inputs": {
                "baseline": places.file(subject.model.sidecar),
                "captured": places.folder(captured),
                "since": {"jobInputType": "literal", "value": _since(subject)},
            },
            "outputs": {"runs": {"jobOutputType": "uri_folder", "mode": "Upload", "uri": runs}},
            "limits": {"jobLimitsType": "Command", "timeout": f"PT{LIMIT}S"},
            "tags": {name: text for name, text in goal.labels.items() if name != "cloudml-hash"},
            **where,
        }

    def _environments(self, key: Key) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return iter([environments.training(self._universal(key))])

    def _universal(self, key: Key) -> str:
        return environments.universal(key, self._image)

    def _marker(self, endpoint: str) -> str:
        return f"{places.captured(self._wire.workspace, endpoint)}/cloudml-monitor.json"

    def _delete(self, key: Key, why: str) -> Call:
        path = _path(key)
        return Call(f"DELETE {path}", path, {}, why, Effect.DELETE)

    # -- what is there -----------------------------------------------------------------------------------------------

    def _state(self, key: Key, schedule: Mapping[str, Any], made: tuple[Part, ...]) -> State:
        properties = schedule["properties"]
        tags, phase = properties.get("tags") or {}, PHASES.get(properties["provisioningState"], Phase.UNKNOWN)
        return State(
            key=key,
            phase=phase,
            owner=tags.get("cloudml-stack"),
            spec=tags.get("cloudml-hash"),
            id=schedule["name"],
            parts=(*made, *self._marked(schedule)),
            failure=Failure("the schedule could not be made") if phase.failed else None,
            labels=tags,
            created=datetime.fromisoformat(schedule["systemData"]["createdAt"]).timestamp(),
            native=schedule,
        )

    def _marked(self, schedule: Mapping[str, Any]) -> Iterator[Part]:
        """The marker of the folder that its job reads."""
        job = (schedule["properties"]["action"].get("jobDefinition") or {}).get("inputs") or {}
        folder = places.key_of(str((job.get("captured") or {}).get("uri") or ""))
        marker = f"{folder}/cloudml-monitor.json"
        if folder and not self._artifacts.missing([marker]):
            yield Part(KEPT, KEPT, marker, Phase.READY)


def _path(key: Key) -> str:
    return f"schedules/{key.name}"


def _trigger(key: Key, schedule: str) -> dict[str, str]:
    """ConfigError for days of the month and months, which the service ignores (how-to-schedule-pipeline-job)."""
    _, _, day, month, _ = schedule.split()
    if (day, month) != ("*", "*"):
        hint = "name days of the week instead, or run 'cloudml monitors run' from any cron"
        raise ConfigError(f"{key}: azureml ignores the day and the month of a cron line: {schedule!r}", hint=hint)
    return {"triggerType": "Cron", "expression": schedule, "timeZone": "UTC", "startTime": PAST}


def _words(endpoint: str, want: specs.Monitor, subject: Subject) -> str:
    """The command of one run; the service fills in the inputs."""
    words = ["cloudml-entrypoint monitor", "--baseline ${{inputs.baseline}}", "--captured ${{inputs.captured}}"]
    words += ["--output ${{outputs.runs}}", f"--endpoint {endpoint}"]
    words += [f"--model {subject.model.family}:{subject.model.hash}"]
    words += [f"--limit {name}={limit:g}" for name, limit in sorted(want.drift.items())]
    words += [f"--min-samples {want.min_samples}"]
    words += [f"--window {want.window:g}"] if want.window else []
    words += [f"--redacted {name}" for name in subject.redact]
    words += [f"--without '{name}-{'?' * len(specs.hash8(''))}'" for name in subject.shadows]  # whatever its mark
    return " ".join([*words, "--start ${{inputs.since}}"])


def _since(subject: Subject) -> str | Later:
    """An input of its own, so that only it is unknown in the plan of an endpoint that is not there yet."""
    if isinstance(subject.since, Later):
        return subject.since
    return datetime.fromtimestamp(subject.since, UTC).isoformat(timespec="milliseconds")


def _as_written(native: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    """Whether somebody has changed it since; the mark covers what we would write now."""
    found = native["properties"]
    trigger, job = found["trigger"], found["action"].get("jobDefinition") or {}
    wanted = properties["action"]["jobDefinition"]
    return (
        found.get("isEnabled") is True
        and trigger.get("expression") == properties["trigger"]["expression"]
        and bool(job.get("command") == wanted["command"])
    )
