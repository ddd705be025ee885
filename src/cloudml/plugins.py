"""Providers by name: found by their entry points, loaded when they are used."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points

from cloudml.errors import ConfigError, MissingExtra
from cloudml.spi import Plugin

GROUP = "cloudml.providers"


def names() -> list[str]:
    """The providers that are installed, sorted."""
    return sorted(_entries())


def load(name: str) -> Plugin:
    """The plugin of that name. ConfigError if none is installed, MissingExtra if what it needs is not."""
    entries = _entries()
    if name not in entries:
        close = difflib.get_close_matches(name, entries, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"installed: {', '.join(sorted(entries)) or 'none'}"
        raise ConfigError(f"there is no provider {name!r}", hint=hint)
    try:
        plugin = entries[name].load()
    except ModuleNotFoundError as error:
        raise MissingExtra(f"provider {name!r} needs {error.name}", hint=_install(entries[name])) from error
    if not isinstance(plugin, Plugin):
        raise ConfigError(f"the entry point of provider {name!r} is not a cloudml.spi.Plugin")
    return plugin


def _install(entry: EntryPoint) -> str:
    """How to install what a provider needs: an extra of ours, or the distribution that brought it."""
    name = entry.dist.name if entry.dist else "cloudml-sdk"
    return f'pip install "{name}[{entry.name}]"' if name == "cloudml-sdk" else f"pip install {name}"


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
