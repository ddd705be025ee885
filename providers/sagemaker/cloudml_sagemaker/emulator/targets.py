"""Scalable targets: the variants of endpoints whose instances Application Auto Scaling may count out.

moto keeps what programs read of them; here is what the emulated SageMaker needs to know.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cloudml_sagemaker.emulator.accounts import Document, Scope

KIND = "scalable-target"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
RESOURCE = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")
LOW = 15  # minutes under the target before instances are taken away


@dataclass
class Target:
    """One variant: between which numbers of instances, by which policy, and what each minute's calls were."""

    endpoint: str
    variant: str
    least: int
    most: int
    policy: Document | None = None
    points: deque[float] = field(default_factory=lambda: deque(maxlen=LOW))
    calls: int = 0
    began: float = field(default_factory=time.monotonic)
    moved: float = 0.0


def of(scope: Scope, endpoint: str) -> Iterator[Target]:
    """The targets of an endpoint."""
    return (each for each in [*scope.table(KIND).values()] if each.endpoint == endpoint)


def resource(target: Target) -> str:
    return f"endpoint/{target.endpoint}/variant/{target.variant}"


def key(resource_id: str) -> dict[str, str]:
    """The members by which every request names a target."""
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource_id, "ScalableDimension": DIMENSION}


def drop_policies(scope: Scope, resource_id: str) -> None:
    """A target that is deregistered takes its policies along; moto forgets to."""
    client = _client(scope)
    for policy in client.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource_id)[
        "ScalingPolicies"
    ]:
        client.delete_scaling_policy(PolicyName=policy["PolicyName"], **key(resource_id))


def forget(scope: Scope, endpoint: str) -> None:
    """What goes with an endpoint that is deleted: nobody is told."""
    for target in of(scope, endpoint):
        scope.table(KIND).pop(resource(target), None)
        drop_policies(scope, resource(target))
        _client(scope).deregister_scalable_target(**key(resource(target)))


def _client(scope: Scope) -> Any:
    return scope.world.services.client("application-autoscaling", scope.account, scope.region)
