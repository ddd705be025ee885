"""Schedules: resources that submit their command job when they are triggered, by somebody or by the time.

One without a start runs at once, and then when it is due (learn.microsoft.com, reference-yaml-schedule).

A schedule whose action is a monitor is kept as what it is; Azure's own monitors run on Spark and are not emulated.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator import moments
from cloudml_azureml.emulator.answers import Document, Refused, user_error
from cloudml_azureml.emulator.arm import Call, Served
from cloudml_azureml.emulator.jobs import SCHEDULE, Jobs
from cloudml_azureml.emulator.operations import Operations, outcome
from cloudml_azureml.emulator.store import Resource, Store, Workspace

LOOK_EVERY = 1.0  # seconds


class Schedules:
    def __init__(self, store: Store, jobs: Jobs, operations: Operations) -> None:
        self._store, self._jobs, self._operations = store, jobs, operations
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="azureml-schedules", daemon=True)
        self._thread.start()

    def routes(self) -> Sequence[Served]:
        return (
            Served("PUT", "schedules/{name}", self.put),
            Served("GET", "schedules/{name}", self.get),
            Served("GET", "schedules", self.list),
            Served("DELETE", "schedules/{name}", self.delete),
            Served("POST", "schedules/{name}/trigger", self.trigger),
        )

    def put(self, call: Call) -> Answer:
        wanted = call.accepted("schedules")["properties"]
        moments.check(wanted["trigger"])
        path = ("schedules", call.names["name"])
        with call.workspace.lock:
            before = call.workspace.find(*path)
            state = "Creating" if before is None else "Updating"
            properties: Document = {
                "tags": {},
                "properties": {},
                "isEnabled": True,
                **wanted,
                "provisioningState": state,
            }
            made = call.workspace.put(path, {"properties": properties})

        def done(failure: Refused | None) -> None:
            made.properties["provisioningState"] = outcome(failure)
            if before is None and not failure and not wanted["trigger"].get("startTime"):
                self._submitted(call.workspace, made)

        work = self._operations.doomed("PUT schedules", made.name)
        operation = self._operations.begin(call.workspace, (state,), done, work)
        return call.promised("schedules", made, operation, created=before is None)

    def get(self, call: Call) -> Answer:
        return Answer(200, call.seen("schedules", call.workspace.get("schedules", call.names["name"])))

    def list(self, call: Call) -> Answer:
        view = call.query.get("listViewType", "EnabledOnly").lower()
        shown: Callable[[bool], bool] = {
            "all": lambda _: True,
            "disabledonly": lambda enabled: not enabled,
        }.get(view, lambda enabled: enabled)
        found = [each for each in call.workspace.children("schedules") if shown(each.properties["isEnabled"])]
        return Answer(200, {"value": [call.seen("schedules", each) for each in found]})

    def delete(self, call: Call) -> Answer:
        made = call.workspace.find("schedules", call.names["name"])
        if made is None:
            return Answer(204)
        made.properties["provisioningState"] = "Deleting"
        at = call.workspace

        def gone(failure: Refused | None) -> None:
            if failure:
                made.properties["provisioningState"] = outcome(failure)
            else:
                at.drop(*made.path)

        work = self._operations.doomed("DELETE schedules", made.name)
        return call.going(self._operations.begin(at, ("Deleting",), gone, work))

    def trigger(self, call: Call) -> Answer:
        schedule = call.workspace.get("schedules", call.names["name"])
        job = self.submit(call.workspace, schedule)
        return Answer(
            200, {"submissionId": job.name, "scheduleActionType": schedule.properties["action"]["actionType"]}
        )

    def submit(self, workspace: Workspace, schedule: Resource) -> Resource:
        """The job that it describes, now. Raises Refused if it describes none."""
        action: Document = schedule.properties["action"]
        if action["actionType"] != "CreateJob":
            raise user_error(400, f"Schedule {schedule.name} has no job; running Azure's own monitors is not emulated.")
        moment = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
        name = f"{schedule.name}-{moment}-{uuid.uuid4().hex[:4]}"
        wanted: Document = dict(action["jobDefinition"])
        notes = {SCHEDULE: schedule.name}
        wanted["properties"] = {**(wanted.get("properties") or {}), **notes}
        wanted["displayName"] = wanted.get("displayName") or schedule.name
        with workspace.lock:
            return self._jobs.submit(workspace, name, wanted)

    def _run(self) -> None:
        last = datetime.now(UTC).replace(second=0, microsecond=0)
        while not self._closing.wait(LOOK_EVERY):
            minute = datetime.now(UTC).replace(second=0, microsecond=0)
            if minute > last:
                last = minute
                self.tick(minute)

    def tick(self, minute: datetime) -> None:
        """Submits what is due in this minute."""
        for workspace in self._store:
            for schedule in workspace.children("schedules"):
                created = datetime.fromisoformat(schedule.created.replace("Z", "+00:00"))
                if moments.due(schedule.properties["trigger"], minute, created):
                    self._submitted(workspace, schedule)

    def _submitted(self, workspace: Workspace, schedule: Resource) -> None:
        """By the time: what cannot be submitted is written down, since nobody is there to be told."""
        properties = schedule.properties
        if properties["action"]["actionType"] == "CreateJob" and properties["isEnabled"]:
            try:
                self.submit(workspace, schedule)
            except Refused as refused:
                properties["properties"] = {**properties["properties"], "azureml.lastError": refused.message}

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
