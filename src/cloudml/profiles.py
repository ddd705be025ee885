"""Profiles: settings of a person's machine, outside any project, in ``~/.config/cloudml/config.toml``.

default_profile = "work"
[profiles.work]
provider = "sagemaker"
region = "us-east-1"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cloudml.errors import ConfigError


@dataclass(frozen=True)
class Profile:
    """A provider and values for its settings."""

    name: str
    provider: str
    settings: Mapping[str, Any]


def path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where profiles are: under ``XDG_CONFIG_HOME`` if it is set."""
    home = environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home, "cloudml", "config.toml")


def load_profile(name: str | None = None, environ: Mapping[str, str] = os.environ) -> Profile | None:
    """The profile of that name; without one ``CLOUDML_PROFILE`` or the file's ``default_profile``, None if neither.

    Raises ConfigError if the file cannot be read or a profile that was asked for is not in it.
    """
    file = path(environ)
    document = _read(file)
    wanted = name or environ.get("CLOUDML_PROFILE") or document.get("default_profile")
    if not wanted:
        return None
    profiles = document.get("profiles", {})
    if wanted not in profiles:
        close = get_close_matches(str(wanted), profiles, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"profiles there: {', '.join(profiles) or 'none'}"
        raise ConfigError(f"there is no profile {wanted!r}", where=str(file), hint=hint)
    settings = dict(profiles[wanted])
    provider = settings.pop("provider", None)
    if not isinstance(provider, str):
        raise ConfigError(f"profile {wanted!r} names no provider", where=str(file), hint='add provider = "…"')
    return Profile(str(wanted), provider, settings)


def profile_names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The names of all profiles."""
    return list(_read(path(environ)).get("profiles", {}))


def _read(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"cannot read it: {error}", where=str(file)) from error
    profiles = document.get("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(each, dict) for each in profiles.values()):
        raise ConfigError("profiles are tables", where=str(file), hint="[profiles.NAME]")
    return document
