"""What only this provider has: typed options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME = "sagemaker"
PREFIX = "cloudml"
RoleArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$")]
InstanceType = Annotated[str, StringConstraints(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")]


class Options(BaseModel):
    """``instance_type`` instead of the one chosen by ``resources``; ``subnets`` and ``security_groups`` of a VPC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance_type: InstanceType | None = None
    subnets: tuple[str, ...] = Field(default=(), max_length=16)
    security_groups: tuple[str, ...] = Field(default=(), max_length=5)
    network_isolation: bool = False

    def network(self) -> dict[str, Any]:
        """The members of a request that say where in the network it runs."""
        vpc = {"Subnets": list(self.subnets), "SecurityGroupIds": list(self.security_groups)}
        isolated = {"EnableNetworkIsolation": True} if self.network_isolation else {}
        return {**({"VpcConfig": vpc} if self.subnets or self.security_groups else {}), **isolated}


class JobOptions(Options):
    """``kms_key`` encrypts the output, ``volume_kms_key`` the disk; ``keep_alive`` keeps the machines, in seconds."""

    kms_key: str | None = None
    volume_kms_key: str | None = None
    keep_alive: int | None = Field(default=None, ge=0, le=3600)


class EndpointOptions(Options):
    """For all deployments of an endpoint, or in one deployment's own ``options.sagemaker``.

    ``startup_timeout`` (for ``/ping`` to answer) and ``download_timeout`` (for the model), in seconds.
    """

    startup_timeout: int | None = Field(default=None, ge=60, le=3600)
    download_timeout: int | None = Field(default=None, ge=60, le=3600)


OPTIONS: Mapping[str, type[BaseModel]] = {"job": JobOptions, "endpoint": EndpointOptions}
