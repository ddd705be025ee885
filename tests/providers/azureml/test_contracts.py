"""The contracts that every provider keeps, on the emulated Azure ML."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from azure_account import Emulated

from cloudml.specs import TrainingJob
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import (
    CapabilitiesContract,
    EndpointsContract,
    JobsContract,
    ModelsContract,
    MonitorsContract,
    Rig,
    rig_of,
)
from cloudml.testing.conformance.faults import disturbed
from cloudml.testing.conformance.kills import LEAST, POINTS, walked
from cloudml.testing.conformance.scenarios import SCENARIOS
from cloudml_azureml.plugin import Config, plugin

TRAIN = "open('{model_dir}/model.py', 'w').write('class Model: pass'); print('trained')"
MODEL = """
{top}
class Model:
    def predict(self, rows):
        return [{answer} for _ in rows]

def load(folder):
    return Model()
"""
KILLED = ("job-run", "job-cancelled", "model-registered", "alias-moved", "endpoint-created")
LOST = ("job-run", "model-registered", "endpoint-created")


def python_model(folder: Path, answer: str, top: str = "") -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(MODEL.format(answer=answer, top=top))
    return folder


@pytest.fixture
def rig(emulated: Emulated, tmp_path: Path) -> Iterator[Rig]:
    """Each world is a subscription of its own."""
    with emulation.environment(emulated.up.environment):
        yield rig_of(
            replace(plugin, pace=0.05),
            lambda: Config(subscription=str(uuid.uuid4())),
            job=TrainingJob(command=("python", "-c", TRAIN)),
            failing=TrainingJob(command=("python", "-c", "raise SystemExit(1)")),
            slow=TrainingJob(command=("python", "-c", "import time; print('begun', flush=True); time.sleep(1)")),
            models=(python_model(tmp_path / "one", "1"), python_model(tmp_path / "two", "2")),
            broken=python_model(tmp_path / "broken", "0", "raise RuntimeError('it does not load')"),
            request=b'{"instances": [[1, 2]]}',
            timeout=120.0,
        )


class TestCapabilities(CapabilitiesContract):
    pass


class TestJobs(JobsContract):
    pass


class TestModels(ModelsContract):
    pass


class TestEndpoints(EndpointsContract):
    pass


class TestMonitors(MonitorsContract):
    pass


@pytest.mark.parametrize("name", KILLED)
def test_a_kill_at_any_point_changes_nothing(
    rig: Rig, name: str, record_property: Callable[[str, object], None]
) -> None:
    number = walked(rig, SCENARIOS[name])
    record_property(POINTS, number)
    assert number >= LEAST


@pytest.mark.parametrize("name", LOST)
def test_an_answer_that_is_lost_makes_nothing_twice(rig: Rig, name: str) -> None:
    assert disturbed(rig, SCENARIOS[name], "taken ") >= 1
