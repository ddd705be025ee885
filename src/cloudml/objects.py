"""Artifacts as the objects of one bucket: all that a store is besides the few calls that differ from cloud to cloud.

A folder is stored object by object, and an empty object ``<key>.whole`` beside it says that all of them are there: a
bucket has no rename. Uploads of what is named by its content may be repeated at will.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Protocol

from cloudml import content
from cloudml.errors import Invalid, NotFound
from cloudml.states import EMPTY

WHOLE = ".whole"
CONTENT = 2  # slashes in <stack>/content/<digest>
WORKERS = 8  # uploads at once


class Bucket(Protocol):
    """What a cloud gives: a flat space of named objects. Each method asks through the Caller; several threads write."""

    @property
    def root(self) -> str:
        """The URI of the bucket, up to where a name begins; pure."""

    def names(self, prefix: str) -> Sequence[str]:
        """The objects whose names begin so, sorted."""

    def read(self, name: str) -> bytes | None:
        """One object; None if it is not there."""

    def write(self, name: str, file: IO[bytes]) -> None:
        """Stores a file from its beginning, however often it is tried, in place of what is there."""

    def copy(self, source: str, target: str) -> None:
        """Copies one object inside the bucket."""

    def remove(self, name: str) -> None:
        """Deletes one object; nothing happens if it is not there."""


class Objects:
    """The artifact store in one bucket; a URI is the bucket's root and the key."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def uri(self, key: str) -> str:
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise Invalid(f"{key!r} cannot be the key of an artifact")
        return self._bucket.root + key

    def missing(self, keys: Iterable[str]) -> set[str]:
        """A file is there if its object is, a folder if it is whole, a prefix of other keys if anything is under it."""
        return {key for key in keys if not self._there(key)}

    def put(self, key: str, source: Path | bytes) -> str:
        """Raises Invalid for a source with links."""
        if isinstance(source, bytes):
            self._bucket.write(key, io.BytesIO(source))
        elif source.is_dir():
            self._put_folder(key, source)
        else:
            self._put_file(key, source)
        return self.uri(key)

    def open(self, uri: str) -> IO[bytes]:
        found = self._bucket.read(self.key(uri))
        if found is None:
            raise NotFound(f"there is no file {uri}")
        return io.BytesIO(found)

    def list(self, prefix: str) -> Iterator[str]:
        key = self.key(prefix) if "://" in prefix else prefix
        return (self._bucket.root + name for name in self._files(key))

    def delete(self, uri: str) -> None:
        """What is named by its content stops being whole first; any other folder is found until nothing is left."""
        key = self.key(uri)
        mark, names = f"{key}{WHOLE}", self._bucket.names(f"{key}/")
        for name in (mark, *names, key) if _by_content(key) else (*names, mark, key):
            self._bucket.remove(name)

    # -- beyond the waist --------------------------------------------------------------------------------------------

    def copy(self, source: str, target: str, folder: str = "", beside: Mapping[str, str] = EMPTY) -> bool:
        """Makes the whole folder ``target`` from copies; False if there is nothing at ``source``.

        What is under ``source`` goes under its ``folder``, and the files that ``beside`` names, as far as they are
        there, directly under it.
        """
        start, end = self.key(source), self.key(target)
        names = self._files(start)
        if not names:
            return False
        into = f"{end}/{folder}" if folder else end
        pairs = [(name, into + name.removeprefix(start)) for name in names]
        pairs += [(self.key(uri), f"{end}/{name}") for name, uri in beside.items() if self._there(self.key(uri))]
        for old, new in pairs:
            self._bucket.copy(old, new)
        self._bucket.write(f"{end}{WHOLE}", io.BytesIO())
        return True

    def folders(self, key: str) -> Sequence[tuple[str, str]]:
        """Name and URI of each whole folder directly under a key."""
        marks = [name for name in self._bucket.names(f"{key}/") if name.endswith(WHOLE)]
        found = [name.removesuffix(WHOLE) for name in marks if "/" not in name.removeprefix(f"{key}/")]
        return [(name.rpartition("/")[2], self._bucket.root + name) for name in found]

    def key(self, uri: str) -> str:
        """Raises Invalid for what is elsewhere."""
        root = self._bucket.root
        if not uri.startswith(root):
            raise Invalid(f"{uri} is not in {root.removesuffix('/')}")
        return uri.removeprefix(root).rstrip("/")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _files(self, key: str) -> Sequence[str]:
        """The objects under a key, without our marks."""
        return [name for name in self._bucket.names(f"{key}/") if not name.endswith(WHOLE)]

    def _there(self, key: str) -> bool:
        names = self._bucket.names(key)
        if _by_content(key):
            return f"{key}{WHOLE}" in names  # whole, or not there
        return key in names or any(name.startswith(f"{key}/") for name in names)

    def _put_folder(self, key: str, source: Path) -> None:
        try:
            found = list(content.files(source))
        except ValueError as error:
            raise Invalid(str(error)) from error
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda each: self._put_file(f"{key}/{each[0]}", each[1]), found))
        self._bucket.write(f"{key}{WHOLE}", io.BytesIO())

    def _put_file(self, key: str, source: Path) -> None:
        with open(source, "rb") as file:
            self._bucket.write(key, file)


def _by_content(key: str) -> bool:
    """Whether a folder is named by what it contains."""
    return "/content/" in key and key.count("/") == CONTENT
