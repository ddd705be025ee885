"""What the entry point names. Imports none of Azure's libraries: that is ``connect``'s part, at the first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloudml.spi import Call, Caller, Plugin, Provider
from cloudml_azureml.capabilities import CAPABILITIES
from cloudml_azureml.errors import classify
from cloudml_azureml.options import NAME, OPTIONS
from cloudml_azureml.permissions import role
from cloudml_azureml.provider import AzureProvider


class Config(BaseModel):
    """The workspace, and what runs in it.

    Each is by default what ``CLOUDML_AZUREML_SUBSCRIPTION`` (else ``AZURE_SUBSCRIPTION_ID``), ``_RESOURCE_GROUP``,
    ``_WORKSPACE``, ``_IMAGE`` and ``_COMPUTE`` say. ``image`` is the universal image that serves, ``training_image``
    any image with Python 3.9 or newer and a shell; ``compute`` a cluster's name, by default serverless machines.
    ``location`` is asked of the workspace where it is not given. ``credential`` is who asks: by ``default`` whoever
    azure-identity's chain finds first, else one of it alone; ``client_id`` names a user-assigned managed identity,
    ``tenant`` the one of ``az login`` where there are several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subscription: str | None = Field(default=None, min_length=1)
    resource_group: str | None = Field(default=None, min_length=1)
    workspace: str | None = Field(default=None, min_length=1)
    location: str | None = Field(default=None, min_length=1)
    image: str | None = Field(default=None, min_length=1)
    training_image: str = Field(default="python:3.11-slim", min_length=1)
    compute: str | None = Field(default=None, min_length=1)
    credential: Literal["default", "environment", "cli", "managed-identity"] = "default"
    client_id: str | None = Field(default=None, min_length=1)
    tenant: str | None = Field(default=None, min_length=1)


def connect(config: Any, caller: Caller) -> Provider:
    """A provider in one workspace; asks nothing before the first call."""
    return AzureProvider(config, caller)


def files(calls: Sequence[Call]) -> Mapping[str, str]:
    """The YAML form of Azure ML v2."""
    from cloudml_azureml import ejecting

    return ejecting.files(calls)


plugin = Plugin(
    name=NAME,
    config=Config,
    connect=connect,
    classify=classify,
    capabilities=CAPABILITIES,
    options=OPTIONS,
    emulator="cloudml_azureml.emulator:emulator",
    carried=True,
    permissions=role,
    files=files,
)
