"""The operations on monitoring schedules."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from cloudml_sagemaker.emulator import endpoints, pacing, roles
from cloudml_sagemaker.emulator.accounts import Document, Scope, known, now
from cloudml_sagemaker.emulator.listing import listed
from cloudml_sagemaker.emulator.problems import Refused, invalid, outside

KIND = "monitoring-schedule"
CRON = re.compile(r"cron\(0 (?P<hour>\*|\d{1,2})(?:/(?P<step>\d{1,2}))? \? \* \* \*\)")
OFFSET = re.compile(r"(-)?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?")
SUMMARY = ("MonitoringScheduleName", "MonitoringScheduleArn", "CreationTime", "LastModifiedTime")
SUMMARY_TOO = ("MonitoringScheduleStatus", "EndpointName", "MonitoringType")
EXECUTION = ("Pending", "InProgress")


@dataclass
class Schedule:
    """A schedule: its configuration, and when it ran. Times of the data are the machine's own."""

    scope: Scope
    name: str
    config: Document
    created: float = field(default_factory=now)
    modified: float = field(default_factory=now)
    stopped: bool = False
    walk: pacing.Walk | None = None
    executions: list[Document] = field(default_factory=list)
    since: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)

    @property
    def definition(self) -> Document:
        found: Document = self.config["MonitoringJobDefinition"]
        return found

    @property
    def input(self) -> Document:
        found: Document = self.definition["MonitoringInputs"][0]["EndpointInput"]
        return found

    @property
    def expression(self) -> str:
        return str(self.config.get("ScheduleConfig", {}).get("ScheduleExpression", "NOW"))

    @property
    def hours(self) -> int | None:
        """Between two runs; None for a single one, at once."""
        match = CRON.fullmatch(self.expression)
        if not match:
            return None
        return int(match["step"]) if match["step"] else 1 if match["hour"] == "*" else 24

    def start_again(self) -> None:
        self.stopped, self.began, self.modified = False, time.monotonic(), now()


def _check(scope: Scope, config: Document) -> None:
    if "MonitoringJobDefinition" not in config:
        raise outside("a monitoring schedule without MonitoringJobDefinition (job definitions by name)")
    definition = config["MonitoringJobDefinition"]
    roles.check(scope, definition["RoleArn"])
    inputs, app = definition["MonitoringInputs"][0], definition["MonitoringAppSpecification"]
    if "EndpointInput" not in inputs:
        raise outside("a monitoring schedule of anything but an endpoint")
    endpoint = endpoints.find(scope, inputs["EndpointInput"]["EndpointName"])
    if not endpoint.config.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise invalid(f'Endpoint "{endpoint.arn}" does not have data capture enabled.')
    for member in ("RecordPreprocessorSourceUri", "PostAnalyticsProcessorSourceUri"):
        if member in app:
            raise outside(member)
    schedule = config.get("ScheduleConfig", {})
    expression = schedule.get("ScheduleExpression", "NOW")
    if expression != "NOW" and not CRON.fullmatch(expression):
        message = "The schedule expression must be NOW, or cron(0 * ? * * *), cron(0 H ? * * *) or cron(0 H/N ? * * *)"
        raise invalid(f"{message}: {expression!r} is none of them.")
    start = schedule.get("DataAnalysisStartTime", "-PT0H")
    if seconds(schedule.get("DataAnalysisEndTime", "-PT0H")) - seconds(start) > 24 * 3600:
        raise invalid("The start of the data to analyze must not precede its end by more than 24 hours.")
    if expression == "NOW" and not ("DataAnalysisStartTime" in schedule and "DataAnalysisEndTime" in schedule):
        raise invalid("DataAnalysisStartTime and DataAnalysisEndTime are needed for the schedule expression NOW.")


def seconds(text: str) -> float:
    """An ISO 8601 duration of days, hours and minutes."""
    match = OFFSET.fullmatch(text)
    if not match:
        raise invalid(f"{text!r} is no duration of days, hours and minutes")
    days, hours, minutes = (int(each or 0) for each in match.groups()[1:])
    return (-1 if match[1] else 1) * float((days * 24 + hours) * 3600 + minutes * 60)


def find(scope: Scope, name: str) -> Schedule:
    schedule = scope.table(KIND).get(name)
    if schedule is None:
        raise Refused("ResourceNotFound", f"Monitoring Schedule {scope.arn(KIND, name)} not found.")
    found: Schedule = schedule
    return found


