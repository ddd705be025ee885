"""What the entry point names. Imports no AWS SDK: that is ``connect``'s part."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cloudml.spi import Caller, Plugin, Provider
from cloudml_sagemaker.capabilities import CAPABILITIES
from cloudml_sagemaker.errors import classify
from cloudml_sagemaker.options import OPTIONS, PREFIX, RoleArn
from cloudml_sagemaker.permissions import policy


class Config(BaseModel):
    """Where in AWS: each setting has a variable, and most a default.

    ``region`` (``AWS_REGION``, ``AWS_DEFAULT_REGION``, the AWS profile's), ``profile`` (``AWS_PROFILE``), ``role``
    (``CLOUDML_SAGEMAKER_ROLE``, else the execution role that this code runs with), ``bucket``
    (``CLOUDML_SAGEMAKER_BUCKET``, else ``sagemaker-{region}-{account}``), ``prefix`` of all keys in it, ``image`` that
    serves (``CLOUDML_SAGEMAKER_IMAGE``, else ``cloudml-serve:{version}`` of the account's registry).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str | None = Field(default=None, pattern=r"^[a-z]{2,}(-[a-z0-9]+)+-\d+$")
    profile: str | None = None
    role: RoleArn | None = None
    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    prefix: str = Field(default=PREFIX, pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=128)
    image: str | None = Field(default=None, pattern=r"^\S+$", max_length=255)


def connect(config: Any, caller: Caller) -> Provider:
    """A provider in the region that ``config`` names; asks AWS nothing yet."""
    from cloudml_sagemaker import connect as opened

    return opened.provider(config, caller)


plugin = Plugin(
    name="sagemaker",
    config=Config,
    connect=connect,
    classify=classify,
    capabilities=CAPABILITIES,
    options=OPTIONS,
    pace=1.0,
    emulator="cloudml_sagemaker.emulator:emulator",
    carried=True,
    permissions=policy,
)
