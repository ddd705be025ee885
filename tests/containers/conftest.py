"""A Docker engine, a base image and a registry for these tests. What they make is theirs and is removed by its id."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloudml.errors import CloudmlError
from cloudml.images import Built, build, recipe
from cloudml.images.daemon import connect

DEADLINE = 60.0
ME = ("me", "secret")
HTPASSWD = "me:$2y$05$aTwy66.HhYDAm8pB5kPF/u21hHl.KsyW3eFE.ve1g6RjAa8to3DqG\n"
MODEL = """
import os, subprocess
class Model:
    def __init__(self, folder):
        self.nonce = open(os.path.join(folder, "nonce")).read()
    def predict(self, rows):
        if rows[0][0] == 1313:  # an orphan, which whoever is the first process has to reap
            subprocess.run(["/bin/sh", "-c", "sleep 0.2 & exit 0"])
        return [f"{self.nonce} {sum(row)}" for row in rows]
"""


def until(done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := done()):
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    try:
        client = connect()
    except CloudmlError as error:
        pytest.skip(f"{error}: {error.hint}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def base(engine: Any) -> str:
    """The image to start from; CI makes one, for it can pull none."""
    name = os.environ.get("CLOUDML_IMAGE_BASE") or "cloudml-base:bookworm"
    if not engine.images.list(name):
        pytest.skip(f"there is no image {name}: CLOUDML_IMAGE_BASE names one with Python 3.11 and pip")
    return name


@pytest.fixture(scope="session")
def plain(engine: Any, base: str) -> Built:
    """The image without a model. It stays: removing it would take the layers that all others begin with."""
    return build(recipe(base), lambda _: None, client=engine)


@dataclass(frozen=True)
class Images:
    """Builds images with a model that answers with a nonce; all of them are removed at the end."""

    engine: Any
    base: str
    made: set[str]

    def build(self, model: Path, **more: Any) -> Built:
        built = build(recipe(self.base, model=model), lambda _: None, client=self.engine, **more)
        self.made.add(built.name)
        return built


@pytest.fixture
def images(engine: Any, base: str, plain: Built) -> Iterator[Images]:
    found = Images(engine, base, set())
    yield found
    for name in found.made:
        engine.images.remove(name, force=True)


@pytest.fixture
def nonce() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def model(tmp_path: Path, nonce: str) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    (folder / "nonce").write_text(nonce)
    return folder


@pytest.fixture
def start(engine: Any) -> Iterator[Callable[..., Any]]:
    """Starts containers as a platform would, without waiting; they are removed at the end."""
    started = []

    def run(image: str, *command: str, **more: Any) -> Any:
        port = more.pop("port", 8080)
        more["ports"] = {f"{port}/tcp": ("127.0.0.1", 0)}
        started.append(engine.containers.run(image, list(command) or None, detach=True, **more))
        return started[-1]

    yield run
    for container in started:
        for each in engine.containers.list(all=True, filters={"id": container.id}, ignore_removed=True):
            each.remove(force=True, v=True)  # unless it went with its network


@pytest.fixture
def network(engine: Any, start: Callable[..., Any], nonce: str) -> Iterator[Any]:
    """A network of the test's own, where containers know each other by name; its containers are removed before it."""
    made = engine.networks.create(f"cloudml-tests-{nonce[:12]}", labels={"cloudml-tests": nonce})
    yield made
    for container in engine.containers.list(all=True, filters={"network": made.name}, ignore_removed=True):
        container.remove(force=True, v=True)
    made.remove()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A real registry that wants a password; its ``host:port``."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("there is no docker-registry (Debian: apt install docker-registry)")
    place = tmp_path / "registry"
    place.mkdir()
    (place / "htpasswd").write_text(HTPASSWD)
    (place / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}/data}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n"
        f"auth: {{htpasswd: {{realm: basic, path: {place}/htpasswd}}}}\n"
    )
    log = place / "log"
    with open(log, "wb") as file:
        process = subprocess.Popen([program, "serve", str(place / "config.yml")], stdout=file, stderr=file)
    try:
        found = until(lambda: re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()))
        yield found[1]
    finally:
        process.terminate()
        process.wait(DEADLINE)
