"""Artifacts as objects of one bucket of Cloud Storage; a URI is ``gs://bucket/key``.

A folder is stored object by object, and an empty object ``<key>.whole`` beside it says that all of them are there: a
bucket has no rename. Uploads of what is named by its content may be repeated at will.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from cloudml import content
from cloudml.errors import Invalid, NotFound
from cloudml.spi import Caller

WHOLE = ".whole"
CONTENT = 2  # slashes in <stack>/content/<digest>
WORKERS = 8


class CloudStorage:
    """The artifact store in one bucket."""

    def __init__(self, project: str, bucket: str, credentials: Any, caller: Caller) -> None:
        self._project = project
        self._name = bucket
        self._credentials = credentials
        self._call = caller

    def uri(self, key: str) -> str:
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise Invalid(f"{key!r} cannot be the key of an artifact")
        return f"gs://{self._name}/{key}"

    def missing(self, keys: Iterable[str]) -> set[str]:
        """A file is there if its object is, a folder if it is whole, a prefix of other keys if anything is under it."""
        return {key for key in keys if not self._there(key)}

    def put(self, key: str, source: Path | bytes) -> str:
        """Raises Invalid for a source with links."""
        if isinstance(source, bytes):
            self._write(key, io.BytesIO(source))
        elif source.is_dir():
            self._put_folder(key, source)
        else:
            with open(source, "rb") as file:
                self._write(key, file)
        return self.uri(key)

    def open(self, uri: str) -> IO[bytes]:
        found = self._call.find("GetObject", lambda: self._bucket.blob(self.key(uri)).download_as_bytes())
        if found is None:
            raise NotFound(f"there is no file {uri}")
        return io.BytesIO(found)

    def list(self, prefix: str) -> Iterator[str]:
        key = self.key(prefix) if prefix.startswith("gs://") else prefix
        return (f"gs://{self._name}/{name}" for name in self._names(f"{key}/") if not name.endswith(WHOLE))

    def delete(self, uri: str) -> None:
        key = self.key(uri)
        for name in (*self._names(f"{key}/"), f"{key}{WHOLE}", key):
            self._call.find("DeleteObject", lambda name=name: self._bucket.blob(name).delete())  # type: ignore[misc]

    # -- beyond the waist --------------------------------------------------------------------------------------------

    def mounted(self, uri: str) -> str:
        """Where a job of Vertex AI sees it: every bucket is mounted under ``/gcs`` (facts, containers.md §1.2)."""
        return "/gcs/" + uri.removeprefix("gs://")

    def copy(self, source: str, target: str) -> None:
        """Copies a folder inside Cloud Storage. Raises NotFound if there is nothing."""
        start, end = self.key(source), self.key(target)
        names = self._names(f"{start}/")
        if not names:
            raise NotFound(f"there is nothing at {source}")
        for name in names:
            blob = self._bucket.blob(name)
            copied = end + name.removeprefix(start)
            self._call.write("CopyObject", lambda blob=blob, to=copied: self._bucket.copy_blob(blob, self._bucket, to))  # type: ignore[misc]
        self._write(f"{end}{WHOLE}", io.BytesIO())

    def folders(self, key: str) -> Sequence[tuple[str, str]]:
        """Name and URI of each whole folder directly under a key."""
        marks = [name for name in self._names(f"{key}/") if name.endswith(WHOLE)]
        found = [name.removesuffix(WHOLE) for name in marks if "/" not in name.removeprefix(f"{key}/")]
        return [(name.rpartition("/")[2], f"gs://{self._name}/{name}") for name in found]

    def key(self, uri: str) -> str:
        """Raises Invalid for what is in another bucket."""
        own = f"gs://{self._name}/"
        if not uri.startswith(own):
            raise Invalid(f"{uri} is not in gs://{self._name}")
        return uri.removeprefix(own).rstrip("/")

    # -- inside ------------------------------------------------------------------------------------------------------

    @cached_property
    def _bucket(self) -> Any:
        from google.cloud import storage  # 0.2 s, which a plan without contents does not need

        return storage.Client(project=self._project, credentials=self._credentials).bucket(self._name)

    def _names(self, prefix: str) -> Sequence[str]:
        found = self._call.read(
            "ListObjects", lambda: [blob.name for blob in self._bucket.list_blobs(prefix=prefix, retry=None)]
        )
        return sorted(found)

    def _there(self, key: str) -> bool:
        names = self._names(key)
        if "/content/" in key and key.count("/") == CONTENT:
            return f"{key}{WHOLE}" in names  # a folder named by its content: whole, or not there
        return key in names or any(name.startswith(f"{key}/") for name in names)

    def _put_folder(self, key: str, source: Path) -> None:
        from google.cloud.storage import transfer_manager

        try:
            found = list(content.files(source))
        except ValueError as error:
            raise Invalid(str(error)) from error
        pairs = [(str(path), self._bucket.blob(f"{key}/{name}")) for name, path in found]
        self._call.write(
            "PutObjects",
            lambda: transfer_manager.upload_many(
                pairs, worker_type=transfer_manager.THREAD, max_workers=WORKERS, raise_exception=True
            ),
        )
        self._write(f"{key}{WHOLE}", io.BytesIO())

    def _write(self, key: str, file: IO[bytes]) -> None:
        blob = self._bucket.blob(key)
        self._call.write("PutObject", lambda: blob.upload_from_file(file, rewind=True, retry=None))
