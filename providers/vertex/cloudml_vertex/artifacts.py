"""The bucket of Cloud Storage that holds the artifacts; a URI is ``gs://bucket/key``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import IO, Any

from cloudml.spi import Caller


class CloudStorage:
    """One bucket, as ``cloudml.objects.Bucket``."""

    def __init__(self, project: str, bucket: str, credentials: Any, caller: Caller) -> None:
        self._project = project
        self._name = bucket
        self._credentials = credentials
        self._call = caller

    @property
    def root(self) -> str:
        return f"gs://{self._name}/"

    def names(self, prefix: str) -> Sequence[str]:
        found = self._call.read(
            "ListObjects", lambda: [blob.name for blob in self._bucket.list_blobs(prefix=prefix, retry=None)]
        )
        return sorted(found)

    def read(self, name: str) -> bytes | None:
        return self._call.find("GetObject", lambda: self._bytes(name))

    def write(self, name: str, file: IO[bytes]) -> None:
        blob = self._bucket.blob(name)
        self._call.write("PutObject", lambda: blob.upload_from_file(file, rewind=True, retry=None))

    def copy(self, source: str, target: str) -> None:
        blob = self._bucket.blob(source)
        self._call.write("CopyObject", lambda: self._bucket.copy_blob(blob, self._bucket, target))

    def remove(self, name: str) -> None:
        self._call.find("DeleteObject", lambda: self._bucket.blob(name).delete())

    @cached_property
    def _bucket(self) -> Any:
        from google.cloud import storage  # 0.2 s, which a plan without contents does not need

        return storage.Client(project=self._project, credentials=self._credentials).bucket(self._name)

    def _bytes(self, name: str) -> bytes:
        found: bytes = self._bucket.blob(name).download_as_bytes()
        return found


def mounted(uri: str) -> str:
    """Where a job of Vertex AI sees it: every bucket is mounted under ``/gcs`` (facts, containers.md §1.2)."""
    return "/gcs/" + uri.removeprefix("gs://")
