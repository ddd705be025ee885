"""A box: a command of this machine with a file tree, a host name and a network of its own, root or not.

Not a security boundary: /tmp, /dev, /sys and /run are this machine's. It is what makes a process believe that it is the
container, and what ends everything that it started when it ends, or when whoever owns it does.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudml.emulation.box import program

OFF = "CLOUDML_BOXES"  # the variable that forbids boxes, by the value ``off``
PROBE = 60.0  # seconds


@dataclass(frozen=True)
class Box:
    """A command and the place it runs in.

    ``mounts`` are paths inside to a folder or file of this machine and ``rw`` or ``ro``; with none of them the file
    tree is this machine's own, writable. ``hosts`` are names and addresses for /etc/hosts, ``covers`` files that
    lie over others. ``network`` is a network of its own, as `cloudml.emulation.network` makes it. ``owner`` is a file
    that the owner holds locked. ``terminal`` says that the command shares a terminal with whoever starts it. ``memory``
    limits its data, in bytes. ``grace`` is how many seconds after SIGTERM what is left is killed; None leaves that to
    whoever starts it. Not ``boxed``: the command and the end, without a place.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    folder: Path
    owner: Path | None = None
    boxed: bool = True
    mounts: Mapping[str, tuple[Path, str]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    covers: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)
    host_name: str | None = None
    network: Mapping[str, Any] | None = None
    terminal: bool = False
    memory: int | None = None
    grace: float | None = None

    def command(self) -> tuple[str, ...]:
        """What to execute; ``folder`` is the box's own from now on, and exists."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / "box.json"
        document = {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "env": dict(self.env),
            "folder": str(self.folder),
            "owner": self.owner and str(self.owner),
            "mounts": {inside: (str(source), mode) for inside, (source, mode) in self.mounts.items()},
            "hosts": dict(self.hosts),
            "covers": {str(source): places for source, places in self.covers.items()},
            "network": self.network and dict(self.network),
        }
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(document, file)
        return (sys.executable, "-I", "-S", program.__file__, str(path))


@functools.cache
def refusal(network: bool = False) -> str | None:
    """Why there can be no boxes here, or none with a network; None where there can. Tried once in every process."""
    if os.environ.get(OFF) == "off":
        return f"{OFF}=off"
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces"
    with tempfile.TemporaryDirectory(prefix="cloudml-box-") as name:
        folder = Path(name)
        (folder / "inside").mkdir()
        mounts = {"/opt/cloudml-box": (folder / "inside", "rw")}
        alone: dict[str, Any] | None = (
            {"addresses": [], "listen": [], "control": None, "resolver": ""} if network else None
        )
        line = ("/bin/sh", "-c", "echo made >/opt/cloudml-box/it")
        box = Box(line, dict(os.environ), "/", folder, mounts=mounts, network=alone)
        try:
            tried = subprocess.run(box.command(), capture_output=True, text=True, timeout=PROBE)
        except subprocess.TimeoutExpired:
            return f"one was not made in {PROBE:g} s"
        if tried.returncode == 0 and (folder / "inside" / "it").exists():
            return None
        return tried.stderr.strip().rpartition("\n")[2] or f"exit code {tried.returncode}"


__all__ = ["OFF", "Box", "refusal"]
