"""The model that the settings name, brought here first where the platform left that to us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudml.runtime import flavors

if TYPE_CHECKING:
    from cloudml.runtime.serving import Settings


def chosen_model(chosen: Settings) -> flavors.LoadedModel:
    """Raises ConfigError, or whatever the model's own code raises."""
    about = _about(chosen.signature)
    signature = None if about is None else flavors.read_signature(about)
    return flavors.load(_folder(chosen), signature, _trust(chosen.trust, about))


def _folder(chosen: Settings) -> Path:
    if chosen.model_uri is None:
        return chosen.model_dir
    from cloudml.runtime.fetching import fetch

    return fetch(chosen.model_uri, chosen.model_dir)


def _about(given: Path | str | Mapping[str, Any] | None) -> Path | Mapping[str, Any] | None:
    """The signature, or the sidecar that holds it. None if it names no inputs."""
    if not isinstance(given, str):
        return given
    from cloudml.runtime.fetching import document

    found = document(given)
    return found if found and found.get("inputs") else None


def _trust(given: flavors.Trust, about: Path | Mapping[str, Any] | None) -> flavors.Trust:
    """What was registered is trusted: its digest stands in the sidecar."""
    digest = about.get("digest") if isinstance(about, Mapping) else None
    return replace(given, digest=digest) if digest else given
