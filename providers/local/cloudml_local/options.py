"""What only this provider has: typed options, and the raw patch that is merged last into a native document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cloudml.specs import Native

NAME = "local"


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobOptions(Options):
    """``inherit`` names further variables of the caller's environment that the job is given."""

    inherit: tuple[str, ...] = ()


class EndpointOptions(Options):
    """``port`` fixes the port that the endpoint listens on; without it one is chosen once and kept."""

    port: int | None = Field(default=None, ge=1, le=65535)


OPTIONS: Mapping[str, type[BaseModel]] = {"job": JobOptions, "endpoint": EndpointOptions}


def patched(document: Mapping[str, Any], spec: Native) -> dict[str, Any]:
    """The document with the spec's ``patch.local`` merged in: maps merge, everything else is replaced."""
    return _merged(document, spec.patch.get(NAME, {}))


def _merged(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for name, value in patch.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged
