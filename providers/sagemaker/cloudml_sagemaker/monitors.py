"""Monitors with a schedule: monitoring schedules, whose job is the universal image's verb ``monitor``.

AWS's own monitors know no baseline of ours. The job compares what the endpoint's data capture wrote with the model's
sidecar, by the contract for containers of one's own, and its output lies where ``cloudml monitors history`` reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cloudml import specs
from cloudml.errors import ConfigError, NotFound
from cloudml.spi import Call, Caller, Effect, Goal, Later, Operation, Subject
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml_sagemaker import limits
from cloudml_sagemaker.account import Account
from cloudml_sagemaker.crons import expression
from cloudml_sagemaker.documents import covers
from cloudml_sagemaker.options import NAME
from cloudml_sagemaker.tags import HASH, ID, KIND, STACK, Tags, add_tags, lacks, pages, tags

PHASES = {
    "Pending": Phase.CREATING,
    "Scheduled": Phase.READY,
    "Stopped": Phase.DEGRADED,  # somebody has switched it off
    "Failed": Phase.FAILED,
}
RUNS = {
    "Pending": Phase.PENDING,
    "InProgress": Phase.RUNNING,
    "Stopping": Phase.CANCELLING,
    "Stopped": Phase.CANCELLED,
    "Failed": Phase.FAILED,
}  # of an execution; it has SUCCEEDED otherwise, violations or not
INPUT, OUTPUT = "/opt/ml/processing/input/endpoint", "/opt/ml/processing/output"
INSTANCE, DISK = "ml.m5.large", 20
LIMIT = 3600  # seconds of one run: the most for a schedule of every hour (MonitoringStoppingCondition)
LONGEST_WINDOW = 24 * 3600  # ScheduleConfig.DataAnalysisStartTime


class MonitoringSchedules:
    """One schedule for each monitor, by the monitor's name."""

    def __init__(self, account: Account, names: Tags, caller: Caller) -> None:
        self._account = account
        self._tags = names
        self._call = caller

    def observe(self, key: Key, want: specs.Monitor | None) -> State | None:
        """Without a want the last execution too: while it is going on, a schedule is not deleted."""
        ask = self._account.clients["sagemaker"].describe_monitoring_schedule
        found = self._call.find("DescribeMonitoringSchedule", lambda: ask(MonitoringScheduleName=key.name))
        return self._state(key, found, want is None) if found else None

    def render(self, goal: Goal[specs.Monitor], have: State | None) -> Sequence[Call]:
        if goal.want is not None and goal.want.schedule is not None:
            return [*self._present(goal, goal.want, goal.want.schedule, have)]
        return [_delete(goal.key.name, "it is not wanted")] if have else []

    def send(self, call: Call) -> Operation | None:
        sagemaker = self._account.clients["sagemaker"]
        operations = {
            "CreateMonitoringSchedule": sagemaker.create_monitoring_schedule,
            "UpdateMonitoringSchedule": sagemaker.update_monitoring_schedule,
            "StartMonitoringSchedule": sagemaker.start_monitoring_schedule,
            "DeleteMonitoringSchedule": sagemaker.delete_monitoring_schedule,
            "AddTags": sagemaker.add_tags,
        }
        self._call.write(call.operation, lambda: operations[call.operation](**call.document))
        return None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"SageMaker's schedules have no operations: {operation.id}")

    def list(self, stack: str | None) -> Iterator[State]:
        sagemaker = self._account.clients["sagemaker"]
        listed = [*pages(sagemaker, "list_monitoring_schedules", "MonitoringScheduleSummaries", MaxResults=100)]
        for each in sorted(listed, key=lambda row: str(row["MonitoringScheduleName"])):
            labels = self._tags.of(each["MonitoringScheduleArn"])
            ours = labels.get(KIND) == "monitor" and labels.get(ID) == each["MonitoringScheduleName"]
            if ours and stack in (None, labels.get(STACK)):
                state = self.observe(Key("monitor", each["MonitoringScheduleName"], labels[STACK]), None)
                if state is not None:
                    yield state

    # -- the way there -----------------------------------------------------------------------------------------------

    def _present(
        self, goal: Goal[specs.Monitor], want: specs.Monitor, schedule: str, have: State | None
    ) -> Iterator[Call]:
        name, labels = goal.key.name, dict(goal.labels)
        config = self._config(goal, want, schedule)
        there = have if have and not have.phase.failed else None
        if have and there is None:
            yield _delete(name, "it failed")
        document = {"MonitoringScheduleName": name, "MonitoringScheduleConfig": config}
        if there is None:
            labelled = {**document, "Tags": tags(labels, str(goal.key))}
            yield Call("CreateMonitoringSchedule", name, labelled, "there is no such schedule")
            return
        if not covers(there.native["MonitoringScheduleConfig"], config):
            yield Call("UpdateMonitoringSchedule", name, document, "it differs", Effect.UPDATE)
        elif there.phase is Phase.DEGRADED:
            only = {"MonitoringScheduleName": name}
            yield Call("StartMonitoringSchedule", name, only, "somebody has stopped it", Effect.UPDATE)
        if lacks(there.labels, labels):
            yield add_tags(there.native["MonitoringScheduleArn"], name, labels, "its owner or what it runs differs")

    def _config(self, goal: Goal[specs.Monitor], want: specs.Monitor, schedule: str) -> dict[str, Any]:
        endpoint, subject, where = want.endpoint or goal.key.name, goal.subject, str(goal.key)
        assert subject is not None, f"the core says what {goal.key} compares"
        runs = self._account.uri(f"{goal.key.stack}/monitors/{endpoint}/runs")
        captured = {"S3InputMode": "File", "S3DataDistributionType": "FullyReplicated"}
        definition = {
            "BaselineConfig": {"StatisticsResource": {"S3Uri": subject.model.sidecar}},
            "MonitoringInputs": [{"EndpointInput": {"EndpointName": endpoint, "LocalPath": INPUT, **captured}}],
            "MonitoringOutputConfig": {
                "MonitoringOutputs": [
                    {"S3Output": {"S3Uri": runs, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}},
                ]
            },
            "MonitoringResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": INSTANCE, "VolumeSizeInGB": DISK}
            },
            "MonitoringAppSpecification": {"ImageUri": self._account.image, "ContainerArguments": ["monitor"]},
            "StoppingCondition": {"MaxRuntimeInSeconds": LIMIT},
            "Environment": _environment(endpoint, want, subject, where),
            "RoleArn": self._account.role,
        }
        times = {"ScheduleExpression": expression(schedule, where), **_window(want.window, where)}
        return {"ScheduleConfig": times, "MonitoringJobDefinition": definition}

    # -- what there is -----------------------------------------------------------------------------------------------

    def _state(self, key: Key, found: Mapping[str, Any], executions: bool) -> State:
        labels = self._tags.of(found["MonitoringScheduleArn"])
        phase, last = PHASES.get(found["MonitoringScheduleStatus"], Phase.UNKNOWN), None
        if executions:
            last = found.get("LastMonitoringExecutionSummary")
        return State(
            key=key,
            phase=phase,
            owner=labels.get(STACK) if labels.get(ID) == key.name else None,
            spec=labels.get(HASH),
            id=key.name,
            parts=(_run(last),) if last else (),
            failure=Failure(found.get("FailureReason") or "SageMaker gave no reason") if phase.failed else None,
            labels=labels,
            created=found["CreationTime"].timestamp(),
            native=found,
        )


