"""Artifacts as files and folders under ``HOME/store``; a URI is the absolute path."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from cloudml import content
from cloudml.errors import AlreadyExists, Invalid, NotFound
from cloudml.spi import Caller
from cloudml_local.home import Home


class LocalArtifacts:
    """The artifact store of one home folder."""

    def __init__(self, home: Home, caller: Caller) -> None:
        self._home = home
        self._call = caller

    def uri(self, key: str) -> str:
        return str(self._path(key))

    def missing(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if not self._path(key).exists()}

    def put(self, key: str, source: Path | bytes) -> str:
        """A folder that is there with the same content stays; with other content it is replaced.

        Raises Invalid for a source with links, or a key that leaves the store.
        """
        path = self._path(key)
        return self._call.write("PutArtifact", lambda: self._put(path, source))

    def put_at(self, uri: str, source: Path) -> str:
        """As ``put``, at a URI."""
        return self._put(self._inside(uri), source)

    def holds(self, uri: str) -> bool:
        """Whether anything is at a URI."""
        return Path(uri.removeprefix("file://")).exists()

    def model_digest(self, uri: str) -> str | None:
        """The digest of a folder's files, a manifest left out; None for what is no folder. Raises Invalid at a link."""
        path = Path(uri.removeprefix("file://"))
        return _digest(path, (content.MANIFEST,)) if path.is_dir() else None

    def folders(self, key: str) -> Sequence[tuple[str, str]]:
        """Name and URI of each folder directly under a key."""
        start = self._path(key)
        found = sorted(start.iterdir()) if start.is_dir() else []
        return [(path.name, str(path)) for path in found]

    def _put(self, target: Path, source: Path | bytes) -> str:
        if isinstance(source, bytes):
            self._home.write(target, source)
        elif source.is_dir() and not source.is_symlink():
            self._put_folder(target, source)
        else:
            self._put_file(target, source)
        return str(target)

    def open(self, uri: str) -> IO[bytes]:
        path = self._inside(uri)
        try:
            return open(path, "rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFound(f"there is no file {uri}") from error

    def list(self, prefix: str) -> Iterator[str]:
        start = self._inside(prefix) if os.path.isabs(prefix) else self._path(prefix)
        for root, folders, names in os.walk(start):
            folders.sort()
            yield from (os.path.join(root, name) for name in sorted(names))

    def delete(self, uri: str) -> None:
        path = self._inside(uri)
        if not path.is_relative_to(self._home.store):
            raise Invalid(f"{uri} is not an artifact: only what is under {self._home.store} can be deleted")
        self._home.discard(path)

    def _put_folder(self, target: Path, source: Path) -> None:
        if target.is_dir() and content.digest(target) == _digest(source):
            return
        draft = self._home.draft()
        copy_folder(source, draft)
        self._home.discard(target)
        try:
            self._home.publish(draft, target)
        except AlreadyExists:  # another process was faster
            if content.digest(target) != content.digest(source):
                raise

    def _put_file(self, target: Path, source: Path) -> None:
        if source.is_symlink():
            raise Invalid(f"{source} is a symbolic link; put the file itself there")
        if not source.is_file():
            raise NotFound(f"there is no file or folder {source}")
        draft = self._home.draft()
        shutil.copyfile(source, draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(target)

    def _path(self, key: str) -> Path:
        if not key or any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
            raise Invalid(f"{key!r} cannot be the key of an artifact")
        return self._home.store / key

    def _inside(self, uri: str) -> Path:
        path = Path(os.path.abspath(uri.removeprefix("file://")))
        if not path.is_relative_to(self._home.path) or path == self._home.store:
            raise Invalid(f"{uri} is not under {self._home.path}")
        return path


def copy_folder(source: Path, target: Path) -> None:
    """Copies a folder's files without caches. Raises Invalid at a link: it would point elsewhere in the copy."""
    try:
        found = list(content.files(source))
    except ValueError as error:
        raise Invalid(str(error)) from error
    target.mkdir(parents=True)
    for name, path in found:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def _digest(folder: Path, leave_out: tuple[str, ...] = ()) -> str:
    try:
        return content.digest(folder, leave_out)
    except ValueError as error:
        raise Invalid(str(error)) from error
