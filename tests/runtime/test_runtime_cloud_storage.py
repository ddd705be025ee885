"""Fetching a model from Cloud Storage and storing what was captured there, against a service in this process."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cloudml.errors import ConfigError
from cloudml.runtime import cloud_storage
from cloudml.runtime.cloud_storage import Bucket, Mirror


class Service(ThreadingHTTPServer):
    """The four requests that are asked, with two names to a page, and a metadata service."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.refusals = 0  # how many of the next requests are answered with 503
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        where = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(where.query))
        self.server.asked.append(where.path)
        if where.path == cloud_storage.TOKEN:
            assert self.headers["Metadata-Flavor"] == "Google"
            self._answer(200, json.dumps({"access_token": "t0k3n", "expires_in": 3600}).encode())
        elif self.server.refusals:
            self.server.refusals -= 1
            self._answer(503, b"busy")
        elif self.headers["Authorization"] != "Bearer t0k3n":
            self._answer(401, b"who are you?")
        elif query.get("alt") == "media":
            body = self.server.objects.get(urllib.parse.unquote(where.path.rpartition("/")[2]))
            self._answer(404 if body is None else 200, b"no such object" if body is None else body)
        else:
            self._answer(200, json.dumps(self._page(query)).encode())

    def do_POST(self) -> None:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[query["name"]] = body
        self._answer(200, b"{}")

    def _page(self, query: dict[str, str]) -> dict[str, object]:
        names = sorted(name for name in self.server.objects if name.startswith(query["prefix"]))
        start = int(query.get("pageToken", "0"))
        more = {"nextPageToken": str(start + 2)} if len(names) > start + 2 else {}
        return {"items": [{"name": name} for name in names[start : start + 2]], **more}

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setattr(cloud_storage, "API", f"http://127.0.0.1:{made.server_port}")
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def bucket(service: Service) -> Bucket:
    return Bucket({"GCE_METADATA_HOST": f"127.0.0.1:{service.server_port}"})


def test_a_folder_is_fetched_page_by_page_with_one_token(service: Service, bucket: Bucket, tmp_path: Path) -> None:
    service.objects = {f"shop/model/{name}": name.encode() for name in ("model.py", "a/b c.txt", "a/ü.bin", "z")}
    service.objects |= {"shop/model/": b"", "shop/models/other": b"no"}
    bucket.fetch_folder("gs://data/shop/model/", tmp_path)
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {name: name.encode() for name in ("model.py", "a/b c.txt", "a/ü.bin", "z")}
    assert service.asked.count(cloud_storage.TOKEN) == 1
    assert bucket.fetch_file("gs://data/shop/models/other") == b"no"


def test_what_would_leave_the_folder_is_refused(service: Service, bucket: Bucket, tmp_path: Path) -> None:
    service.objects = {"m/../../evil": b"x"}
    with pytest.raises(ConfigError, match="would leave its folder"):
        bucket.fetch_folder("gs://data/m", tmp_path / "model")
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("uri", ["s3://data/m", "gs://data", "gs://", "/local"])
def test_an_address_that_is_none_is_named(bucket: Bucket, uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not gs://bucket/key"):
        bucket.fetch_folder(uri, tmp_path)


def test_nothing_there_is_said(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing at gs://data/m"):
        bucket.fetch_folder("gs://data/m", tmp_path)
    with pytest.raises(ConfigError, match="404 no such object"):
        bucket.fetch_file("gs://data/m/model.py")


def test_a_busy_service_is_asked_again_and_a_dead_one_named(
    service: Service, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(cloud_storage.time, "sleep", pauses.append)
    service.objects, service.refusals = {"m": b"1"}, 3
    assert bucket.fetch_file("gs://data/m") == b"1"
    assert pauses == [0.4, 0.8, 1.6]
    service.refusals = 4
    with pytest.raises(ConfigError, match="503 busy"):
        bucket.fetch_file("gs://data/m")


def test_what_grows_is_stored_again_and_the_last_of_it_at_the_end(
    service: Service, bucket: Bucket, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path, "gs://data/captures/", bucket, period=0.01)
    file = tmp_path / "20261127T22-1.jsonl"
    file.write_bytes(b"1\n")
    deadline = time.monotonic() + 30
    while service.objects.get(f"captures/{file.name}") != b"1\n" and time.monotonic() < deadline:
        time.sleep(0.01)
    file.write_bytes(b"1\n2\n")
    mirror.close()
    assert service.objects == {f"captures/{file.name}": b"1\n2\n"}
