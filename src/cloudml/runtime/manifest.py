"""The manifest of a model folder, ``cloudml-model.json``: how it loads, and what it needs. Standard library only."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from cloudml.content import MANIFEST, digest
from cloudml.errors import ConfigError

SCHEMA_VERSION = 1
FILES, PYTHON = "files", "python"
SKLEARN = ("scikit-learn", "numpy", "scipy", "joblib")
# (the file that tells, its flavour, the distributions that the flavour loads)
ENTRIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("model.joblib", "sklearn", SKLEARN),
    ("model.pkl", "sklearn", SKLEARN),
    ("model.onnx", "onnx", ("onnxruntime", "numpy")),
    ("model.py", PYTHON, ()),
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
    """Look at a model folder and write its manifest there. Raises ConfigError as ``describe`` does."""
    folder = Path(folder)
    manifest = describe(folder)
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def describe(folder: Path) -> Manifest:
    """What a model folder is, by its files; the flavour is ``files`` when no single entry tells it.

    ``model.py`` wins over a pickle beside it: that is what it loads. Raises ConfigError when the folder cannot be a
    model (empty, or with a symbolic link).
    """
    content = model_digest(folder)
    if not any(path.name != MANIFEST for path in folder.glob("*")):
        raise ConfigError(f"{folder} has no files: there is no model in it")
    found = _entries(folder)
    entry, flavor = _entry(found) or ("", FILES)
    needs = [need for name, _, needed in found for need in needed] if entry else []
    return Manifest(flavor, entry, content, _pins(needs + _named(folder)), _python())


def model_digest(folder: Path) -> str:
    """The digest of all files of a model folder but its manifest. Raises ConfigError at a symbolic link."""
    try:
        return digest(folder, leave_out=(MANIFEST,))
    except ValueError as error:
        raise ConfigError(str(error)) from error


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

    A folder without a manifest is one if it holds a model's file. Raises ConfigError when there is none, or more than
    one at the same level.
    """
    folder = Path(folder)
    names = tuple(name for name, _, _ in ENTRIES)
    for marks in ((MANIFEST,), names):
        for depth in range(4):
            found = sorted({path.parent for mark in marks for path in folder.glob("*/" * depth + mark)})
            if len(found) > 1:
                raise ConfigError(f"{folder} holds several models: " + ", ".join(str(path) for path in found))
            if found:
                return found[0]
    raise ConfigError(
        f"no model in {folder}: no {MANIFEST} and none of {', '.join(names)} there or up to three folders below"
    )


def why_not_served(folder: Path) -> str | None:
    """Why a folder of flavour ``files`` cannot be served, in one sentence; None when it can."""
    found = _entries(Path(folder))
    if _entry(found):
        return None
    names = ", ".join(name for name, _, _ in ENTRIES)
    both = " and ".join(name for name, _, _ in found)
    return f"{both} both look like the model; keep one" if found else f"it has none of {names}"


def _entries(folder: Path) -> list[tuple[str, str, tuple[str, ...]]]:
    return [row for row in ENTRIES if (folder / row[0]).is_file()]


def _entry(found: list[tuple[str, str, tuple[str, ...]]]) -> Optional[tuple[str, str]]:
    """The entry and its flavour, if there is one; ``model.py`` before what it may load itself."""
    code = [row for row in found if row[1] == PYTHON]
    chosen = code or found
    return chosen[0][:2] if len(chosen) == 1 else None


def _named(folder: Path) -> list[str]:
    """The distributions that the model's own ``requirements.txt`` names."""
    path = folder / "requirements.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    matches = (re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(?:[;=<>!~#]|$)", line) for line in lines)
    return [match[1] for match in matches if match]


def _pins(names: list[str]) -> tuple[str, ...]:
    from importlib import metadata  # 40 ms, of which most jobs need nothing

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
