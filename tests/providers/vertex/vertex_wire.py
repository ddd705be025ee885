"""Requests of the API by method and document, over either transport, and a valid one of each method."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import google.auth
import google.auth.transport.requests
import pytest
from google.api_core import exceptions
from google.api_core.operation import Operation
from google.cloud import aiplatform_v1
from google.protobuf import json_format

import cloudml_vertex.emulator

ROUTES: Mapping[str, Any] = json.loads((Path(cloudml_vertex.emulator.__file__).parent / "routes.json").read_text())
LOCATION = "us-central1"
HOST = f"https://{LOCATION}-aiplatform.googleapis.com"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class Api:
    """The API of one project; ``transport`` is ``grpc`` or ``rest``."""

    def __init__(self, project: str, transport: str) -> None:
        self.project, self.transport = project, transport
        self.place = f"projects/{project}/locations/{LOCATION}"
        self.credentials, _ = google.auth.default(scopes=SCOPES)
        self._clients: dict[str, Any] = {}

    def call(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Raises Google's own exceptions; an operation is answered as it is, a list as its first page."""
        service, method = path.split("/")
        kind = getattr(aiplatform_v1, f"{method}Request")
        request = kind()
        json_format.ParseDict(dict(document), kind.pb(request))
        answer = getattr(self._client(service), re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower())(request=request)
        if answer is None:
            return {}
        if hasattr(answer, "pages"):
            answer = next(answer.pages)
        plain = answer.operation if isinstance(answer, Operation) else type(answer).pb(answer)
        found: dict[str, Any] = json_format.MessageToDict(plain)
        return found

    def refused(self, status: int, said: str, path: str, document: Mapping[str, Any]) -> None:
        with pytest.raises(exceptions.GoogleAPICallError, match=said) as caught:
            self.call(path, document)
        assert caught.value.code == status

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            kind, host = getattr(aiplatform_v1, f"{service}Client"), HOST.removeprefix("https://")
            options = {"api_endpoint": host}
            self._clients[service] = kind(
                credentials=self.credentials, transport=self.transport, client_options=options
            )
        return self._clients[service]


def session() -> google.auth.transport.requests.AuthorizedSession:
    return google.auth.transport.requests.AuthorizedSession(google.auth.default(scopes=SCOPES)[0])


def pool(*command: str, replicas: int = 1, **container: Any) -> dict[str, Any]:
    """A worker pool that runs a command of this machine."""
    return {
        "machineSpec": {"machineType": "n1-standard-4"},
        "replicaCount": str(replicas),
        "containerSpec": {"imageUri": "python:3.11", "command": list(command or ("true",)), **container},
    }


def job(name: str, *pools: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return {"displayName": name, "jobSpec": {"workerPoolSpecs": list(pools or (pool(),)), **spec}}


def samples(place: str) -> dict[str, dict[str, Any]]:
    """A request of every method that has all that is required of it; what it names need not be there."""
    endpoint, model, number = f"{place}/endpoints/1", f"{place}/models/m", f"{place}/customJobs/1"
    monitor = f"{place}/modelDeploymentMonitoringJobs/1"
    deployed = {
        "model": model,
        "dedicatedResources": {
            "machineSpec": {"machineType": "n1-standard-4"},
            "minReplicaCount": 1,
            "autoscalingMetricSpecs": [{"metricName": "aiplatform.googleapis.com/prediction/online/cpu/utilization"}],
        },
    }
    package = {"executorImageUri": "i", "packageUris": ["gs://b/p.tar.gz"], "pythonModule": "m"}
    first = pool(env=[{"name": "A", "value": "1"}])
    second = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": "1", "pythonPackageSpec": package}
    monitoring = {
        "displayName": "watch",
        "endpoint": endpoint,
        "modelDeploymentMonitoringObjectiveConfigs": [{"deployedModelId": "1"}],
        "modelDeploymentMonitoringScheduleConfig": {"monitorInterval": "3600s"},
        "loggingSamplingStrategy": {"randomSampleConfig": {"sampleRate": 1}},
    }
    served = {"displayName": "m", "artifactUri": "gs://b/m", "containerSpec": {"imageUri": "i"}}
    output = {"outputUriPrefix": f"gs://{place}"}
    named: Callable[[str], dict[str, Any]] = lambda name: {"name": name}  # noqa: E731
    return {
        "EndpointService/CreateEndpoint": {"parent": place, "endpoint": {"displayName": "e"}},
        "EndpointService/DeleteEndpoint": named(endpoint),
        "EndpointService/DeployModel": {"endpoint": endpoint, "deployedModel": deployed},
        "EndpointService/GetEndpoint": named(endpoint),
        "EndpointService/ListEndpoints": {"parent": place},
        "EndpointService/MutateDeployedModel": {
            "endpoint": endpoint,
            "deployedModel": {"id": "1", **deployed},
            "updateMask": "dedicatedResources.minReplicaCount",
        },
        "EndpointService/UndeployModel": {"endpoint": endpoint, "deployedModelId": "1"},
        "EndpointService/UpdateEndpoint": {
            "endpoint": {"name": endpoint, "displayName": "e"},
            "updateMask": "displayName",
        },
        "JobService/CancelCustomJob": named(number),
        "JobService/CreateCustomJob": {
            "parent": place,
            "customJob": job("j", first, second, baseOutputDirectory=output),
        },
        "JobService/CreateModelDeploymentMonitoringJob": {"parent": place, "modelDeploymentMonitoringJob": monitoring},
        "JobService/DeleteCustomJob": named(number),
        "JobService/DeleteModelDeploymentMonitoringJob": named(monitor),
        "JobService/GetCustomJob": named(number),
        "JobService/GetModelDeploymentMonitoringJob": named(monitor),
        "JobService/ListCustomJobs": {"parent": place},
        "JobService/ListModelDeploymentMonitoringJobs": {"parent": place},
        "JobService/PauseModelDeploymentMonitoringJob": named(monitor),
        "JobService/ResumeModelDeploymentMonitoringJob": named(monitor),
        "JobService/UpdateModelDeploymentMonitoringJob": {
            "modelDeploymentMonitoringJob": {"name": monitor, **monitoring},
            "updateMask": "displayName",
        },
        "ModelService/DeleteModel": named(model),
        "ModelService/DeleteModelVersion": named(f"{model}@1"),
        "ModelService/GetModel": named(model),
        "ModelService/ListModelVersions": named(model),
        "ModelService/ListModels": {"parent": place},
        "ModelService/MergeVersionAliases": {"name": model, "versionAliases": ["a-1"]},
        "ModelService/UpdateModel": {"model": {"name": model, "displayName": "m"}, "updateMask": "displayName"},
        "ModelService/UploadModel": {"parent": place, "model": served},
        "PredictionService/Predict": {"endpoint": endpoint, "instances": [[1]]},
        "PredictionService/RawPredict": {"endpoint": endpoint, "httpBody": {"data": "e30="}},
    }
