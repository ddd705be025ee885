"""Environments: an image with what the service must know of it, named by their content and made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cloudml import specs
from cloudml.errors import ConfigError
from cloudml.spi import Call
from cloudml.states import Key, Part, Phase
from cloudml_azureml.wire import Wire

PORT = 8080
ROUTES: Mapping[str, str] = {"liveness": "/livez", "readiness": "/readyz", "scoring": "/invocations"}
KIND = "environment"


def universal(key: Key, image: str | None) -> str:
    """The image that serves and monitors. ConfigError if there is none."""
    if image is None:
        hint = "push one by 'cloudml image push', and set 'image' of provider 'azureml' ($CLOUDML_AZUREML_IMAGE)"
        raise ConfigError(f"{key}: azureml needs an image that serves", hint=hint)
    return image


def training(image: str) -> tuple[str, dict[str, Any]]:
    """The path and the properties of the environment of a job's image."""
    return _named("cloudml-train", {"image": image})


def serving(image: str) -> tuple[str, dict[str, Any]]:
    """The same of a serving image, with the routes of the universal one (shared facts, containers.md §2.2)."""
    config = {f"{name}Route": {"port": PORT, "path": path} for name, path in ROUTES.items()}
    return _named("cloudml-serve", {"image": image, "inferenceConfig": config})


def parts(wire: Wire, wanted: Iterator[tuple[str, Mapping[str, Any]]]) -> tuple[Part, ...]:
    """Those of the wanted environments that are there."""
    paths = sorted({path for path, _ in wanted})
    return tuple(Part(KIND, path, wire.id(path), Phase.READY) for path in paths if wire.find(path))


def calls(wanted: Iterator[tuple[str, Mapping[str, Any]]], there: tuple[Part, ...]) -> Iterator[Call]:
    """Each that is not there is made; none is ever removed, since others may use it too."""
    known = {part.name for part in there}
    for path, properties in dict(wanted).items():
        if path not in known:
            yield Call(f"PUT {path}", path, {"properties": dict(properties)}, "there is no environment of this image")


def _named(name: str, properties: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return f"environments/{name}/versions/{specs.hash8(properties)}", properties
