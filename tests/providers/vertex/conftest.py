"""An emulated Vertex AI for all tests of a session, and a rig of the contracts in a project of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudml.emulation.running import Running, start
from cloudml.specs import TrainingJob
from cloudml.testing import emulated
from cloudml.testing.conformance import Rig, rig_of
from cloudml_vertex.emulator import emulator
from cloudml_vertex.plugin import Config, plugin

TRAIN = "open('{model_dir}/model.py', 'w').write('class Model: pass'); print('trained')"
MODEL = """
{top}
class Model:
    def predict(self, rows):
        return [{answer} for _ in rows]

def load(folder):
    return Model()
"""
NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with start([emulator]) as made, emulated.environment(made.environment):
        yield made


@pytest.fixture
def bucket(running: Running) -> str:
    """The name of a new bucket, which is a project of its own too."""
    return new_bucket()


def new_bucket() -> str:
    from google.cloud import storage

    name = f"shop-{os.getpid()}-{next(NUMBERS)}"
    storage.Client(project=name).create_bucket(name)
    return name


def python_model(folder: Path, answer: str, top: str = "") -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(MODEL.format(answer=answer, top=top))
    return folder


@pytest.fixture(params=["grpc"])
def rig(running: Running, tmp_path: Path, request: Any) -> Rig:
    def empty() -> Config:
        name = new_bucket()
        return Config(project=name, bucket=name, transport=request.param)

    return rig_of(
        replace(plugin, pace=0.05),
        empty,
        job=TrainingJob(command=("python", "-c", TRAIN)),
        failing=TrainingJob(command=("python", "-c", "raise SystemExit(1)")),
        slow=TrainingJob(command=("python", "-c", "import time; print('begun', flush=True); time.sleep(1)")),
        models=(python_model(tmp_path / "one", "1"), python_model(tmp_path / "two", "2")),
        broken=python_model(tmp_path / "broken", "0", "raise RuntimeError('it does not load')"),
        request=b'{"instances": [[1, 2]]}',
        timeout=120.0,
    )
