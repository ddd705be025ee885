"""The contracts that every provider keeps, on an emulated AWS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sagemaker_things import python_model

from cloudml.specs import TrainingJob
from cloudml.testing.conformance import (
    CapabilitiesContract,
    EndpointsContract,
    FaultsContract,
    JobsContract,
    KillsContract,
    ModelsContract,
    MonitorsContract,
    Rig,
    rig_of,
)
from cloudml_sagemaker.plugin import Config, plugin

TRAIN = "open('{model_dir}/model.py', 'w').write('class Model: pass'); print('trained')"


@pytest.fixture
def rig(place: Callable[[], Config], tmp_path: Path) -> Rig:
    models = [
        python_model(tmp_path / name, expression, top)
        for name, expression, top in (
            ("one", "1", ""),
            ("two", "2", ""),
            ("broken", "0", "raise RuntimeError('it does not load')"),
        )
    ]
    return rig_of(
        replace(plugin, pace=0.05),
        place,
        job=TrainingJob(command=("python", "-c", TRAIN)),
        failing=TrainingJob(command=("python", "-c", "raise SystemExit(1)")),
        slow=TrainingJob(command=("python", "-c", "import time; print('begun', flush=True); time.sleep(1)")),
        models=(models[0], models[1]),
        broken=models[2],
        request=b'{"instances": [[1, 2]]}',
    )


class TestJobs(JobsContract):
    pass


class TestModels(ModelsContract):
    pass


class TestEndpoints(EndpointsContract):
    pass


class TestMonitors(MonitorsContract):
    pass


class TestCapabilities(CapabilitiesContract):
    pass


class TestFaults(FaultsContract):
    pass


class TestKills(KillsContract):
    pass
