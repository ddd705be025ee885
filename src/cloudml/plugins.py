"""Providers by name: found by their entry points, loaded when they are used."""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from cloudml.emulation import Emulator
from cloudml.errors import ConfigError, MissingExtra, Unsupported
from cloudml.spi import Caller, Plugin, Provider

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


def connect(plugin: Plugin, config: Any, caller: Caller) -> Provider:
    """The plugin's provider. MissingExtra if its SDK, which it imports only now, is not installed."""
    try:
        return plugin.connect(config, caller)
    except ModuleNotFoundError as error:
        entry = _entries().get(plugin.name)
        hint = _install(entry) if entry else None
        raise MissingExtra(f"provider {plugin.name!r} needs {error.name}", hint=hint) from error


def emulator(name: str) -> Emulator:
    """What emulates that provider's cloud. Unsupported if nothing does, MissingExtra if what it needs is missing."""
    named = load(name).emulator
    if named is None:
        able = [each for each in names() if _names_emulator(each)]
        raise Unsupported(f"provider {name!r} has no emulator", hint=f"emulated: {', '.join(able) or 'none'}")
    module, _, attribute = named.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = f"emulating {name!r} needs {error.name}"
        raise MissingExtra(missing, hint=f'pip install "cloudml-sdk[{name},emulators]"') from error
    if not isinstance(found, Emulator):
        raise ConfigError(f"{named}, the emulator of provider {name!r}, is not a cloudml.emulation.Emulator")
    return found


def _names_emulator(name: str) -> bool:
    try:
        return load(name).emulator is not None
    except MissingExtra:
        return False


def emulated() -> list[str]:
    """The providers whose cloud can be emulated here: what the plugin and the emulator need is installed."""
    return [name for name in names() if _emulates(name)]


def _emulates(name: str) -> bool:
    try:
        emulator(name)
    except (Unsupported, MissingExtra):
        return False
    return True


def _install(entry: EntryPoint) -> str:
    """How to install what a provider needs: an extra of ours, or the distribution that brought it."""
    name = entry.dist.name if entry.dist else "cloudml-sdk"
    return f'pip install "{name}[{entry.name}]"' if name == "cloudml-sdk" else f"pip install {name}"


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
