"""Artifacts as blobs of the workspace's default datastore; a URI is ``azureml://datastores/…/paths/KEY``.

A folder is stored blob by blob, and an empty blob ``KEY.whole`` beside it says that all of them are there. The
workspace gives a signature for an hour; it is asked for again before it ends.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from cloudml import content
from cloudml.errors import Invalid, NotFound
from cloudml.spi import Caller
from cloudml_azureml.wire import Wire

STORE = "workspaceblobstore"
ROOT = f"azureml://datastores/{STORE}/paths/"
LONG = re.compile(
    r"azureml://subscriptions/[^/]+/resource[gG]roups/[^/]+/workspaces/[^/]+/datastores/([^/]+)/paths/(.*)"
)
WHOLE = ".whole"
CONTENT = 2  # slashes in <stack>/content/<digest>
HOURS = 1
EARLY = 600.0  # seconds before its end that a signature is renewed
WORKERS = 8


class Blobs:
    """The artifact store in the workspace's default datastore."""

    def __init__(self, wire: Wire, caller: Caller) -> None:
        self._wire = wire
        self._call = caller
        self._opened: tuple[Any, str, float] | None = None  # container, signature, when it is to be renewed

    def uri(self, key: str) -> str:
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise Invalid(f"{key!r} cannot be the key of an artifact")
        return ROOT + key

    def missing(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if not self._there(key)}

    def put(self, key: str, source: Path | bytes) -> str:
        """Raises Invalid for a source with links."""
        if isinstance(source, bytes):
            self._write(key, source)
        elif source.is_dir():
            self._put_folder(key, source)
        else:
            with open(source, "rb") as file:
                self._write(key, file)
        return self.uri(key)

    def open(self, uri: str) -> IO[bytes]:
        key = self.key(uri)
        found = self._call.find("GET blob", lambda: self._container.download_blob(key).readall())
        if found is None:
            raise NotFound(f"there is no file {uri}")
        return io.BytesIO(found)

    def list(self, prefix: str) -> Iterator[str]:
        key = self.key(prefix) if prefix.startswith("azureml:") else prefix
        return (ROOT + name for name in self._names(f"{key}/") if not name.endswith(WHOLE))

    def delete(self, uri: str) -> None:
        key = self.key(uri)
        for name in (*self._names(f"{key}/"), f"{key}{WHOLE}", key):
            self._call.find("DELETE blob", lambda name=name: self._container.delete_blob(name))  # type: ignore[misc]

    # -- beyond the waist --------------------------------------------------------------------------------------------

    def copy(self, source: str, target: str, folder: str, *files: tuple[str, str]) -> bool:
        """Copies a folder to one of that name in a target, and files beside it; False if there is nothing to copy."""
        start, end = self.key(source), self.key(target)
        names = self._names(f"{start}/")
        if not names:
            return False
        pairs = [(name, f"{end}/{folder}{name.removeprefix(start)}") for name in names if not name.endswith(WHOLE)]
        pairs += [(self.key(file), f"{end}/{name}") for file, name in files if self._there(self.key(file))]
        for old, new in pairs:
            self._call.write("PUT blob", lambda old=old, new=new: self._copy_one(old, new))  # type: ignore[misc]
        self._write(f"{end}{WHOLE}", b"")
        return True

    def folders(self, key: str) -> Sequence[tuple[str, str]]:
        """Name and URI of each whole folder directly under a key."""
        found = [name.removesuffix(WHOLE) for name in self._names(f"{key}/") if name.endswith(WHOLE)]
        return [(name.rpartition("/")[2], ROOT + name) for name in found if "/" not in name.removeprefix(f"{key}/")]

    def key(self, uri: str) -> str:
        """Raises Invalid for what is in another datastore."""
        uri = short(uri)
        if not uri.startswith(ROOT):
            raise Invalid(f"{uri} is not in the workspace's {STORE}")
        return uri.removeprefix(ROOT).rstrip("/")

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _container(self) -> Any:
        if self._opened is None or time.monotonic() > self._opened[2]:
            self._opened = self._open()
        return self._opened[0]

    def _open(self) -> tuple[Any, str, float]:
        from azure.storage.blob import ContainerClient  # 0.3 s

        store = self._wire.find(f"datastores/{STORE}")
        if store is None:
            raise NotFound(f"the workspace has no datastore {STORE}")
        account, name = store["properties"]["accountName"], store["properties"]["containerName"]
        asked = {"expirableSecret": True, "expireAfterHours": HOURS}
        secret = self._wire.read(f"datastores/{STORE}/listSecrets", asked)
        sas = secret.get("sasToken") or _signature(account, name, secret["key"])
        url = f"https://{account}.blob.core.windows.net"
        container = ContainerClient(url, name, credential=sas, retry_total=0)
        return container, sas, time.monotonic() + HOURS * 3600 - EARLY

    def _names(self, prefix: str) -> Sequence[str]:
        return self._call.read("LIST blobs", lambda: sorted(self._container.list_blob_names(name_starts_with=prefix)))

    def _there(self, key: str) -> bool:
        names = self._names(key)
        if "/content/" in key and key.count("/") == CONTENT:
            return f"{key}{WHOLE}" in names  # a folder named by its content: whole, or not there
        return key in names or any(name.startswith(f"{key}/") for name in names)

    def _put_folder(self, key: str, source: Path) -> None:
        try:
            found = list(content.files(source))
        except ValueError as error:
            raise Invalid(str(error)) from error

        def one(item: tuple[str, Path]) -> None:
            with open(item[1], "rb") as file:
                self._write(f"{key}/{item[0]}", file)

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(one, found))
        self._write(f"{key}{WHOLE}", b"")

    def _write(self, key: str, body: bytes | IO[bytes]) -> None:
        self._call.write("PUT blob", lambda: self._container.upload_blob(key, body, overwrite=True))

    def _copy_one(self, old: str, new: str) -> None:
        """Through this process: the service copies only from what it reaches itself, which some networks refuse."""
        blob = self._container.download_blob(old)
        self._container.upload_blob(new, blob.chunks(), length=blob.size, overwrite=True)


def short(uri: str) -> str:
    """The service shows a URI with its subscription; we write it without."""
    match = LONG.fullmatch(uri)
    return f"azureml://datastores/{match[1]}/paths/{match[2]}" if match else uri


def _signature(account: str, container: str, key: str) -> str:
    """The same as the service would give, from the account's key."""
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    allowed = ContainerSasPermissions(read=True, write=True, create=True, delete=True, list=True, add=True)
    until = datetime.now(UTC) + timedelta(hours=HOURS)
    signed: str = generate_container_sas(account, container, account_key=key, permission=allowed, expiry=until)
    return signed
