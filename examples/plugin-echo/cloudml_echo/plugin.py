"""What the entry point names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cloudml.errors import AlreadyExists, Denied, ModelError, NotFound, PreconditionFailed, ProviderError
from cloudml.spi import Caller, No, Plugin, Provider, Yes
from cloudml.spi import Capability as C
from cloudml_echo.cloud import Cloud, Refused
from cloudml_echo.options import JobOptions
from cloudml_echo.resources import Endpoints, Jobs, Models
from cloudml_echo.store import Store, Telemetry


class Config(BaseModel):
    """``folder`` is where this cloud is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path


@dataclass(frozen=True)
class EchoProvider:
    jobs: Jobs
    models: Models
    endpoints: Endpoints
    artifacts: Store
    telemetry: Telemetry
    monitors: None = None


def connect(config: Config, caller: Caller) -> Provider:
    cloud = Cloud(config.folder)
    store = Store(cloud.root / "artifacts", caller)
    kinds = Jobs(cloud, store, caller), Models(cloud, store, caller), Endpoints(cloud, store, caller)
    return EchoProvider(*kinds, store, Telemetry(cloud, caller))


ERRORS: Mapping[type[Exception], type[ProviderError]] = {
    FileNotFoundError: NotFound,
    FileExistsError: AlreadyExists,
    PermissionError: Denied,
    Refused: PreconditionFailed,
}


def classify(native: Exception) -> ProviderError | None:
    """The error of the tree for this cloud's own; None for a defect, which stays what it is."""
    if isinstance(native, ValidationError):
        return ModelError(f"the request is not understood: {native.errors()[0]['msg']}", status=400)
    kind = ERRORS.get(type(native))
    return kind(str(native)) if kind else None


CAN = {
    *(C.JOBS, C.MODELS, C.MODELS_ALIAS, C.MONITORS),
    *(C.ENDPOINTS, C.ENDPOINTS_TRAFFIC, C.ENDPOINTS_CAPTURE, C.ENDPOINTS_PIN, C.ENDPOINTS_TIMEOUT),
}
WHY_NOT = {C.MONITORS_SCHEDULE: "run 'cloudml monitors run' from any cron"}
CANNOT = "an echo needs none of that; leave it out, or use another provider"
CAPABILITIES: Mapping[C, Yes | No] = {each: Yes() if each in CAN else No(WHY_NOT.get(each, CANNOT)) for each in C}

plugin = Plugin("echo", Config, connect, classify, CAPABILITIES, options={"job": JobOptions}, pace=0.02)
