"""A model's files from where the platform says they are: ``gs://`` (Vertex leaves it to the container) or ``file://``.

Google's storage is read by its JSON API with the token of the metadata server, as every container on Vertex may;
``STORAGE_EMULATOR_HOST`` and ``GCE_METADATA_HOST`` lead elsewhere, as Google's own clients have it. Standard library.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cloudml.errors import ConfigError

AT_ONCE = 4
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 1 << 20
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"  # a path, no secret


def fetch(uri: str, folder: Path, env: Mapping[str, str] | None = None) -> Path:
    """The folder that holds the model's files; whole ones only. Raises ConfigError where they cannot be had."""
    scheme, _, place = uri.partition("://")
    if scheme == "file":
        return Path(place)
    if scheme != "gs" or not place:
        raise ConfigError(f"the model is at {uri}, and this image reads gs:// and file:// only", hint="mount the model")
    try:
        _Bucket.of(place, os.environ if env is None else env).copy_to(folder)
    except (OSError, ValueError) as error:  # urllib's errors are OSError
        raise ConfigError(f"the model at {uri} cannot be fetched: {error}") from error
    return folder


@dataclass(frozen=True)
class _Bucket:
    """One folder of one bucket."""

    name: str
    prefix: str
    host: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, place: str, env: Mapping[str, str]) -> _Bucket:
        bucket, _, prefix = place.partition("/")
        host = env.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
        host = host if "://" in host else f"http://{host}"
        return cls(bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else "", host.rstrip("/"), _token(env))

    def copy_to(self, folder: Path) -> None:
        found = [item for item in self._items() if not item["name"].endswith("/")]
        if not found:
            raise ValueError(f"there is nothing below {self.prefix or self.name}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda item: self._copy(item, folder), found))

    def _items(self) -> Iterator[Mapping[str, Any]]:
        query = {"prefix": self.prefix, "fields": "items(name,md5Hash),nextPageToken"}
        while True:
            with self._get(f"/storage/v1/b/{self.name}/o?{urllib.parse.urlencode(query)}") as answer:
                page = json.load(answer)
            yield from page.get("items", ())
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def _copy(self, item: Mapping[str, Any], folder: Path) -> None:
        relative = PurePosixPath(item["name"][len(self.prefix) :])
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"{item['name']} would leave the folder")
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.unfinished")
        total = hashlib.md5(usedforsecurity=False)
        name = urllib.parse.quote(item["name"], safe="")
        with self._get(f"/storage/v1/b/{self.name}/o/{name}?alt=media") as answer, open(unfinished, "wb") as file:
            while block := answer.read(BLOCK):
                total.update(block)
                file.write(block)
        if item.get("md5Hash") and base64.b64decode(item["md5Hash"]) != total.digest():
            raise ValueError(f"{item['name']} did not arrive whole")
        shutil.move(str(unfinished), str(target))

    def _get(self, path: str) -> Any:
        return urllib.request.urlopen(urllib.request.Request(self.host + path, headers=self.headers), timeout=TIMEOUT)


def _token(env: Mapping[str, str]) -> dict[str, str]:
    """The header of this machine's own identity; none where there is no metadata server."""
    host = env.get("GCE_METADATA_HOST") or "metadata.google.internal"
    asked = urllib.request.Request(f"http://{host}{TOKEN}", headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return {"Authorization": f"Bearer {json.load(answer)['access_token']}"}
    except (OSError, ValueError, KeyError):
        return {}
