"""Jobs and models that need Python alone, and a rig of them for whatever runs a command and serves a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudml.specs import TrainingJob
from cloudml.spi import Plugin
from cloudml.testing.conformance.rig import Rig, rig_of

TRAIN = "open('{model_dir}/model.py', 'w').write('class Model: pass'); print('trained')"
FAIL = "raise SystemExit(1)"
WAIT = "import time; print('begun', flush=True); time.sleep(3)"
BREAK = "raise RuntimeError('it does not load')"
MODEL = """
{top}
class Model:
    def predict(self, rows):
        return [{answer} for _ in rows]

def load(folder):
    return Model()
"""


def python_model(folder: Path, answer: str, top: str = "") -> Path:
    """A model that gives one answer, a Python expression, to every row; ``top`` runs when it is loaded."""
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(MODEL.format(answer=answer, top=top))
    return folder


def python_job(program: str) -> TrainingJob:
    return TrainingJob(command=("python", "-c", program))


def python_rig(plugin: Plugin, empty: Callable[[], Any], folder: Path, timeout: float = 120.0) -> Rig:
    """A rig as ``rig_of`` makes it, whose models are written to a folder; ``timeout`` in seconds of its clock."""
    return rig_of(
        plugin,
        empty,
        job=python_job(TRAIN),
        failing=python_job(FAIL),
        slow=python_job(WAIT),
        models=(python_model(folder / "one", "1"), python_model(folder / "two", "2")),
        broken=python_model(folder / "broken", "0", BREAK),
        request=b'{"instances": [[1, 2]]}',
        timeout=timeout,
    )
