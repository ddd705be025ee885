"""Rigs of the contracts, each in a project of its own, wherever the variables of this process lead."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cloudml.specs import TrainingJob
from cloudml.testing.conformance import Rig, rig_of
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


def new_bucket() -> str:
    from google.cloud import storage

    name = f"shop-{os.getpid()}-{next(NUMBERS)}"
    storage.Client(project=name).create_bucket(name)
    return name


def python_model(folder: Path, answer: str, top: str = "") -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(MODEL.format(answer=answer, top=top))
    return folder


def rig_over(transport: Literal["grpc", "rest"], folder: Path) -> Rig:
    def empty() -> Config:
        name = new_bucket()
        return Config(project=name, bucket=name, transport=transport)

    return rig_of(
        replace(plugin, pace=0.05),
        empty,
        job=TrainingJob(command=("python", "-c", TRAIN)),
        failing=TrainingJob(command=("python", "-c", "raise SystemExit(1)")),
        slow=TrainingJob(command=("python", "-c", "import time; print('begun', flush=True); time.sleep(1)")),
        models=(python_model(folder / "one", "1"), python_model(folder / "two", "2")),
        broken=python_model(folder / "broken", "0", "raise RuntimeError('it does not load')"),
        request=b'{"instances": [[1, 2]]}',
        timeout=120.0,
    )
