"""Command jobs as resources: what a PUT makes, what may change, cancel and delete. What runs is in runs.py."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator import machines
from cloudml_azureml.emulator.answers import Document, invalid, user_error
from cloudml_azureml.emulator.arm import Call, Served
from cloudml_azureml.emulator.assets import resolved
from cloudml_azureml.emulator.operations import Operations, headers
from cloudml_azureml.emulator.places import run_folder
from cloudml_azureml.emulator.runs import Runs
from cloudml_azureml.emulator.store import Resource, Workspace
from cloudml_azureml.emulator.workspaces import Workspaces, cluster

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}")
SCHEDULE = "azureml.scheduleid"  # the property of a job that a schedule has made
MUTABLE = ("description", "displayName", "tags", "properties", "isArchived")
# What a job has besides what its PUT says.
DEFAULTS: Document = {"tags": {}, "properties": {}, "isArchived": False, "inputs": {}, "experimentName": "Default"}


class Jobs:
    def __init__(self, runs: Runs, operations: Operations, workspaces: Workspaces) -> None:
        self._runs, self._operations, self._workspaces = runs, operations, workspaces

    def routes(self) -> Sequence[Served]:
        return (
            Served("PUT", "jobs/{name}", self.put),
            Served("GET", "jobs/{name}", self.get),
            Served("GET", "jobs", self.list),
            Served("POST", "jobs/{name}/cancel", self.cancel),
            Served("DELETE", "jobs/{name}", self.delete),
        )

    def put(self, call: Call) -> Answer:
        wanted = call.accepted("jobs")["properties"]
        name = call.names["name"]
        if not NAME.fullmatch(name):
            raise invalid(f"name: '{name}' does not match {NAME.pattern}")
        with call.workspace.lock:
            before = call.workspace.find("jobs", name)
            if before is not None:
                return self._change(call, before, wanted)
            made = self.submit(call.workspace, name, wanted)
        return Answer(201, call.seen("jobs", made))

    def submit(self, workspace: Workspace, name: str, wanted: Document) -> Resource:
        """A new job, which begins to run. Raises Refused for what it names and is not there."""
        self._check(workspace, wanted)
        self._workspaces.ready(workspace)
        job = workspace.put(("jobs", name), {"properties": _completed(workspace, name, wanted)})
        job.hidden["wanted"] = wanted
        self._runs.start(workspace, job)
        return job

    def _check(self, workspace: Workspace, wanted: Document) -> None:
        cluster(workspace, wanted.get("computeId"))
        resolved(workspace, wanted["environmentId"], "environments")
        if wanted.get("codeId"):
            resolved(workspace, wanted["codeId"], "codes")
        resources, distribution = wanted.get("resources") or {}, wanted.get("distribution") or {}
        if not wanted.get("computeId"):  # a cluster has its size, and ignores this
            machines.check("resources.instanceType", resources.get("instanceType"), machines.FOR_JOBS)
        for word, count in (("instanceCount", resources), ("processCountPerInstance", distribution)):
            if count.get(word, 1) < 1:
                raise invalid(f"{word}: must be at least 1")
        known = (wanted.get("inputs") or {}, wanted.get("outputs") or {})
        for kind, name in re.findall(r"\$\{\{\s*(inputs|outputs)\.([^}\s]+)\s*\}\}", wanted["command"]):
            if name not in known[kind == "outputs"]:
                raise user_error(400, f"The command refers to {kind}.{name}, which the job does not define.")

    def _change(self, call: Call, job: Resource, wanted: Document) -> Answer:
        before: Document = job.hidden["wanted"]
        for word in sorted(wanted.keys() | before.keys()):
            if word not in MUTABLE and wanted.get(word) != before.get(word):
                raise user_error(
                    409,
                    "A job with this name already exists. If you are trying to create a new job, use a different name. "
                    f"If you are trying to update an existing job, the existing job's {word} cannot be changed. "
                    f"Only {', '.join(MUTABLE)} can be updated.",
                )
        changed = {word: wanted[word] for word in MUTABLE if word in wanted}
        made = call.workspace.put(job.path, {"properties": {**job.properties, **changed}})
        return Answer(200, call.seen("jobs", made))

    def get(self, call: Call) -> Answer:
        job = call.workspace.get("jobs", call.names["name"])
        self._runs.look(call.workspace, job)
        return Answer(200, call.seen("jobs", job))

    def list(self, call: Call) -> Answer:
        found = [job for job in reversed(call.workspace.children("jobs")) if _wanted(call.query, job)]
        return Answer(200, {"value": [call.seen("jobs", each) for each in found]})

    def cancel(self, call: Call) -> Answer:
        job = call.workspace.get("jobs", call.names["name"])
        ended = self._runs.cancel(call.workspace, job)
        operation = self._operations.begin(call.workspace, ("Running",), lambda _: None, ended)
        return Answer(202, None, headers(operation, call.version, location=True, status=False))

    def delete(self, call: Call) -> Answer:
        job = call.workspace.find("jobs", call.names["name"])
        if job is None:
            return Answer(204)
        if not self._runs.ended(call.workspace, job):
            raise user_error(409, f"The job {job.name} is in status {job.properties['status']}; cancel it first.")
        at = call.workspace
        operation = self._operations.begin(at, ("Deleting",), lambda _: at.drop(*job.path))
        return Answer(202, None, headers(operation, call.version, location=True, status=False))


def _completed(workspace: Workspace, name: str, wanted: Document) -> Document:
    """A job's properties as the service shows them."""
    outputs = {}
    for output, said in (wanted.get("outputs") or {}).items():
        slash = "" if said["jobOutputType"] == "uri_file" else "/"
        place = f"azureml://datastores/workspaceblobstore/paths/azureml/{name}/{output}{slash}"
        outputs[output] = {"mode": "ReadWriteMount", **said, "uri": said.get("uri") or place}
    artifacts = f"azureml://datastores/workspaceartifactstore/{run_folder(name)}"
    outputs["default"] = {"jobOutputType": "uri_folder", "mode": "ReadWriteMount", "uri": artifacts}
    studio = f"https://ml.azure.com/runs/{name}?wsid=/subscriptions/{workspace.subscription}"
    studio += f"/resourcegroups/{workspace.group}/workspaces/{workspace.name}&tid={workspace.tenant}"
    tracking = f"azureml://{workspace.region}.api.azureml.ms/mlflow/v1.0{workspace.id}?"
    services = {
        "Tracking": {"jobServiceType": "Tracking", "endpoint": tracking},
        "Studio": {"jobServiceType": "Studio", "endpoint": studio},
    }
    made: Document = {**DEFAULTS, "displayName": name, **wanted, "outputs": outputs, "services": services}
    if not wanted.get("computeId"):
        made["resources"] = {"instanceCount": 1, "shmSize": "2g", **(wanted.get("resources") or {})}
        made["queueSettings"] = {"jobTier": "Null", **(wanted.get("queueSettings") or {})}
    return {**made, "status": "Starting", "parameters": {}}


def _wanted(query: Mapping[str, str], job: Resource) -> bool:
    """Whether a list with these filters has it."""
    view, archived = query.get("listViewType", "ActiveOnly").lower(), bool(job.properties.get("isArchived"))
    if view != "all" and archived != (view == "archivedonly"):
        return False
    if tag := query.get("tag"):
        tags, (name, valued, value) = job.properties.get("tags") or {}, tag.partition("=")
        if name not in tags or (valued and tags[name] != value):
            return False
    if "jobType" in query and query["jobType"].lower() != job.properties["jobType"].lower():
        return False
    schedule = (job.properties.get("properties") or {}).get(SCHEDULE)
    if query.get("scheduled", "").lower() == "true" and schedule is None:
        return False
    return "scheduleId" not in query or schedule == query["scheduleId"]
