"""The model that the settings name, brought here first where the platform left that to us."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudml.errors import ConfigError
from cloudml.runtime import flavors

if TYPE_CHECKING:
    from cloudml.runtime.serving import Settings


BESIDE = "model:"  # before the name of a sidecar that lies with the model: a platform mounts one folder and no more
DEPTH = 4  # folders that a platform may put around it


def chosen_model(chosen: Settings) -> flavors.LoadedModel:
    """Raises ConfigError, or whatever the model's own code raises."""
    folder = _folder(chosen)
    about = _about(chosen.signature, folder)
    named = not isinstance(about, Mapping) or about.get("inputs")
    signature = flavors.read_signature(about) if about is not None and named else None
    return flavors.load(folder, signature, _trust(chosen.trust, about))


def _folder(chosen: Settings) -> Path:
    if chosen.model_uri is None:
        return chosen.model_dir
    from cloudml.runtime.fetching import fetch

    return fetch(chosen.model_uri, chosen.model_dir)


def _about(given: Path | str | Mapping[str, Any] | None, folder: Path) -> Path | Mapping[str, Any] | None:
    """The signature, or the sidecar that holds it; None if there is none. Raises ConfigError."""
    if not isinstance(given, str):
        return given
    if given.startswith(BESIDE):
        return _beside(given.removeprefix(BESIDE), folder)
    from cloudml.runtime.fetching import document

    return document(given)


def _beside(name: str, folder: Path) -> dict[str, Any] | None:
    found = next((path for depth in range(DEPTH) for path in folder.glob("*/" * depth + name)), None)
    try:
        about: dict[str, Any] | None = None if found is None else json.loads(found.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{found} is not readable: {error}") from error
    return about


def _trust(given: flavors.Trust, about: Path | Mapping[str, Any] | None) -> flavors.Trust:
    """What was registered is trusted: its digest stands in the sidecar."""
    digest = about.get("digest") if isinstance(about, Mapping) else None
    return replace(given, digest=digest) if digest else given