def _delete(name: str, why: str) -> Call:
    return Call("DeleteMonitoringSchedule", name, {"MonitoringScheduleName": name}, why, Effect.DELETE)


def _run(last: Mapping[str, Any]) -> Part:
    phase = RUNS.get(last["MonitoringExecutionStatus"], Phase.SUCCEEDED)
    failure = Failure(last.get("FailureReason") or "SageMaker gave no reason") if phase.failed else None
    return Part("run", "last", last.get("ProcessingJobArn", ""), phase, failure=failure)


def _environment(endpoint: str, want: specs.Monitor, subject: Subject, where: str) -> dict[str, str | Later]:
    """What the runtime is told besides the contract's own variables."""
    since = subject.since
    env: dict[str, str | Later] = {
        "CLOUDML_PLATFORM": NAME,
        "CLOUDML_ENDPOINT": endpoint,
        "CLOUDML_MODEL": f"{subject.model.family}:{subject.model.hash}",
        "CLOUDML_LIMITS": json.dumps(dict(sorted(want.drift.items())), separators=(",", ":")),
        "CLOUDML_MIN_SAMPLES": str(want.min_samples),
        "CLOUDML_SINCE": since if isinstance(since, Later) else _moment(since),
        **({"CLOUDML_WITHOUT": ",".join(subject.shadows)} if subject.shadows else {}),
    }
    limits.check_env(env, "monitor", where)
    return env


def _moment(seconds: float) -> str:
    """A whole second: captured records have no finer time."""
    return datetime.fromtimestamp(math.floor(seconds), UTC).isoformat().replace("+00:00", "Z")


def _window(seconds: float | None, where: str) -> dict[str, str]:
    """The span before each run that is looked at; without one it is what came since the last."""
    if seconds is None:
        return {}
    if seconds > LONGEST_WINDOW:
        said = f"{where}: a window of {seconds / 3600:g} hours; SageMaker's schedules look back 24 hours at most"
        raise ConfigError(said, hint="or leave 'schedule' out, and run 'cloudml monitors run' from any cron")
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    start = "-PT" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    return {"DataAnalysisStartTime": start, "DataAnalysisEndTime": "-PT0H"}
