"""The workspace's regional services: discovery, run history, and the data plane that says where outputs are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Document, Refused, Request
from cloudml_azureml.emulator.arm import WORKSPACE
from cloudml_azureml.emulator.places import ARTIFACTS, DATASTORE, container, long_uri, run_folder
from cloudml_azureml.emulator.runs import Run, Runs
from cloudml_azureml.emulator.signin import ARM, ML, Directory
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import Resource, Store, Workspace

PLANE = re.compile(r"/(history|data|modelregistry)/v1\.0(/subscriptions/.*)", re.IGNORECASE)
SERVICES = ("api", "catalog", "experimentation", "gallery", "history", "hyperdrive", "labeling", "modelmanagement")
OUTPUT = re.compile(r"azureml://locations/[^/]+/workspaces/[^/]+/data/azureml_(.+)_output_data_([^/]+)/versions/1")
# The data plane calls the resource manager's kinds by other names.
TYPES = {"uri_folder": "UriFolder", "uri_file": "UriFile", "mltable": "MLTable"}
MODEL_TYPES = {"custom_model": "CustomModel", "mlflow_model": "MLFlowModel", "triton_model": "TritonModel"}
# What a client may change of a run, and where that is in the job.
PATCHED = {"displayName": "displayName", "description": "description", "tags": "tags", "properties": "properties"}


class History:
    """What <region>.api.azureml.ms says."""

    def __init__(self, directory: Directory, store: Store, runs: Runs, storage: Storage) -> None:
        self._directory, self._store, self._runs, self._storage = directory, store, runs, storage

    def respond(self, request: Request) -> Answer:
        if request.path.strip("/").startswith("discovery"):
            return Answer(200, dict.fromkeys(SERVICES, f"https://{request.host}"))
        self._directory.check(request, ARM, ML)
        plane = PLANE.fullmatch(request.path)
        found = WORKSPACE.fullmatch(plane[2]) if plane else None
        if not plane or not found:
            raise Refused(404, "NotFound", f"There is no such path: {request.path}")
        workspace = self._store.workspace(found[1], found[2], found[3])
        parts = [plane[1].lower(), *(found[4] or "").split("/")]
        return self._chosen(request, workspace, parts)

    def _chosen(self, request: Request, at: Workspace, parts: list[str]) -> Answer:
        answers: Mapping[tuple[str, ...], Callable[[], Answer]] = {
            ("GET", "history", "runs", "*", "details"): lambda: self._details(at, parts[2]),
            ("GET", "history", "runs", "*"): lambda: Answer(200, self._run(at, at.get("jobs", parts[2]))),
            ("POST", "history", "rundata"): lambda: self._data(at, request.document()),
            ("PATCH", "history", "experiments", "*", "runs", "*"): lambda: self._patch(
                at, parts[4], request.document()
            ),
            ("POST", "data", "dataversion", "batchGetResolvedUris"): lambda: _resolved(at, request.document()),
            ("POST", "modelregistry", "models", "batchGetResolvedUris"): lambda: _models(at, request.document()),
        }
        for (method, *pattern), answer in answers.items():
            fits = len(pattern) == len(parts) and all(
                want in ("*", have) for want, have in zip(pattern, parts, strict=True)
            )
            if fits and method == request.method:
                return answer()
        raise Refused(404, "NotFound", f"{request.method} {'/'.join(parts)} is not emulated.")

    def _details(self, at: Workspace, name: str) -> Answer:
        job = at.get("jobs", name)
        run = self._runs.look(at, job)
        store = container(at, ARTIFACTS)
        signed = self._storage.signature(store, "r")
        logs = {each: f"{self._storage.url(store, f'{run_folder(name)}/{each}')}?{signed}" for each in run.logs}
        made = _moments(run) | {"runId": name, "target": _target(job), "status": run.status, "logFiles": logs}
        made |= {"properties": job.properties["properties"], "tags": job.properties["tags"], "warnings": run.warnings}
        return Answer(200, made | {"inputDatasets": [], "outputDatasets": [], "services": {}})

    def _run(self, at: Workspace, job: Resource) -> Document:
        run = self._runs.of(at, job)
        outputs = {}
        for name, said in job.properties["outputs"].items():
            if name != "default" and run.status == "Completed":
                asset = f"azureml://locations/{at.region}/workspaces/{at.guid}/data"
                outputs[name] = {
                    "assetId": f"{asset}/azureml_{job.name}_output_data_{name}/versions/1",
                    "type": MODEL_TYPES.get(said["jobOutputType"], said["jobOutputType"]),
                }
        told = {word: job.properties.get(word) for word in PATCHED}
        made = _moments(run) | {
            "runId": job.name,
            "status": run.status,
            "target": _target(job),
            "runType": "azureml.scriptrun",
        }
        made |= {"dataContainerId": f"dcid.{job.name}", "hidden": bool(job.properties.get("isArchived"))}
        return made | told | {"outputs": outputs, "inputs": {}, "warnings": run.warnings}

    def _data(self, at: Workspace, wanted: Document) -> Answer:
        job = at.get("jobs", str(wanted.get("runId")))
        return Answer(200, {"runMetadata": self._run(at, job), "runDefinition": None, "jobSpecification": None})

    def _patch(self, at: Workspace, name: str, wanted: Document) -> Answer:
        job = at.get("jobs", name)
        with at.lock:
            for word, place in PATCHED.items():
                if wanted.get(word) is not None:
                    job.properties[place] = wanted[word]
            if wanted.get("hidden") is not None:
                job.properties["isArchived"] = wanted["hidden"]
        return Answer(200, self._run(at, job))


def _moments(run: Run) -> Document:
    made: Document = {"createdTimeUtc": run.job.created, "startTimeUtc": run.started, "endTimeUtc": run.ended_at}
    return made | ({"error": {"error": run.error, "componentName": "CommonRuntime"}} if run.error else {})


def _target(job: Resource) -> str:
    return str(job.properties.get("computeId") or "serverless").rpartition("/")[2]


def _resolved(at: Workspace, wanted: Document) -> Answer:
    """Where the data is that run history named by asset ids."""
    found = {each: _output(at, each) for each in wanted.get("values") or ()}
    values = {}
    for each, said in found.items():
        if said:
            values[each] = {
                "uri": _long(at, said["uri"]),
                "type": TYPES.get(said["jobOutputType"], said["jobOutputType"]),
            }
    return Answer(200, {"values": values})


def _models(at: Workspace, wanted: Document) -> Answer:
    """The same for outputs that are models."""
    found = {each: _output(at, each) for each in wanted.get("values") or ()}
    values = {each: {"path": _long(at, said["uri"])} for each, said in found.items() if said}
    return Answer(200, {"values": values})


def _output(at: Workspace, asset: str) -> Document | None:
    found = OUTPUT.fullmatch(asset)
    job = at.find("jobs", found[1]) if found else None
    said: Document | None = job.properties["outputs"].get(found[2]) if found and job else None
    return said


def _long(at: Workspace, uri: str) -> str:
    base = DATASTORE.fullmatch(uri)
    return long_uri(at, base[1], base[2]) if base else uri
