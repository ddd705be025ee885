"""What `connect` returns. Azure's libraries, a third of a second, are imported when a part is first used."""

from __future__ import annotations

import os
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cloudml.errors import ConfigError
from cloudml.spi import Caller

if TYPE_CHECKING:
    from cloudml.objects import Objects
    from cloudml_azureml.connect import Parts
    from cloudml_azureml.endpoints import AzureEndpoints
    from cloudml_azureml.jobs import AzureJobs
    from cloudml_azureml.models import AzureModels
    from cloudml_azureml.monitors import AzureMonitors
    from cloudml_azureml.telemetry import AzureTelemetry

WORKSPACE = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}"
NEEDED = ("azure.core", "azure.identity", "azure.storage.blob")


class AzureProvider:
    """One workspace. Raises ConfigError without subscription, resource group or workspace.

    ModuleNotFoundError if a library is not installed; credentials are asked for when they are needed.
    """

    def __init__(self, config: Any, caller: Caller) -> None:
        self._workspace = WORKSPACE.format(
            _needed("subscription", config.subscription, "CLOUDML_AZUREML_SUBSCRIPTION", "AZURE_SUBSCRIPTION_ID"),
            _needed("resource_group", config.resource_group, "CLOUDML_AZUREML_RESOURCE_GROUP"),
            _needed("workspace", config.workspace, "CLOUDML_AZUREML_WORKSPACE"),
        )
        for name in NEEDED:
            if find_spec(name) is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        self._config, self._caller = config, caller

    @cached_property
    def _parts(self) -> Parts:
        from cloudml_azureml import connect

        return connect.parts(self._workspace, self._config, self._caller)

    @property
    def jobs(self) -> AzureJobs:
        return self._parts.jobs

    @property
    def models(self) -> AzureModels:
        return self._parts.models

    @property
    def endpoints(self) -> AzureEndpoints:
        return self._parts.endpoints

    @property
    def artifacts(self) -> Objects:
        return self._parts.artifacts

    @property
    def telemetry(self) -> AzureTelemetry:
        return self._parts.telemetry

    @property
    def monitors(self) -> AzureMonitors:
        return self._parts.monitors


def _needed(setting: str, value: str | None, *variables: str) -> str:
    found = value or next((os.environ[name] for name in variables if os.environ.get(name)), None)
    if not found:
        hint = f"set '{setting}' of provider 'azureml', or {variables[0]}"
        raise ConfigError(f"azureml needs the workspace's {setting.replace('_', ' ')}", hint=hint)
    return found
