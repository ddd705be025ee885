"""What a custom job runs on Docker is the very image that was pushed to the emulated Artifact Registry."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2.service_account import Credentials

from cloudml.emulation.running import Running, start
from cloudml.errors import CloudmlError
from cloudml.images.daemon import connect
from cloudml.testing import emulated
from cloudml_vertex.emulator import emulator
from cloudml_vertex.emulator.cloud import LOCATION, PROJECT, REPOSITORY

API = f"https://{LOCATION}-aiplatform.googleapis.com/v1"
PLACE = f"projects/{PROJECT}/locations/{LOCATION}"
IMAGE = f"{LOCATION}-docker.pkg.dev/{PROJECT}/{REPOSITORY}/trainer"
ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
DEADLINE = 120.0


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    try:
        client = connect()
    except CloudmlError as error:
        pytest.skip(f"{error}: {error.hint}")
    yield client
    client.close()


@pytest.fixture(scope="module")
def running(engine: Any) -> Iterator[Running]:
    with start([emulator], engine="docker") as made, emulated.environment(made.environment):
        yield made
    assert not [name for name in names(engine) if IMAGE in name], "what was pulled is gone"


@pytest.fixture(scope="module")
def session(running: Running) -> AuthorizedSession:
    scopes = ("https://www.googleapis.com/auth/cloud-platform",)
    file = running.environment["GOOGLE_APPLICATION_CREDENTIALS"]
    return AuthorizedSession(Credentials.from_service_account_file(file, scopes=scopes))  # type: ignore[no-untyped-call]


@pytest.fixture
def made(engine: Any) -> Iterator[list[str]]:
    """Images that this test makes; they go with it."""
    found: list[str] = []
    yield found
    for name in found:
        engine.images.remove(name, force=True)


def names(engine: Any) -> list[str]:
    return [name for each in engine.images.list() for name in [*each.tags, *each.attrs["RepoDigests"]]]


SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"")
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b'{"predictions": ["WORD"]}')
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("", 8080), Handler).serve_forever()
"""


def build(engine: Any, made: list[str], nonce: str, entry: str = '["cat", "/word"]') -> str:
    """An image that says a word, by itself."""
    base = os.environ.get("CLOUDML_IMAGE_BASE") or "cloudml-base:bookworm"
    lines = f"FROM {base}\nRUN echo {nonce} > /word\nENTRYPOINT {entry}\n"
    name = f"cloudml-test:{nonce}"
    engine.images.build(fileobj=io.BytesIO(lines.encode()), tag=name, rm=True)
    made.append(name)
    return name


def push(session: AuthorizedSession, name: str, folder: Path) -> None:
    session.credentials.refresh(Request())
    options = ("--username", "oauth2accesstoken", "--password-stdin")
    command = [sys.executable, "-m", "cloudml", "image", "push", name, f"{IMAGE}:1", *options]
    env = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    word = str(session.credentials.token)
    done = subprocess.run(command, input=word, capture_output=True, text=True, timeout=DEADLINE, env=env)
    assert done.returncode == 0, done.stderr


def ended(session: AuthorizedSession, image: str) -> dict[str, Any]:
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": "1", "containerSpec": {"imageUri": image}}
    body = {"displayName": "pushed", "jobSpec": {"workerPoolSpecs": [pool]}}
    found: dict[str, Any] = session.post(f"{API}/{PLACE}/customJobs", json=body).json()
    deadline = time.monotonic() + DEADLINE
    while found["state"] not in ENDED:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
        found = session.get(f"{API}/{found['name']}").json()
    return found


def said(session: AuthorizedSession, job: dict[str, Any]) -> list[str]:
    text = f'resource.labels.job_id="{job["name"].rpartition("/")[2]}"'
    body = {"resourceNames": [f"projects/{PROJECT}"], "filter": text}
    found = session.post("https://logging.googleapis.com/v2/entries:list", json=body).json()
    return [each["textPayload"] for each in found["entries"]]


def test_a_job_runs_what_was_pushed(engine: Any, session: AuthorizedSession, made: list[str], tmp_path: Path) -> None:
    """A tag that is pushed again is another image to the next job."""
    for nonce in (uuid.uuid4().hex, uuid.uuid4().hex):
        push(session, build(engine, made, nonce), tmp_path)
        job = ended(session, f"{IMAGE}:1")
        assert job["state"] == "JOB_STATE_SUCCEEDED", job.get("error")
        assert said(session, job) == [nonce]


def test_what_nobody_pushed_is_not_run(engine: Any, session: AuthorizedSession, made: list[str]) -> None:
    """Though this machine's engine has an image, Vertex AI would not."""
    here = build(engine, made, uuid.uuid4().hex)
    for image in (f"{IMAGE}:nobody", f"{IMAGE.replace(REPOSITORY, 'other')}:1"):
        job = ended(session, image)
        assert job["state"] == "JOB_STATE_FAILED", here
        assert f"Failed to pull image '{image}'" in job["error"]["message"]


def test_an_endpoint_serves_what_was_pushed(
    engine: Any, session: AuthorizedSession, made: list[str], tmp_path: Path
) -> None:
    nonce = uuid.uuid4().hex
    entry = json.dumps(["python3", "-c", SERVER.replace("WORD", nonce)])
    push(session, build(engine, made, nonce, entry), tmp_path)
    model = {"displayName": "m", "containerSpec": {"imageUri": f"{IMAGE}:1"}}
    session.post(f"{API}/{PLACE}/models:upload", json={"model": model, "modelId": nonce})
    session.post(f"{API}/{PLACE}/endpoints?endpointId=e-1", json={"displayName": "e"})
    resources = {"machineSpec": {"machineType": "n1-standard-4"}, "minReplicaCount": 1}
    deployed = {"model": f"{PLACE}/models/{nonce}", "dedicatedResources": resources}
    body = {"deployedModel": deployed, "trafficSplit": {"0": 100}}
    operation = session.post(f"{API}/{PLACE}/endpoints/e-1:deployModel", json=body).json()
    deadline = time.monotonic() + DEADLINE
    while not operation.get("done"):
        assert time.monotonic() < deadline, operation
        time.sleep(0.1)
        operation = session.get(f"{API}/{operation['name']}").json()
    assert "error" not in operation, operation
    found = session.post(f"{API}/{PLACE}/endpoints/e-1:predict", json={"instances": [[1]]}).json()
    assert found["predictions"] == [nonce]
