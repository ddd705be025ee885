"""What a server fetches from Cloud Storage before it loads, and stores there while it runs: plain HTTP and no SDK.

A serving container of Vertex AI is given a URI, not a mount (shared facts, containers.md §2.1), and the credentials of
its service account at the metadata server. Addresses are ``gs://bucket/key``.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from cloudml.errors import ConfigError

SCHEME = "gs://"
API = "https://storage.googleapis.com"
METADATA = "metadata.google.internal"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"
TIMEOUT = 60.0  # seconds of silence
EARLY = 60.0  # seconds before its end that a token is renewed
ATTEMPTS = 4
PERIOD = 1.0  # seconds between two looks at what was captured


class Bucket:
    """Reads and writes objects; every request is tried four times. Raises ConfigError with what the service said."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._metadata = env.get("GCE_METADATA_HOST") or METADATA
        self._token = ("", 0.0)

    def fetch_file(self, uri: str) -> bytes:
        bucket, key = _split(uri)
        return self._asked(f"{API}/storage/v1/b/{bucket}/o/{_quoted(key)}?alt=media")

    def fetch_folder(self, uri: str, folder: Path) -> None:
        """All objects under a URI, as files. Raises ConfigError if there are none, or if one would leave the folder."""
        bucket, key = _split(uri)
        names = list(self._names(bucket, f"{key}/"))
        if not names:
            raise ConfigError(f"there is nothing at {uri}")
        for name in names:
            relative = name[len(key) + 1 :]
            if not relative or relative.endswith("/"):
                continue  # what consoles make for a folder
            if any(part in ("", ".", "..") for part in relative.split("/")):
                raise ConfigError(f"{SCHEME}{bucket}/{name} would leave its folder")
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._asked(f"{API}/storage/v1/b/{bucket}/o/{_quoted(name)}?alt=media"))

    def store(self, uri: str, body: bytes) -> None:
        bucket, key = _split(uri)
        address = f"{API}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={_quoted(key)}"
        self._asked(address, body)

    def _names(self, bucket: str, prefix: str) -> Iterator[str]:
        page = ""
        while True:
            query = urllib.parse.urlencode({"prefix": prefix, **({"pageToken": page} if page else {})})
            found = json.loads(self._asked(f"{API}/storage/v1/b/{bucket}/o?{query}"))
            yield from (item["name"] for item in found.get("items", ()))
            page = found.get("nextPageToken", "")
            if not page:
                return

    def _asked(self, address: str, body: bytes | None = None) -> bytes:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                headers = {"authorization": f"Bearer {self._bearer()}", "content-type": "application/octet-stream"}
                return _answer(address, headers, body)
            except urllib.error.HTTPError as error:
                said = error.read(500).decode(errors="replace")
                if attempt == ATTEMPTS or (error.code < 500 and error.code != 429):
                    raise ConfigError(f"{_shown(address)}: {error.code} {said}") from error
            except OSError as error:
                if attempt == ATTEMPTS:
                    raise ConfigError(f"{_shown(address)}: {error}") from error
            time.sleep(0.2 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _bearer(self) -> str:
        token, until = self._token
        if time.monotonic() > until:
            found = json.loads(_answer(f"http://{self._metadata}{TOKEN}", {"Metadata-Flavor": "Google"}))
            token = str(found["access_token"])
            self._token = token, time.monotonic() + float(found.get("expires_in", 0)) - EARLY
        return token


class Mirror:
    """Stores the files of a folder under a URI, again whenever they have grown, from one thread of its own."""

    def __init__(self, folder: Path, uri: str, bucket: Bucket, period: float = PERIOD) -> None:
        self._folder = folder
        self._uri = uri.rstrip("/")
        self._bucket = bucket
        self._period = period
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
            stopping = self._stop.wait(self._period)
            for path in sorted(self._folder.glob("*.jsonl")):
                self._store(path)

    def _store(self, path: Path) -> None:
        """What cannot be stored now is tried again; it is said once."""
        try:
            body = path.read_bytes()
            if len(body) == self._sizes.get(path.name):
                return
            self._bucket.store(f"{self._uri}/{path.name}", body)
            self._sizes[path.name] = len(body)
            self._failed = ""
        except FileNotFoundError:  # removed to make room
            return
        except ConfigError as error:
            if str(error) != self._failed:
                self._failed = str(error)
                os.write(2, f"cloudml: captured requests are not stored: {error}\n".encode())


def _answer(address: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
    request = urllib.request.Request(address, body, dict(headers))
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        content: bytes = answer.read()
    return content


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not bucket or not key:
        raise ConfigError(f"{uri!r} is not gs://bucket/key")
    return bucket, key.rstrip("/")


def _quoted(key: str) -> str:
    return urllib.parse.quote(key, safe="")


def _shown(address: str) -> str:
    return address.partition("?")[0]
