"""An Azure ML in this process, and clients of its wire API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from azure_answers import Watched

from cloudml.emulation import Cloud, Emulator, Site, running
from cloudml.emulation.faults import Faults
from cloudml.emulation.http import Answer
from cloudml.emulation.lifecycle import INSTANT, Lifecycle
from cloudml_azureml.emulator.answers import Request
from cloudml_azureml.emulator.cloud import AzureML
from cloudml_azureml.emulator.evidence import EVIDENCE

PATIENCE = 60.0  # seconds
PATIENT = {"requestTimeout": "PT60S"}  # a stalled machine is not what is tested
ENDED = ("Completed", "Failed", "Canceled")
JOBS, ENDPOINTS, DEPLOYMENTS = "2025-01-01-preview", "2022-02-01-preview", "2023-04-01-preview"


class Emulated:
    """The emulator behind its network, with a way in for requests without a network."""

    def __init__(self, lifecycle: Lifecycle = INSTANT, engine: str = "process") -> None:
        self._made: list[AzureML] = []
        emulator = Emulator("azureml", self._start, lambda: EVIDENCE)
        self.up = running.start([emulator], lifecycle=lifecycle, engine=engine)

    def _start(self, site: Site) -> Cloud:
        azure = Watched(site)
        self._made.append(azure)
        azure.storage.ready()
        return azure.cloud()

    @property
    def azure(self) -> AzureML:
        return self._made[0]

    @property
    def faults(self) -> Faults:
        return self.up.clouds["azureml"].faults


@dataclass(frozen=True)
class Account:
    """A signed-in client of the wire API, with a subscription of its own."""

    emulated: Emulated
    subscription: str
    workspace: str = "cloudml"

    @property
    def id(self) -> str:
        place = f"/subscriptions/{self.subscription}/resourceGroups/cloudml/providers"
        return f"{place}/Microsoft.MachineLearningServices/workspaces/{self.workspace}"

    @property
    def region(self) -> str:
        return self.emulated.azure.store.workspace(self.subscription, "cloudml", self.workspace).region

    def send(
        self,
        method: str,
        path: str,
        version: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Answer | None:
        """One request to the resource manager, below the workspace unless ``path`` is a whole one."""
        token = self.emulated.azure.directory.token("https://management.azure.com")
        told = {"host": "management.azure.com", "authorization": f"Bearer {token}", **(headers or {})}
        place = path if path.startswith("/") else f"{self.id}/{path}".rstrip("/")
        target = f"{place}?{urlencode({'api-version': version, **query})}"
        sent = b"" if body is None else json.dumps(body).encode()
        return self.emulated.azure.respond(Request(method, target, told, sent))

    def ask(self, method: str, path: str, version: str, body: Any = None, **query: str) -> Any:
        """The body of an answer that is not an error."""
        answer = self.send(method, path, version, body, **query)
        assert answer is not None
        assert answer.status < 400, answer
        return answer.body

    def refused(self, method: str, path: str, version: str, body: Any = None) -> tuple[int, Any]:
        """Status and error of an answer that must be one."""
        answer = self.send(method, path, version, body)
        assert answer is not None
        assert answer.status >= 400, answer
        return answer.status, answer.body["error"]

    def environment(self, name: str = "env", **properties: Any) -> str:
        """The id of an environment."""
        body = {"properties": {"image": "python:3.11", **properties}}
        return str(self.ask("PUT", f"environments/{name}/versions/1", DEPLOYMENTS, body)["id"])

    def job(self, name: str, command: str, **properties: Any) -> Any:
        """Submits a command job."""
        said = {"jobType": "Command", "command": command, "environmentId": self.environment()}
        return self.ask("PUT", f"jobs/{name}", JOBS, {"properties": {**said, **properties}})

    def seen(self, name: str) -> Any:
        return self.ask("GET", f"jobs/{name}", "2024-01-01-preview")["properties"]

    def finished(self, name: str) -> Any:
        """A job's properties once it has ended."""
        return until(lambda: self.seen(name), lambda job: job["status"] in ENDED)

    def details(self, name: str) -> Any:
        """What run history says of a job."""
        return self.history("GET", f"runs/{name}/details")

    def history(self, method: str, path: str, body: Any = None) -> Any:
        azure = self.emulated.azure
        told = {
            "host": f"{self.region}.api.azureml.ms",
            "authorization": f"Bearer {azure.directory.token('https://ml.azure.com')}",
        }
        answer = azure.respond(Request(method, f"/history/v1.0{self.id}/{path}", told, json.dumps(body or {}).encode()))
        assert answer is not None
        assert answer.status == 200, answer
        return answer.body

    def blob(self, name: str, store: str = "azureml") -> str:
        """What is in a datastore: of artifacts (``azureml``) or blobs (``azureml-blobstore``)."""
        azure = self.emulated.azure
        workspace = azure.store.workspace(self.subscription, "cloudml", self.workspace)
        return (azure.storage.read(f"{store}-{workspace.guid}", name) or b"").decode()

    def log(self, name: str, log: str = "user_logs/std_log.txt") -> str:
        """What a job has written."""
        return self.blob(f"ExperimentRun/dcid.{name}/{log}")

    def put(self, name: str, data: str) -> str:
        """A blob of the default datastore; its URI."""
        azure = self.emulated.azure
        workspace = azure.store.workspace(self.subscription, "cloudml", self.workspace)
        azure.workspaces.ready(workspace)
        azure.storage.put(f"azureml-blobstore-{workspace.guid}", name, data.encode())
        return f"azureml://datastores/workspaceblobstore/paths/{name}"

    def code(self, **files: str) -> str:
        """The id of a folder of Python files."""
        for name, text in files.items():
            self.put(f"code/{self.subscription}/{name}.py", text)
        body = {"properties": {"codeUri": f"azureml://datastores/workspaceblobstore/paths/code/{self.subscription}/"}}
        return str(self.ask("PUT", "codes/code/versions/1", "2023-04-01", body)["id"])

    def endpoint(self, name: str, **properties: Any) -> Any:
        body = {"location": "eastus", "properties": {"authMode": "Key", **properties}}
        return self.ask("PUT", f"onlineEndpoints/{name}", ENDPOINTS, body)

    def state(self, path: str) -> str:
        """The provisioningState of an endpoint or a deployment."""
        return str(self.ask("GET", path, DEPLOYMENTS)["properties"]["provisioningState"])

    def settled(self, path: str) -> str:
        """Its provisioningState once no operation goes on."""
        return str(until(lambda: self.state(path), lambda state: state in ("Succeeded", "Failed")))

    def deployed(self, endpoint: str, name: str, script: str, capacity: int = 1, **properties: Any) -> str:
        """PUTs a deployment of a scoring script; the state that it ends in."""
        said = {"endpointComputeType": "Managed", "environmentId": self.environment(), "requestSettings": PATIENT}
        said |= properties
        if "codeConfiguration" not in properties and script:
            said["codeConfiguration"] = {"codeId": self.code(score=script), "scoringScript": "score.py"}
        sku = {"name": "Default", "capacity": capacity}
        path = f"onlineEndpoints/{endpoint}/deployments/{name}"
        self.ask("PUT", path, DEPLOYMENTS, {"location": "eastus", "sku": sku, "properties": said})
        return self.settled(path)

    def score(self, endpoint: str, body: Any, **headers: str) -> Answer:
        """One request to an endpoint, with its primary key."""
        keys = self.ask("POST", f"onlineEndpoints/{endpoint}/listKeys", ENDPOINTS)
        told = {
            "host": f"{endpoint}.{self.region}.inference.ml.azure.com",
            "authorization": f"Bearer {keys['primaryKey']}",
        }
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.emulated.azure.respond(Request("POST", "/score", told, json.dumps(body).encode()))
        assert answer is not None
        return answer


def until(look: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Looks until it is as wanted."""
    deadline = time.monotonic() + PATIENCE
    while not wanted(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
    return seen
