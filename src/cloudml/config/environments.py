"""Which environment and which provider: flag, then environment variable, then file, then profile, then this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudml.config.nodes import Node, Position
from cloudml.config.problems import Problems, did_you_mean
from cloudml.profiles import Profile, load_profile, named_profile, require_known
from cloudml.states import EMPTY

DEFAULT = "local"


@dataclass(frozen=True)
class Choice:
    """The environment's name, the provider, and what both were said to have.

    ``node`` holds the environment's entries (settings and overrides), ``at`` is where its provider is named,
    ``profile`` a profile's settings; each only if there is any.
    """

    env: str
    provider: str
    node: Node | None = None
    at: Position | None = None
    profile: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


def choose(
    environments: Node | None, env: str | None, provider: str | None, environ: Mapping[str, str], problems: Problems
) -> Choice:
    """The choice. Raises ``problems`` if an environment was asked for that is not in the file, or has no provider."""
    wanted = provider or environ.get("CLOUDML_PLATFORM") or None
    named = env or environ.get("CLOUDML_ENV") or None
    known = environments.entries if environments else {}
    profile = load_profile(None, environ) if wanted is None else _profile(wanted, environ)
    if wanted is not None and profile is not None and profile.name == wanted:
        wanted = profile.provider
    if named and named not in known and known and not wanted and environments:
        at = environments.key or environments.at
        problems.stop(f"there is no environment {named!r}", at, did_you_mean(named, known))
    if not named and not wanted and known:
        named = next(iter(known))
    node = _named(known, named, wanted)
    says = node.get("provider") if node else None
    if node and says is None and not wanted:
        problems.stop(f"environments.{named}.provider is missing", node.key or node.at, "for example: provider: local")
    chosen = wanted or (says.value if says else None) or (profile.provider if profile else DEFAULT)
    if not isinstance(chosen, str):
        return Choice(named or DEFAULT, DEFAULT, node, says.at if says else None)  # the wrong type is told elsewhere
    settings = profile.settings if profile and profile.provider == chosen else EMPTY
    return Choice(named or chosen, chosen, node, says.at if says else None, settings)


def without_file(env: str | None, provider: str | None, environ: Mapping[str, str] = os.environ) -> Choice:
    """The choice where there is no file: flags, environment variables, a profile, this machine."""
    return choose(None, env, provider, environ, Problems())


def _named(known: Mapping[str, Node], named: str | None, wanted: str | None) -> Node | None:
    """The environment of that name, else the first with that provider; another provider's settings stay out."""
    if named is not None and named in known:
        node = known[named]
        says = node.get("provider")
        return node if wanted is None or says is None or says.value == wanted else _overrides(node)
    return next((node for node in known.values() if _provider(node) == wanted), None) if wanted else None


def _provider(node: Node) -> Any:
    says = node.get("provider")
    return says.value if says else None


OVERRIDES = ("vars", "jobs", "models", "endpoints")


def _overrides(node: Node) -> Node:
    """What an environment says of the project itself, without its provider's settings."""
    return Node({key: each for key, each in node.entries.items() if key in OVERRIDES}, node.at, node.key)


def _profile(wanted: str, environ: Mapping[str, str]) -> Profile | None:
    """The profile that was asked for by its name in place of a provider's, else the default one."""
    require_known(wanted, environ)
    return named_profile(wanted, environ) or load_profile(None, environ)
