"""What only Azure ML has: typed options per kind; the raw patch is merged last into a native document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = "azureml"


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobOptions(Options):
    """``compute`` is a cluster's name, or ``serverless``; ``instance_type`` the size of serverless machines."""

    compute: str | None = None
    instance_type: str | None = None
    experiment: str | None = None
    distribution: Literal["PyTorch", "Mpi", "TensorFlow"] = "PyTorch"


class EndpointOptions(Options):
    """``concurrency`` is how many requests an instance works on at once: the service's own default is one."""

    instance_type: str | None = None
    concurrency: int = Field(default=32, ge=1)


OPTIONS: Mapping[str, type[BaseModel]] = {"job": JobOptions, "endpoint": EndpointOptions}
