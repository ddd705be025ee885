"""What only Vertex AI has: typed options per kind; the raw patch is merged last into a native document."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

NAME = "vertex"


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobOptions(Options):
    """``machine_type`` and ``accelerator`` override what resources choose; ``network`` is a peered VPC's full name."""

    machine_type: str | None = None
    accelerator: str | None = None
    service_account: str | None = None
    network: str | None = None
    tensorboard: str | None = None


class EndpointOptions(Options):
    """``machine_type`` and ``accelerator`` override what resources choose.

    ``dedicated`` endpoints have a host name of their own and take 10 MB and up to an hour; shared ones 1.5 MB and 60 s
    (shared facts, containers.md §2.1).
    """

    machine_type: str | None = None
    accelerator: str | None = None
    service_account: str | None = None
    dedicated: bool = True
    access_logging: bool = Field(default=False)


OPTIONS: Mapping[str, type[BaseModel]] = {"job": JobOptions, "endpoint": EndpointOptions}
