"""Pushing to a real registry, and pulling from it what this machine does not have any more."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, ME, Images

from cloudml.errors import NotFound, Unauthenticated
from cloudml.images.daemon import OfEngine
from cloudml.images.pushing import Pushed, push


@pytest.fixture
def send(registry: str, engine: Any, tmp_path: Path) -> Callable[..., Pushed]:
    def pushed(name: str, login: tuple[str, str] | None = ME, tag: str = "1") -> Pushed:
        image = OfEngine.get(name, engine)
        place = f"{registry}/team/fraud:{tag}"
        return push(image, place, lambda _: None, lambda _: login, lambda _: None, cache=tmp_path / "layers.json")

    return pushed


def test_what_was_pushed_is_pulled_cold_and_runs(
    images: Images, model: Path, nonce: str, send: Callable[..., Pushed], engine: Any, tmp_path: Path
) -> None:
    built = images.build(model)
    pushed = send(built.name)
    again = send(built.name, tag="2")
    assert pushed.uploaded > 1 << 20
    assert (again.uploaded, again.digest) == (0, pushed.digest)
    (model / "nonce").write_text("another")
    assert 0 < send(images.build(model).name, tag="3").uploaded < 20_000  # the model's layer, and what describes it
    images.made.remove(built.name)
    engine.images.remove(built.id, force=True)
    login = dict(zip(("username", "password"), ME, strict=True))
    pulled = engine.images.pull(pushed.reference, auth_config=login)
    try:
        assert pulled.id == built.id
        assert pulled.attrs["RepoDigests"] == [pushed.reference]
        (tmp_path / "rows.csv").write_text("1,2\n")
        mounts = {str(tmp_path): {"bind": "/rows", "mode": "rw"}}
        command = ["batch", "--input", "/rows/rows.csv", "--output", "/rows/out.csv"]
        engine.containers.run(pulled.id, command, remove=True, volumes=mounts)
        assert (tmp_path / "out.csv").read_text() == f"{nonce} 3.0\n"
    finally:
        engine.images.remove(pulled.id, force=True)


@pytest.fixture
def small(engine: Any, nonce: str, tmp_path: Path) -> Iterator[str]:
    """An image of one file: what a registry says does not depend on what is in it."""
    (tmp_path / "file").write_text(nonce)
    name = f"cloudml-test:{nonce}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(tmp_path / "file", "file")
    engine.api.import_image_from_data(packed.getvalue(), repository="cloudml-test", tag=nonce)
    yield name
    engine.images.remove(name, force=True)


def test_a_machine_that_remembers_nothing_finds_the_layers_there(
    small: str, send: Callable[..., Pushed], tmp_path: Path
) -> None:
    first = send(small)
    (tmp_path / "layers.json").unlink()
    again = send(small, tag="2")
    assert first.uploaded > 0
    assert (again.uploaded, again.digest) == (0, first.digest)


@pytest.mark.parametrize("login", [None, ("me", "wrong")])
def test_a_wrong_password_is_said(login: tuple[str, str] | None, small: str, send: Callable[..., Pushed]) -> None:
    with pytest.raises(Unauthenticated, match="401"):
        send(small, login)


def test_an_image_that_is_not_there_is_said(engine: Any) -> None:
    with pytest.raises(NotFound, match="there is no image no-such-image"):
        OfEngine.get("no-such-image:1", engine)


def test_the_command_line_pushes(small: str, registry: str, tmp_path: Path) -> None:
    def pushed(password: str) -> subprocess.CompletedProcess[str]:
        options = ("--username", "me", "--password-stdin")
        command = [sys.executable, "-m", "cloudml", "image", "push", small, f"{registry}/team/fraud:1", *options]
        env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.run(command, input=password, capture_output=True, text=True, timeout=DEADLINE, env=env)

    done = pushed("secret\n")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{registry}/team/fraud@sha256:[0-9a-f]{{64}}\n", done.stdout)
    assert "secret" not in done.stdout + done.stderr
    refused = pushed("not it\n")
    assert refused.returncode == 4
    assert "docker login" in refused.stderr


def test_the_command_line_builds(images: Images, model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloudml", "image", "build", str(model), "-o", "json"]
    env = {**os.environ, "CLOUDML_IMAGE_BASE": images.base}
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    images.made.add(document["image"])
    assert re.fullmatch(r"cloudml-serve:[0-9a-f]{12}", document["image"])
    assert document["id"] == images.engine.images.get(document["image"]).id
