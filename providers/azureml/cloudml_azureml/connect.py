"""One provider in one workspace: the only file that imports Azure's credentials and puts all together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azure.identity import (
    AzureCliCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
)

from cloudml.objects import Objects
from cloudml.spi import Caller
from cloudml_azureml.artifacts import Blobs
from cloudml_azureml.endpoints import AzureEndpoints
from cloudml_azureml.history import History
from cloudml_azureml.jobs import AzureJobs
from cloudml_azureml.models import AzureModels
from cloudml_azureml.monitors import AzureMonitors
from cloudml_azureml.predicting import Predictor
from cloudml_azureml.telemetry import AzureTelemetry
from cloudml_azureml.wire import Wire

# By the setting ``credential``; each asks nobody before the first call.
CREDENTIALS: Mapping[str, Callable[[Any], Any]] = {
    "default": lambda config: DefaultAzureCredential(managed_identity_client_id=config.client_id),
    "environment": lambda config: EnvironmentCredential(),
    "cli": lambda config: AzureCliCredential(tenant_id=config.tenant or ""),
    "managed-identity": lambda config: ManagedIdentityCredential(client_id=config.client_id),
}


@dataclass(frozen=True)
class Parts:
    """All that a provider has."""

    jobs: AzureJobs
    models: AzureModels
    endpoints: AzureEndpoints
    artifacts: Objects
    telemetry: AzureTelemetry
    monitors: AzureMonitors


def parts(workspace: str, config: Any, caller: Caller) -> Parts:
    """Asks nothing: credentials are asked for when they are needed."""
    credential = CREDENTIALS[config.credential](config)
    wire = Wire(workspace, config.location, credential, caller)
    artifacts = Objects(Blobs(wire, caller))
    history = History(wire, credential, caller)
    image = config.image or os.environ.get("CLOUDML_AZUREML_IMAGE")
    compute = config.compute or os.environ.get("CLOUDML_AZUREML_COMPUTE")
    return Parts(
        jobs=AzureJobs(wire, artifacts, history, config.training_image, compute),
        models=AzureModels(wire, artifacts),
        endpoints=AzureEndpoints(wire, artifacts, Predictor(wire, caller), image),
        artifacts=artifacts,
        telemetry=AzureTelemetry(wire, artifacts, history, caller),
        monitors=AzureMonitors(wire, artifacts, image, compute),
    )
