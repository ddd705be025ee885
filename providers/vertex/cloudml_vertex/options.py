"""What only Vertex AI has: typed options per kind; the raw patch is merged last into a native document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cloudml import specs

NAME = "vertex"
HOUR = 3600
Threshold = Annotated[float, Field(gt=0, le=1)]


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobOptions(Options):
    """``machine_type`` and ``accelerator`` override what resources choose; ``network`` is a peered VPC's full name."""

    machine_type: str | None = None
    accelerator: str | None = None
    service_account: str | None = None
    network: str | None = None
    tensorboard: str | None = None


class Monitoring(Options):
    """Vertex AI's own monitoring of an endpoint (a ModelDeploymentMonitoringJob), besides cloudml's.

    ``drift`` (of live requests) and ``skew`` (against the data in ``training``, a CSV file at a ``gs://`` URI whose
    column ``target`` is predicted) map a feature to its threshold; neither is drift by the service's own threshold.
    ``sample`` is the share of requests that is looked at every ``interval`` seconds, whole hours; ``emails`` are told.
    ``instance_schema`` is a ``gs://`` URI that says which feature is where in a row that is a list.
    """

    interval: specs.Seconds = Field(default=HOUR, ge=HOUR)
    sample: float = Field(default=1.0, gt=0, le=1)
    drift: Mapping[str, Threshold] = {}
    skew: Mapping[str, Threshold] = {}
    training: str | None = Field(default=None, pattern="^gs://")
    target: str | None = None
    emails: tuple[str, ...] = ()
    instance_schema: str | None = Field(default=None, pattern="^gs://")
    paused: bool = False

    @model_validator(mode="after")
    def _skew_has_what_it_is_compared_with(self) -> Self:
        if self.skew and not (self.training and self.target):
            raise ValueError("skew needs 'training', the data that it is compared with, and its column 'target'")
        if self.interval % HOUR:
            raise ValueError(f"interval is {self.interval:g} s; the service has whole hours")
        return self


class EndpointOptions(Options):
    """``machine_type`` and ``accelerator`` override what resources choose.

    ``dedicated`` endpoints have a host name of their own and take 10 MB and up to an hour; shared ones 1.5 MB and 60 s
    (shared facts, containers.md §2.1). ``monitoring`` asks for the service's own, in BigQuery.
    """

    machine_type: str | None = None
    accelerator: str | None = None
    service_account: str | None = None
    dedicated: bool = True
    access_logging: bool = Field(default=False)
    monitoring: Monitoring | None = None


OPTIONS: Mapping[str, type[BaseModel]] = {"job": JobOptions, "endpoint": EndpointOptions}
