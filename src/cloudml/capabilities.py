"""What a spec needs against what a provider declares: checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cloudml.errors import Unsupported
from cloudml.specs import Endpoint, Model, Monitor, Spec, TrainingJob
from cloudml.spi import Capability as C
from cloudml.spi import No, Plugin

SHOWN = "'cloudml providers' shows what each provider can do"
UNSAID = No("its provider does not say whether it can; update the provider")


@dataclass(frozen=True)
class Need:
    """A spec needs ``capability`` when ``applies``; ``field`` is what the user wrote to ask for it."""

    capability: C
    field: str
    applies: Callable[[Any], bool]


def _any_server(test: Callable[[Any], bool]) -> Callable[[Endpoint], bool]:
    return lambda endpoint: any(test(each) for each in endpoint.deployments.values())


NEEDS: dict[type[Spec], tuple[Need, ...]] = {
    TrainingJob: (
        Need(C.JOBS, "jobs", lambda job: True),
        Need(C.JOBS_IMAGE, "image", lambda job: job.image is not None),
        Need(C.JOBS_GPU, "resources.gpu", lambda job: job.resources.gpu > 0),
        Need(C.JOBS_NODES, "nodes", lambda job: job.nodes > 1),
        Need(C.JOBS_SPOT, "spot", lambda job: job.spot),
        Need(C.JOBS_RETRIES, "retries", lambda job: job.retries > 0),
        Need(C.JOBS_DISK, "resources.disk", lambda job: job.resources.disk is not None),
        Need(C.JOBS_WAIT_TIMEOUT, "wait_timeout", lambda job: job.wait_timeout is not None),
    ),
    Model: (
        Need(C.MODELS, "models", lambda model: True),
        Need(C.MODELS_ALIAS, "alias", lambda model: model.alias is not None),
        Need(C.MODELS_APPROVAL, "approval", lambda model: model.approval is not None),
    ),
    Endpoint: (
        Need(C.ENDPOINTS, "endpoints", lambda endpoint: True),
        Need(C.ENDPOINTS_IMAGE, "image", _any_server(lambda server: server.image is not None)),
        Need(C.ENDPOINTS_GPU, "resources.gpu", _any_server(lambda server: server.resources.gpu > 0)),
        Need(C.ENDPOINTS_SCALE, "scale", _any_server(lambda server: server.scale.max > 1)),
        Need(C.ENDPOINTS_SCALE_TO_ZERO, "scale.min: 0", _any_server(lambda server: server.scale.min == 0)),
        Need(C.ENDPOINTS_SPOT, "spot", _any_server(lambda server: server.spot)),
        Need(C.ENDPOINTS_TRAFFIC, "traffic", lambda endpoint: len(endpoint.deployments) > 1),
        Need(C.ENDPOINTS_MIRROR, "mirror", lambda endpoint: bool(endpoint.mirror)),
        Need(C.ENDPOINTS_CAPTURE, "capture", lambda endpoint: endpoint.capture > 0),
        Need(C.ENDPOINTS_REDACT, "redact", lambda endpoint: bool(endpoint.redact)),
        Need(C.ENDPOINTS_TIMEOUT, "timeout over 60 s", lambda endpoint: endpoint.timeout > 60),
        Need(C.MONITORS, "monitor", lambda endpoint: endpoint.monitor is not None),
        Need(C.MONITORS_SCHEDULE, "monitor.schedule", lambda each: bool(each.monitor and each.monitor.schedule)),
    ),
    Monitor: (
        Need(C.MONITORS, "monitors", lambda monitor: True),
        Need(C.MONITORS_SCHEDULE, "schedule", lambda monitor: monitor.schedule is not None),
    ),
}


def missing(plugin: Plugin, spec: Spec) -> Iterator[tuple[Need, No]]:
    """What the spec asks for and the provider declares that it cannot."""
    for need in NEEDS[type(spec)]:
        answer = plugin.capabilities.get(need.capability, UNSAID)
        if isinstance(answer, No) and need.applies(spec):
            yield need, answer


def demand(plugin: Plugin, capability: C, what: str) -> None:
    """Unsupported, with the provider's reason, where it cannot do what somebody asks of it by a verb."""
    answer = plugin.capabilities.get(capability, UNSAID)
    if isinstance(answer, No):
        raise Unsupported(
            f"provider {plugin.name!r} cannot {what}: {answer.reason}",
            hint="'cloudml providers' shows what each provider can do",
        )


def require(plugin: Plugin, name: str, spec: Spec) -> None:
    """Unsupported, naming every field that this provider cannot honour, with its reason."""
    lines = [f"{need.field}: {answer.reason}" for need, answer in missing(plugin, spec)]
    if lines:
        raise Unsupported(
            f"{name} asks for what provider {plugin.name!r} cannot do: " + "; ".join(lines),
            hint=SHOWN,
        )


def require_of_request(plugin: Plugin, capability: C, what: str) -> None:
    """Unsupported for what no spec asks for, but a request."""
    answer = plugin.capabilities.get(capability, UNSAID)
    if isinstance(answer, No):
        raise Unsupported(f"{what}: provider {plugin.name!r} cannot: {answer.reason}", hint=SHOWN)
