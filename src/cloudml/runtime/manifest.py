"""The manifest of a model folder, ``cloudml-model.json``: how it loads, and what it needs. Standard library only."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cloudml.content import MANIFEST, digest
from cloudml.errors import ConfigError

SCHEMA_VERSION = 1
FILES = "files"
SKLEARN = ("scikit-learn", "numpy", "scipy", "joblib")
# (the file that tells, its flavour, the distributions that the flavour loads)
ENTRIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("model.joblib", "sklearn", SKLEARN),
    ("model.pkl", "sklearn", SKLEARN),
    ("model.py", "python", ()),
)


@dataclass(frozen=True)
class Manifest:
    """What a model folder is. ``digest`` covers all files but the manifest; ``requirements`` are exact pins."""

    flavor: str
    entry: str
    digest: str
    requirements: tuple[str, ...]
    python: str
    schema_version: int = SCHEMA_VERSION


def write_manifest(folder: Path) -> Manifest:
    """Look at a model folder and write its manifest there; the flavour is ``files`` when no single entry tells it.

    Raises ConfigError when the folder cannot be a model (empty, or with a symbolic link).
    """
    folder = Path(folder)
    try:
        content = digest(folder, leave_out=(MANIFEST,))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not any(path.name != MANIFEST for path in folder.glob("*")):
        raise ConfigError(f"{folder} has no files: there is no model in it")
    found = [row for row in ENTRIES if (folder / row[0]).is_file()]
    entry, flavor, needs = found[0] if len(found) == 1 else ("", FILES, ())
    manifest = Manifest(flavor, entry, content, _pins(list(needs) + _named(folder)), _python())
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model folder. Raises ConfigError when it is missing or not one that this version reads."""
    path = Path(folder) / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{folder} is not a model folder: it has no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not readable: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must be a JSON object")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema_version {found.get('schema_version')!r}; this version reads {SCHEMA_VERSION}",
            hint="use the cloudml version that wrote the model, or write it again",
        )
    requirements = found.get("requirements", [])
    if not isinstance(requirements, list) or not all(isinstance(pin, str) for pin in requirements):
        raise ConfigError(f"{path}: 'requirements' must be a list of strings")
    return Manifest(
        _text(found, "flavor", path),
        _text(found, "entry", path),
        _text(found, "digest", path),
        tuple(requirements),
        _text(found, "python", path),
    )


def find_model(folder: Path) -> Path:
    """The model folder in or below a folder, at most three levels down; clouds unpack at different depths.

    Raises ConfigError when there is none, or more than one at the same level.
    """
    folder = Path(folder)
    for depth in range(4):
        found = sorted(path.parent for path in folder.glob("*/" * depth + MANIFEST))
        if len(found) > 1:
            raise ConfigError(f"{folder} holds several models: " + ", ".join(str(path) for path in found))
        if found:
            return found[0]
    raise ConfigError(f"no model in {folder}: no {MANIFEST} there or up to three folders below")


def why_not_served(folder: Path) -> str | None:
    """Why a folder of flavour ``files`` cannot be served, in one sentence; None when it can."""
    found = [name for name, _, _ in ENTRIES if (Path(folder) / name).is_file()]
    if len(found) == 1:
        return None
    names = ", ".join(name for name, _, _ in ENTRIES)
    return f"{' and '.join(found)} all look like the model; keep one" if found else f"it has none of {names}"


def _named(folder: Path) -> list[str]:
    """The distributions that the model's own ``requirements.txt`` names."""
    path = folder / "requirements.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    matches = (re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(?:[;=<>!~#]|$)", line) for line in lines)
    return [match[1] for match in matches if match]


def _pins(names: list[str]) -> tuple[str, ...]:
    pins = {}
    for name in names:
        try:
            pins[re.sub(r"[-_.]+", "-", name).lower()] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # not in this interpreter, so the model was not made with it
    return tuple(f"{name}=={version}" for name, version in sorted(pins.items()))


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _text(found: Mapping[str, Any], name: str, path: Path) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {name!r} must be a string")
    return value
