"""The folder in which everything of this provider lives, and writes that are there whole or not at all.

    HOME/store/<key>             artifacts; <stack>/captures/<endpoint>/ is written by its servers
         jobs/ servers/          the engines' folders
         runs/<job>/             job.json  source/  output/
         endpoints/<endpoint>/   endpoint.json  table.json  gateway.json  port  servers/<server>/
         token                   what a client of an endpoint beyond loopback must send, mode 0600
         registry.db             model families and versions
         .drafts/                what is being written or taken away; renamed from and to here in one step

Names are the machine's: another stack's endpoint of the same name is seen, and is that stack's.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudml.errors import AlreadyExists

_COUNT = itertools.count()


def default(env: Mapping[str, str], provider: str = "local") -> Path:
    """``$CLOUDML_HOME``, else ``cloudml`` in the user's data folder; below that, ``docker`` for containers."""
    data = env.get("XDG_DATA_HOME")
    users = (Path(data) if data else Path.home() / ".local" / "share") / "cloudml"
    named = Path(env["CLOUDML_HOME"]) if env.get("CLOUDML_HOME") else users
    return named if provider == "local" else named / provider


class Home:
    """One home folder; several processes may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.store = self.path / "store"
        self.runs = self.path / "runs"
        self.endpoints = self.path / "endpoints"
        self.token = self.path / "token"
        self._drafts = self.path / ".drafts"

    def captures(self, stack: str, endpoint: str) -> Path:
        """Where the captured requests of an endpoint are; they go with the stack's artifacts."""
        return self.store / stack / "captures" / endpoint

    def draft(self) -> Path:
        """A name for something unfinished, on the same file system; what dead processes left there is removed."""
        if not self._drafts.exists():
            self._drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._drafts.iterdir():
            if not _alive(int(left.name.partition("-")[0])):
                _erase(left)
        return self._drafts / f"{os.getpid()}-{next(_COUNT)}-{os.urandom(4).hex()}"

    def publish(self, draft: Path, target: Path) -> None:
        """Gives a finished draft its name. Raises AlreadyExists, and removes the draft, if the name is taken."""
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if draft.is_dir():
                draft.rename(target)
            else:
                os.link(draft, target)
        except OSError as error:
            if not target.exists():
                raise
            raise AlreadyExists(f"{target.name} exists already") from error
        finally:
            _erase(draft)

    def write(self, target: Path, data: bytes) -> None:
        """Replaces a file in one step."""
        draft = self.draft()
        draft.write_bytes(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(target)

    def discard(self, path: Path) -> bool:
        """Removes a file or a folder in one step; False if it is not there."""
        grave = self.draft()
        try:
            path.rename(grave)
        except FileNotFoundError:
            return False
        _erase(grave)
        return True


def read(path: Path) -> dict[str, Any] | None:
    """A JSON document; None if there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found


def encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _erase(path: Path) -> None:
    """Removes it, unless somebody else is faster."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process
        return True
    return True
