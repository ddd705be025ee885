"""The contracts that every provider keeps, in folders of this cloud."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from cloudml_echo.plugin import Config, plugin

from cloudml.specs import TrainingJob
from cloudml.testing import conformance


def counts(path: Path) -> bool:
    return path.is_file() and path.name != "lock"


@pytest.fixture
def rig(tmp_path: Path) -> conformance.Rig:
    models = {name: tmp_path / name for name in ("one", "two", "empty")}
    for name, path in models.items():
        path.write_text("" if name == "empty" else name)
    numbers = itertools.count()
    return conformance.rig_of(
        plugin,
        lambda: Config(folder=tmp_path / f"cloud-{next(numbers)}"),
        job=TrainingJob(command="echo trained; echo weights > {model_dir}/weights.txt"),
        failing=TrainingJob(command="exit 3"),
        slow=TrainingJob(command="sleep 3"),
        models=(models["one"], models["two"]),
        broken=models["empty"],
        request=b'{"instances": [[1.0], [2.0]]}',
        native=lambda config: sorted(path.name for path in config.folder.rglob("*") if counts(path)),
    )


class TestJobs(conformance.JobsContract):
    pass


class TestModels(conformance.ModelsContract):
    pass


class TestEndpoints(conformance.EndpointsContract):
    pass


class TestMonitors(conformance.MonitorsContract):
    pass


class TestCapabilities(conformance.CapabilitiesContract):
    pass


class TestKills(conformance.KillsContract):
    pass


class TestFaults(conformance.FaultsContract):
    pass
