"""The workspace's default datastore, whose blobs hold the artifacts; a URI is ``azureml://datastores/…/paths/KEY``.

The workspace gives a signature for an hour; it is asked for again before it ends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from cloudml.errors import NotFound
from cloudml.spi import Caller
from cloudml_azureml.wire import Wire

STORE = "workspaceblobstore"
ROOT = f"azureml://datastores/{STORE}/paths/"
LONG = re.compile(
    r"azureml://subscriptions/[^/]+/resource[gG]roups/[^/]+/workspaces/[^/]+/datastores/([^/]+)/paths/(.*)"
)
HOURS = 1
EARLY = 600.0  # seconds before its end that a signature is renewed


class Blobs:
    """The container of the workspace's default datastore, as ``cloudml.objects.Bucket``."""

    root = ROOT

    def __init__(self, wire: Wire, caller: Caller) -> None:
        self._wire = wire
        self._call = caller
        self._opened: tuple[Any, str, float] | None = None  # container, signature, when it is to be renewed

    def names(self, prefix: str) -> Sequence[str]:
        return self._call.read("LIST blobs", lambda: sorted(self._container.list_blob_names(name_starts_with=prefix)))

    def read(self, name: str) -> bytes | None:
        return self._call.find("GET blob", lambda: self._bytes(name))

    def write(self, name: str, file: IO[bytes]) -> None:
        self._call.write(f"PUT blob {name}", lambda: self._upload(name, file))

    def copy(self, source: str, target: str) -> None:
        self._call.write(f"PUT blob {target}", lambda: self._copy(source, target))

    def remove(self, name: str) -> None:
        self._call.find("DELETE blob", lambda: self._container.delete_blob(name))

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
            _ = self._wire.about  # if there is no workspace, this says so
            raise NotFound(f"the workspace has no datastore {STORE}")
        account, name = store["properties"]["accountName"], store["properties"]["containerName"]
        asked = {"expirableSecret": True, "expireAfterHours": HOURS}
        secret = self._wire.read(f"datastores/{STORE}/listSecrets", asked)
        sas = secret.get("sasToken") or _signature(account, name, secret["key"])
        url = f"https://{account}.blob.core.windows.net"
        container = ContainerClient(url, name, credential=sas, retry_total=0)
        return container, sas, time.monotonic() + HOURS * 3600 - EARLY

    def _bytes(self, name: str) -> bytes:
        found: bytes = self._container.download_blob(name).readall()
        return found

    def _upload(self, name: str, file: IO[bytes]) -> None:
        file.seek(0)  # an attempt that was refused has read it
        self._container.upload_blob(name, file, overwrite=True)

    def _copy(self, source: str, target: str) -> None:
        """Through this process: the service copies only from what it reaches itself, which some networks refuse."""
        blob = self._container.download_blob(source)
        self._container.upload_blob(target, blob.chunks(), length=blob.size, overwrite=True)


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
