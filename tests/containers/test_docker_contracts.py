"""The contracts that every provider keeps, on the provider ``docker``: its jobs and servers are real containers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_things import TIMEOUT, connected, destroy, left, python_model

from cloudml.specs import TrainingJob
from cloudml.testing.conformance.capabilities import CapabilitiesContract
from cloudml.testing.conformance.endpoints import EndpointsContract
from cloudml.testing.conformance.jobs import JobsContract
from cloudml.testing.conformance.models import ModelsContract
from cloudml.testing.conformance.monitors import MonitorsContract
from cloudml.testing.conformance.rig import Rig, rig_of
from cloudml.testing.conformance.scenarios import SCENARIOS
from cloudml.testing.killing import Killed, Points
from cloudml_local.docker import Config, plugin

TRAIN = "open('{model_dir}/model.py', 'w').write('class Model: pass'); print('trained')"
KILLED = ("job-run", "job-cancelled", "endpoint-replaced")


@pytest.fixture
def rig(tmp_path: Path, engine: Any, base: str) -> Iterator[Rig]:
    numbers, made = itertools.count(), []

    def empty() -> Config:
        made.append(tmp_path / f"home-{next(numbers)}")
        return Config(home=made[-1], base=base)

    def native(config: Config) -> Any:
        """The containers that run, and the folders of runs and endpoints."""
        home = config.home
        assert home is not None
        folders = ("runs", "endpoints", "jobs", "servers", ".drafts")
        names = [f"{folder}/{path.name}" for folder in folders for path in (home / folder).glob("[!.]*")]
        return left(engine, home), sorted(names)

    yield rig_of(
        plugin,
        empty,
        job=TrainingJob(command=("python3", "-c", TRAIN)),
        failing=TrainingJob(command=("python3", "-c", "raise SystemExit(1)")),
        slow=TrainingJob(command=("python3", "-c", "import time; print('begun', flush=True); time.sleep(1)")),
        models=(python_model(tmp_path / "one", "1"), python_model(tmp_path / "two", "2")),
        broken=python_model(tmp_path / "broken", "0", "raise RuntimeError('it does not load')"),
        request=b'{"instances": [[1, 2]]}',
        native=native,
        timeout=TIMEOUT,
    )
    for home in made:
        destroy(connected(home, base))
        assert not left(engine, home)
        assert not list((home / "servers").glob("[!.]*"))


class TestJobs(JobsContract):
    pass


class TestModels(ModelsContract):
    pass


class TestEndpoints(EndpointsContract):
    """Without the longest three, which are about the labels and parts that ``local`` handles by the same code."""

    test_what_it_was_before_is_remembered_for_a_rollback = None  # type: ignore[assignment]
    test_drift_by_hand_is_seen_and_put_back = None  # type: ignore[assignment]
    test_nothing_stays_but_the_current_and_the_previous = None  # type: ignore[assignment]


class TestMonitors(MonitorsContract):
    pass


class TestCapabilities(CapabilitiesContract):
    pass


@pytest.mark.parametrize("name", KILLED)
def test_a_kill_after_any_call_changes_nothing(rig: Rig, name: str) -> None:
    """After it was carried out and before its answer; how often is looked in between is up to the clock."""
    scenario, points = SCENARIOS[name], Points()
    start = scenario.starts(rig)
    alone = start()
    scenario.act(alone.process(points))
    expected = alone.snapshot()
    taken = [point for point in points.passed if point.startswith("taken ")]
    assert taken
    for point in taken:
        other = start()
        with pytest.raises(Killed):
            scenario.act(other.process(killed_when(point, taken.count(point))))
        scenario.act(other.process())
        assert other.snapshot() == expected, f"killed {point}"


def killed_when(point: str, times: int) -> Points:
    """Points of a process that dies when it has passed one so often."""
    points = Points()

    def visit(passed: str) -> None:
        if passed == point and points.passed.count(point) == times:
            raise Killed(point)

    points.visit = visit
    return points
