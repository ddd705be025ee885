"""Which packages an image needs: of a job's source, or of a model that is mounted and not built in."""

from __future__ import annotations

import re
from pathlib import Path

from cloudml.content import MANIFEST
from cloudml.images.recipe import REQUIREMENT, Recipe, recipe
from cloudml.runtime.manifest import describe, read_manifest


def for_source(base: str | None, source: Path | None) -> Recipe:
    """An image that runs a source's command; lines that only pip can judge are left to the run itself."""
    listed = source / "requirements.txt" if source else None
    lines = listed.read_text(encoding="utf-8").splitlines() if listed and listed.is_file() else []
    found = [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]
    return recipe(base, [line for line in found if REQUIREMENT.fullmatch(line)], extras=())


def for_model(base: str | None, model: Path) -> Recipe:
    """An image that serves a model by the pins of its manifest, and by its Python where ``base`` is None.

    Raises ConfigError for a folder that cannot be a model.
    """
    manifest = read_manifest(model) if (model / MANIFEST).is_file() else describe(model)
    return recipe(base or f"python:{manifest.python}-slim", manifest.requirements)
