"""Profiles: settings of a person's machine, outside any project, in ``~/.config/cloudml/config.toml``.

default_profile = "work"
[profiles.work]
provider = "sagemaker"
region = "us-east-1"

Where a name is asked for, an installed provider's goes before a profile's.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cloudml import plugins
from cloudml.errors import ConfigError
from cloudml.states import EMPTY

LOCAL = "local"


@dataclass(frozen=True)
class Profile:
    """A provider and values for its settings."""

    name: str
    provider: str
    settings: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


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


def resolve(name: str | None = None, environ: Mapping[str, str] = os.environ) -> Profile:
    """The provider that was asked for, by its own name or a profile's, with the settings that go with it.

    Without a name it is that of ``CLOUDML_PLATFORM``, else the default profile's, else this machine. A provider that
    was asked for by its own name takes the default profile's settings if those are for it. Raises ConfigError, which
    lists what is known, if there is neither a provider nor a profile of that name.
    """
    wanted = name or environ.get("CLOUDML_PLATFORM") or None
    if wanted is not None and (named := named_profile(wanted, environ)):
        return named
    default = load_profile(None, environ)
    if wanted is None:
        return default or Profile(LOCAL, LOCAL)
    require_known(wanted, environ)
    return default if default and default.provider == wanted else Profile(wanted, wanted)


def named_profile(name: str, environ: Mapping[str, str] = os.environ) -> Profile | None:
    """The profile of that name, unless a provider has it; None if there is none."""
    own = name not in plugins.names() and name in profile_names(environ)
    return load_profile(name, environ) if own else None


def require_known(name: str, environ: Mapping[str, str] = os.environ) -> None:
    """ConfigError, which lists what is known, unless a provider or a profile has the name."""
    providers, profiles = plugins.names(), profile_names(environ)
    if name in (*providers, *profiles):
        return
    close = get_close_matches(name, [*providers, *profiles], n=1)
    known = f"providers: {', '.join(providers) or 'none'}; profiles: {', '.join(profiles) or 'none'}"
    raise ConfigError(
        f"there is no provider {name!r}, and no profile", hint=f"did you mean {close[0]!r}?" if close else known
    )


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
