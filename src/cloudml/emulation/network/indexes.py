"""The hosts of package indexes, as this user's own tools know them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from cloudml.errors import ConfigError

ASKING = 60.0  # seconds
DEFAULT = "from pip._internal.models.index import PyPI as index; print(index.netloc, index.file_storage_domain)"


def hosts(allowed: Sequence[str]) -> list[str]:
    """``pip`` and ``npm`` as the hosts of their configured indexes; anything else is a host, or a pattern of hosts.

    Raises ConfigError where a tool is missing or names none.
    """
    return [host for each in allowed for host in (TOOLS[each]() if each in TOOLS else [each])]


def _pip() -> list[str]:
    said = _ask(sys.executable, "-m", "pip", "config", "list")
    lines = [line.partition("=") for line in said.splitlines()]
    settings = {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in lines}  # later ones win, as in pip
    urls = [*settings.get("index-url", "").split(), *settings.get("extra-index-url", "").split()]
    found = _hosts_of(urls)
    return found if settings.get("index-url") else [*found, *_ask(sys.executable, "-c", DEFAULT).split()]


def _npm() -> list[str]:
    return _hosts_of([_ask("npm", "config", "get", "registry").strip()])


def _hosts_of(urls: Sequence[str]) -> list[str]:
    return [host for url in urls if (host := urlsplit(url).hostname)]


def _ask(*command: str) -> str:
    if not shutil.which(command[0]):
        raise ConfigError(f"{command[0]} is not installed, so its index is not known", hint="--allow HOST names it")
    done = subprocess.run(command, capture_output=True, text=True, timeout=ASKING)
    if done.returncode:
        raise ConfigError(f"{' '.join(command)} failed: {done.stderr.strip()}", hint="--allow HOST names the index")
    return done.stdout


TOOLS: Mapping[str, Callable[[], list[str]]] = {"pip": _pip, "npm": _npm}
