"""A model that the platform leaves to the container to fetch, from a storage that answers as Google's does."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from cloudml.errors import ConfigError
from cloudml.runtime.cloud_storage import Bucket, Mirror
from cloudml.runtime.fetching import document, fetch

TOKEN = "of-this-machine"


class Storage(BaseHTTPRequestHandler):
    """Lists one object a page; wants the metadata server's token, which it is too."""

    objects: dict[str, bytes]
    broken = False
    busy = 0

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/computeMetadata/"):
            return self._answer({"access_token": TOKEN})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({}, 401)
        query = parse_qs(parts.query)
        if parts.path.endswith("/o"):
            return self._page(query)
        body = self.objects[unquote(parts.path.rpartition("/o/")[2])]
        self._send(200, body[:-1] if self.broken else body)

    def do_POST(self) -> None:
        """An upload; ``busy`` of them are refused first."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.busy:
            type(self).busy -= 1
            return self._answer({}, 503)
        self.objects[parse_qs(urlsplit(self.path).query)["name"][0]] = body
        self._answer({})

    def _page(self, query: dict[str, list[str]]) -> None:
        names = sorted(name for name in self.objects if name.startswith(query["prefix"][0]))
        at = int(query.get("pageToken", ["0"])[0])
        page: dict[str, Any] = {}
        if names:
            md5 = base64.b64encode(hashlib.md5(self.objects[names[at]], usedforsecurity=False).digest()).decode()
            page["items"] = [{"name": names[at], "md5Hash": md5}]
        if at + 1 < len(names):
            page["nextPageToken"] = str(at + 1)
        self._answer(page)

    def _answer(self, document: Any, status: int = 200) -> None:
        self._send(status, json.dumps(document).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def storage() -> Iterator[tuple[type[Storage], dict[str, str]]]:
    handler = type("Handler", (Storage,), {"objects": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    place = f"127.0.0.1:{server.server_port}"
    yield handler, {"STORAGE_EMULATOR_HOST": f"http://{place}", "GCE_METADATA_HOST": place}
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_file_arrives_at_its_place(storage: tuple[type[Storage], dict[str, str]], tmp_path: Path) -> None:
    handler, env = storage
    handler.objects = {"m/1/model.py": b"x = 1", "m/1/deep/a b.bin": bytes(3_000_000), "m/1/": b"", "m/10/other": b"no"}
    folder = fetch("gs://bucket/m/1", tmp_path / "model", env)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"model.py": b"x = 1", "deep/a b.bin": bytes(3_000_000)}


def test_what_does_not_arrive_whole_is_no_model(storage: tuple[type[Storage], dict[str, str]], tmp_path: Path) -> None:
    handler, env = storage
    handler.objects, handler.broken = {"m/model.py": b"x = 1"}, True
    with pytest.raises(ConfigError, match="did not arrive whole"):
        fetch("gs://bucket/m/", tmp_path / "model", env)


def test_a_name_that_leaves_the_folder_is_refused(
    storage: tuple[type[Storage], dict[str, str]], tmp_path: Path
) -> None:
    handler, env = storage
    handler.objects = {"m/../../out": b"x"}
    with pytest.raises(ConfigError, match="would leave the folder"):
        fetch("gs://bucket/m", tmp_path / "model", env)
    assert not (tmp_path.parent / "out").exists()


@pytest.mark.parametrize("uri", ["s3://bucket/m", "gs://", "gs://bucket/empty"])
def test_what_cannot_be_fetched_is_said(
    uri: str, storage: tuple[type[Storage], dict[str, str]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=uri):
        fetch(uri, tmp_path / "model", storage[1])


def test_a_document_is_read_and_one_that_is_not_there_is_none(storage: tuple[type[Storage], dict[str, str]]) -> None:
    handler, env = storage
    handler.objects = {"m/1.json": b'{"inputs": null}', "m/2.json": b"{"}
    assert document("gs://b/m/1.json", env) == {"inputs": None}
    assert document("gs://b/m/1", env) is None
    with pytest.raises(ConfigError, match=r"gs://b/m/2\.json cannot be read"):
        document("gs://b/m/2.json", env)


def test_a_busy_service_is_asked_again_and_then_named(storage: tuple[type[Storage], dict[str, str]]) -> None:
    handler, env = storage
    bucket, pauses = Bucket("b", env), list[float]()
    bucket._sleep = pauses.append
    handler.busy = 3
    bucket.store("a b", b"1")
    assert (handler.objects, pauses) == ({"a b": b"1"}, [0.4, 0.8, 1.6])
    handler.busy = 9
    with pytest.raises(OSError, match="503"):
        bucket.store("c", b"2")


def test_what_grows_is_stored_again_and_the_last_of_it_at_the_end(
    storage: tuple[type[Storage], dict[str, str]], tmp_path: Path
) -> None:
    handler, env = storage
    said: list[str] = []
    file = tmp_path / "20261127T22-1.jsonl"
    file.write_bytes(b"1\n")
    mirror = Mirror(tmp_path, "gs://b/captures/", env, said.append)
    deadline = time.monotonic() + 30
    while handler.objects.get(f"captures/{file.name}") != b"1\n" and time.monotonic() < deadline:
        time.sleep(0.01)
    file.write_bytes(b"1\n2\n")
    mirror.close()
    assert handler.objects == {f"captures/{file.name}": b"1\n2\n"}
    assert said == []
