"""Cloud Storage by its JSON API, as every container on Vertex may use it: with the token of the metadata server.

``STORAGE_EMULATOR_HOST`` and ``GCE_METADATA_HOST`` lead elsewhere, as Google's own clients have it. Standard library.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

TIMEOUT = 60.0  # seconds without a byte
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"  # a path, no secret
EARLY = 60.0  # seconds before its end that a token is renewed
ATTEMPTS = 4
BUSY = (429, 500, 502, 503, 504)


class Bucket:
    """One bucket. A request is tried four times while the service is busy; then OSError says what it answered."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        host = env.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
        self.name = name
        self._host = (host if "://" in host else f"http://{host}").rstrip("/")
        self._metadata = env.get("GCE_METADATA_HOST") or "metadata.google.internal"
        self._token: tuple[str | None, float] = (None, 0.0)
        self._sleep: Callable[[float], None] = time.sleep

    def items(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """``name`` and ``md5Hash`` of each object whose name begins so."""
        query = {"prefix": prefix, "fields": "items(name,md5Hash),nextPageToken"}
        while True:
            with self._asked(f"/storage/v1/b/{self.name}/o?{urllib.parse.urlencode(query)}") as answer:
                page = json.load(answer)
            yield from page.get("items", ())
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def open(self, name: str) -> Any:
        """An object's bytes, as a stream."""
        return self._asked(f"/storage/v1/b/{self.name}/o/{_quoted(name)}?alt=media")

    def store(self, name: str, body: bytes) -> None:
        """An object, whole or not at all."""
        with self._asked(f"/upload/storage/v1/b/{self.name}/o?uploadType=media&name={_quoted(name)}", body):
            return

    def _asked(self, path: str, body: bytes | None = None) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                headers = {"Content-Type": "application/octet-stream", **self._authorization()}
                return urllib.request.urlopen(urllib.request.Request(self._host + path, body, headers), timeout=TIMEOUT)
            except urllib.error.HTTPError as error:
                said = error.read(500).decode(errors="replace")
                if attempt == ATTEMPTS or error.code not in BUSY:
                    raise OSError(f"{path.partition('?')[0]}: {error.code} {said}") from error
            except OSError:
                if attempt == ATTEMPTS:
                    raise
            self._sleep(0.2 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _authorization(self) -> dict[str, str]:
        """This machine's own identity; none where there is no metadata server."""
        token, until = self._token
        if time.monotonic() >= until:
            token, until = self._token = self._identity()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _identity(self) -> tuple[str | None, float]:
        asked = urllib.request.Request(f"http://{self._metadata}{TOKEN}", headers={"Metadata-Flavor": "Google"})
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                found = json.load(answer)
            return str(found["access_token"]), time.monotonic() + float(found.get("expires_in", 0)) - EARLY
        except (OSError, ValueError, KeyError):
            return None, time.monotonic() + EARLY


class Mirror:
    """Stores the files of a folder under a ``gs://`` URI, again whenever they have grown, from a thread of its own."""

    def __init__(self, folder: Path, uri: str, env: Mapping[str, str], say: Callable[[str], object]) -> None:
        bucket, _, self._prefix = uri.removeprefix("gs://").rstrip("/").partition("/")
        self._bucket = Bucket(bucket, env)
        self._folder = folder
        self._say = say
        self._sizes: dict[str, int] = {}
        self._failed = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cloudml-mirror", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 10.0) -> None:
        """Store what is left. Returns after ``timeout`` seconds at the latest."""
        self._stop.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(PERIOD)
            for path in sorted(self._folder.glob("*.jsonl")):
                self._store(path)

    def _store(self, path: Path) -> None:
        """What cannot be stored now is tried again; it is said once."""
        try:
            body = path.read_bytes()
            if len(body) != self._sizes.get(path.name):
                self._bucket.store(f"{self._prefix}/{path.name}", body)
                self._sizes[path.name] = len(body)
                self._failed = ""
        except FileNotFoundError:  # removed to make room
            return
        except OSError as error:
            if str(error) != self._failed:
                self._failed = str(error)
                self._say(f"captured requests are not stored: {error}")


PERIOD = 0.5  # seconds between two looks at the folder


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
