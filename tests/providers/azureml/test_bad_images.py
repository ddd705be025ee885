"""Images that cannot be pulled, for jobs and for servers, on both engines: which one, and what to do about it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_account import Emulated
from cli_told import SERVED, CommandLine

from cloudml.errors import CloudmlError
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model

line = CommandLine("azureml")
IMAGE = "registry.example/nobody-made-this:1"
SERVER = SERVED.replace("{model: fraud}", f"{{model: fraud, image: '{IMAGE}'}}")
JOB = f'jobs: {{train: {{command: "true", image: "{IMAGE}"}}}}'


@pytest.fixture(scope="module")
def containers() -> Iterator[Emulated]:
    """An Azure ML whose containers are Docker's."""
    from cloudml.images.daemon import connect

    try:
        connect().close()
    except CloudmlError as error:
        pytest.skip(f"{error}: {error.hint}")
    made = Emulated(engine="docker")
    yield made
    made.up.close()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a model."""
    monkeypatch.chdir(tmp_path)
    python_model(tmp_path / "model", "1")


def told(emulated: Emulated, file: str) -> str:
    with emulation.environment({**emulated.up.environment, "CLOUDML_AZUREML_SUBSCRIPTION": str(uuid.uuid4())}):
        return line.told(6, file=file)


def test_a_server_s_image_as_a_process(emulated: Emulated) -> None:
    said = told(emulated, SERVER)
    assert f"The user container image could not be downloaded: image '{IMAGE}' cannot run as a process" in said
    assert "use the cloudml-serve image, or emulate with --engine docker" in said
    assert "last lines" not in said.lower()


def test_a_server_s_image_on_docker(containers: Emulated) -> None:
    said = told(containers, SERVER)
    assert f"The user container image could not be downloaded: image '{IMAGE}' is not there" in said
    assert f"--image {IMAGE}=LOCAL" in said


def test_a_job_s_image_on_docker(containers: Emulated) -> None:
    said = told(containers, JOB)
    assert "job shop-train-" in said
    assert f"The environment's image could not be pulled: image '{IMAGE}' is not there" in said
    assert f"--image {IMAGE}=LOCAL" in said