def create(scope: Scope, request: Document) -> Document:
    name, config = request["MonitoringScheduleName"], request["MonitoringScheduleConfig"]
    arn = scope.arn(KIND, name)
    with scope.lock:
        if name in scope.table(KIND):
            raise Refused("ResourceInUse", f"A monitoring schedule with this name already exists: {arn}")
        _check(scope, config)
        schedule = Schedule(scope, name, config)
        schedule.walk = pacing.Walk(scope.world.site.lifecycle, pacing.BEFORE[KIND])
        scope.table(KIND)[name] = schedule
        scope.tag(arn, request.get("Tags"))
    return {"MonitoringScheduleArn": arn}


def update(scope: Scope, request: Document) -> Document:
    with scope.lock:
        schedule = find(scope, request["MonitoringScheduleName"])
        _check(scope, request["MonitoringScheduleConfig"])
        schedule.config = request["MonitoringScheduleConfig"]
        schedule.start_again()
        schedule.walk = pacing.Walk(scope.world.site.lifecycle, pacing.BEFORE[KIND])
    return {"MonitoringScheduleArn": scope.arn(KIND, schedule.name)}


def _shown(schedule: Schedule) -> Document:
    early = schedule.walk.look() if schedule.walk else None
    return {
        "MonitoringScheduleArn": schedule.scope.arn(KIND, schedule.name),
        "MonitoringScheduleName": schedule.name,
        "MonitoringScheduleStatus": early or ("Stopped" if schedule.stopped else "Scheduled"),
        "MonitoringType": schedule.config.get("MonitoringType", "DataQuality"),
        "CreationTime": schedule.created,
        "LastModifiedTime": schedule.modified,
        "EndpointName": schedule.input["EndpointName"],
    }


def describe(scope: Scope, request: Document) -> Document:
    with scope.lock:
        schedule = find(scope, request["MonitoringScheduleName"])
        document = _shown(schedule) | {"MonitoringScheduleConfig": schedule.config}
        if schedule.executions:
            document["LastMonitoringExecutionSummary"] = dict(schedule.executions[-1])
        return document


def list_all(scope: Scope, request: Document) -> Document:
    if "MonitoringJobDefinitionName" in request:
        raise outside("MonitoringJobDefinitionName of ListMonitoringSchedules")
    with scope.lock:
        found = [known(_shown(each), (*SUMMARY, *SUMMARY_TOO)) for each in scope.table(KIND).values()]
    equal = {
        "StatusEquals": "MonitoringScheduleStatus",
        "EndpointName": "EndpointName",
        "MonitoringTypeEquals": "MonitoringType",
    }
    return listed(request, found, "MonitoringScheduleSummaries", "MonitoringScheduleName", equal)


def delete(scope: Scope, request: Document) -> None:
    with scope.lock:
        schedule = find(scope, request["MonitoringScheduleName"])
        if any(each["MonitoringExecutionStatus"] in EXECUTION for each in schedule.executions):
            raise invalid("The monitoring schedule has an execution in progress; it cannot be deleted now.")
        scope.table(KIND).pop(schedule.name)
        scope.tags.pop(scope.arn(KIND, schedule.name), None)


def stop(scope: Scope, request: Document) -> None:
    schedule = find(scope, request["MonitoringScheduleName"])
    schedule.stopped, schedule.modified = True, now()


def start(scope: Scope, request: Document) -> None:
    find(scope, request["MonitoringScheduleName"]).start_again()


def list_executions(scope: Scope, request: Document) -> Document:
    if "MonitoringJobDefinitionName" in request:
        raise outside("MonitoringJobDefinitionName of ListMonitoringExecutions")
    with scope.lock:
        schedules: list[Any] = [*scope.table(KIND).values()]
        found = [dict(each) for schedule in schedules for each in schedule.executions]
    equal = {
        "StatusEquals": "MonitoringExecutionStatus",
        "EndpointName": "EndpointName",
        "MonitoringTypeEquals": "MonitoringType",
        "MonitoringScheduleName": "MonitoringScheduleName",
    }
    return listed(request, found, "MonitoringExecutionSummaries", "MonitoringScheduleName", equal, "ScheduledTime")


OPERATIONS = {
    "CreateMonitoringSchedule": create,
    "UpdateMonitoringSchedule": update,
    "DescribeMonitoringSchedule": describe,
    "ListMonitoringSchedules": list_all,
    "DeleteMonitoringSchedule": delete,
    "StartMonitoringSchedule": start,
    "StopMonitoringSchedule": stop,
    "ListMonitoringExecutions": list_executions,
}
