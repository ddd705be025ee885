"""The storage account: a real Azurite, and the few blob requests that the emulator itself makes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import http.client
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from cloudml.errors import MissingExtra, Unavailable
from cloudml_azureml.emulator.store import ACCOUNT

READY = 120.0  # seconds until it must listen
VERSION = "2021-08-06"
PARENT = "process.stdin.on('end', () => process.exit(0)); process.stdin.resume()"  # it ends with whoever started it
HOW = "install it with 'npm install -g azurite@3' (Node 20 or newer), or name it in CLOUDML_AZURITE"


def azurite() -> Path:
    """The program of Azurite's blob service. Raises MissingExtra with what to do."""
    named = os.environ.get("CLOUDML_AZURITE")
    found = shutil.which(named) if named else shutil.which("azurite-blob")
    if not found:
        raise MissingExtra(f"{named}: no such program" if named else "Azurite was not found", hint=HOW)
    if not shutil.which("node"):
        raise MissingExtra("Azurite needs Node, which was not found", hint=HOW)
    return Path(found).resolve()


class Storage:
    """Azurite as the storage account; ``port`` answers plain HTTP for ``<account>.blob.core.windows.net``."""

    def __init__(self, folder: Path) -> None:
        self.key = base64.b64encode(secrets.token_bytes(64)).decode()
        self._log = folder / "azurite.log"
        command = ["node", "--require", _watcher(folder), str(azurite()), "--blobHost", "127.0.0.1", "--blobPort", "0"]
        command += ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )
        self.port = 0
        self._idle: list[http.client.HTTPConnection] = []

    def ready(self) -> None:
        """Waits until it listens. Raises Unavailable with its last words."""
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline and self._process.poll() is None:
            said = self._log.read_text(errors="replace")
            if found := re.search(r"successfully listens on http://127\.0\.0\.1:(\d+)", said):
                self.port = int(found[1])
                return
            time.sleep(0.02)
        self.close()
        said = self._log.read_text(errors="replace")[-2000:].strip()
        raise Unavailable(f"Azurite did not start: {said or 'it said nothing'}", hint=HOW)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        if self._process.stdin:
            self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # Signatures, as in "Create a service SAS" and "Create an account SAS" of the Azure Storage documentation.

    def signature(self, container: str, permissions: str = "racwdl", hours: float = 1.0) -> str:
        """A service SAS for a container."""
        expiry = _moment(hours)
        place = f"/blob/{ACCOUNT}/{container}"
        fields = (permissions, "", expiry, place, "", "", "https,http", "2019-12-12", "c", "", "", "", "", "", "")
        query = {"sv": "2019-12-12", "se": expiry, "sr": "c", "sp": permissions, "spr": "https,http"}
        return urlencode({**query, "sig": self._sign("\n".join(fields))})

    def _own(self) -> str:
        """An account SAS for the emulator's own requests."""
        expiry = _moment(1)
        fields = (ACCOUNT, "rwdlac", "b", "co", "", expiry, "", "https,http", "2019-12-12", "")
        query = {"sv": "2019-12-12", "ss": "b", "srt": "co", "sp": "rwdlac", "se": expiry, "spr": "https,http"}
        return urlencode({**query, "sig": self._sign("\n".join(fields))})

    def _sign(self, text: str) -> str:
        made = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(made).decode()

    def url(self, container: str, blob: str = "") -> str:
        return f"https://{ACCOUNT}.blob.core.windows.net/{container}" + (f"/{quote(blob)}" if blob else "")

    # Requests.

    def _request(
        self, method: str, path: str, query: str = "", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        target = f"/{ACCOUNT}/{quote(path)}?{query}{'&' if query else ''}{self._own()}"
        told = {"x-ms-version": VERSION, **(headers or {})}
        while True:
            connection, fresh = self._connection()
            try:
                connection.request(method, target, body, told)
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                if fresh:
                    raise
                continue  # it had been idle for too long
            self._idle.append(connection)
            return response.status, data

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """One that is idle, or a fresh one."""
        try:
            return self._idle.pop(), False
        except IndexError:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60), True

    def create(self, container: str) -> None:
        self._request("PUT", container, "restype=container")

    def put(self, container: str, blob: str, data: bytes) -> None:
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        status, said = self._request("PUT", f"{container}/{blob}", "", data, headers)
        if status != 201:
            raise Unavailable(f"blob {container}/{blob}: {status} {said[:200]!r}")

    def append(self, container: str, blob: str, data: bytes) -> None:
        """Adds to an append blob, which is made if it is not there."""
        path = f"{container}/{blob}"
        headers = {"Content-Type": "application/octet-stream"}
        status, said = self._request("PUT", path, "comp=appendblock", data, headers)
        if status == 404:
            self._request("PUT", path, "", b"", {"x-ms-blob-type": "AppendBlob", "If-None-Match": "*"})
            status, said = self._request("PUT", path, "comp=appendblock", data, headers)
        if status != 201:
            raise Unavailable(f"blob {path}: {status} {said[:200]!r}")

    def read(self, container: str, blob: str) -> bytes | None:
        status, data = self._request("GET", f"{container}/{blob}")
        return data if status == 200 else None

    def names(self, container: str, prefix: str) -> Iterator[str]:
        marker = ""
        while True:
            query = urlencode({"restype": "container", "comp": "list", "prefix": prefix, "marker": marker})
            status, data = self._request("GET", container, query)
            if status != 200:
                return
            text = data.decode()
            yield from (html.unescape(name) for name in re.findall(r"<Blob><Name>(.*?)</Name>", text))
            more = re.search(r"<NextMarker>(.+?)</NextMarker>", text)
            if more is None:
                return
            marker = html.unescape(more[1])

    def download(self, container: str, prefix: str, target: Path) -> list[Path]:
        """The blob of this name as the file ``target``, or all below it as a folder; what was written."""
        data = self.read(container, prefix.rstrip("/")) if prefix and not prefix.endswith("/") else None
        if data is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            return [target]
        head = f"{prefix.rstrip('/')}/" if prefix else ""
        written = []
        for name in self.names(container, head):
            place = target / name[len(head) :]
            if not place.resolve().is_relative_to(target.resolve()):
                continue  # a blob's name may hold ".."
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self.read(container, name) or b"")
            written.append(place)
        return written

    def upload(self, source: Path, container: str, prefix: str) -> None:
        """A file as the blob ``prefix``, or a folder's files below it."""
        if source.is_file():
            self.put(container, prefix.rstrip("/"), source.read_bytes())
            return
        for file in sorted(source.rglob("*")):
            if file.is_file():
                self.put(container, f"{prefix.rstrip('/')}/{file.relative_to(source).as_posix()}", file.read_bytes())


def _moment(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _watcher(folder: Path) -> str:
    file = folder / "parent.js"
    file.write_text(PARENT)
    return str(file)
