"""The contracts that every provider keeps, on this machine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_things import connected, destroy, python_model, until

from cloudml.specs import Endpoint, Model, TrainingJob
from cloudml.spi import Window
from cloudml.testing.conformance.capabilities import CapabilitiesContract
from cloudml.testing.conformance.endpoints import EndpointsContract
from cloudml.testing.conformance.jobs import JobsContract
from cloudml.testing.conformance.models import ModelsContract
from cloudml.testing.conformance.monitors import MonitorsContract
from cloudml.testing.conformance.rig import FAMILY, Content, Rig, summary
from cloudml.testing.conformance.scenarios import ENDPOINT, JOB, SCENARIOS, serving
from cloudml.testing.killing import Killed, Points
from cloudml.waiting import Clock
from cloudml_local.plugin import Config, plugin

CACHES = ("__pycache__", ".pyc")
TRAIN = "open('{model_dir}/model.py', 'w').write('class Model: pass'); print('trained')"
KILLED = ("job-run", "job-cancelled", "model-registered", "alias-moved", "family-deleted", "endpoint-replaced")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    contents = {
        name: Content(python_model(tmp_path / name, expression, top))
        for name, expression, top in (
            ("one", "1", ""),
            ("two", "2", ""),
            ("broken", "0", "raise RuntimeError('it does not load')"),
        )
    }
    numbers, made = itertools.count(), []

    def fresh() -> Rig:
        home = tmp_path / f"home-{next(numbers)}"
        made.append(home)
        return replace(start, config=Config(home=home), fresh=fresh, snapshot=lambda: snapshot(home))

    start = Rig(
        plugin=plugin,
        config=None,
        clock=Clock(),
        fresh=lambda: start,
        job=TrainingJob(command=("python", "-c", TRAIN)),
        failing=TrainingJob(command=("python", "-c", "raise SystemExit(1)")),
        slow=TrainingJob(command=("python", "-c", "import time; print('begun', flush=True); time.sleep(3)")),
        models=(contents["one"], contents["two"]),
        broken=contents["broken"],
        request=b'{"instances": [[1, 2]]}',
        snapshot=lambda: None,
        timeout=60.0,
    )
    yield fresh()
    for home in made:
        destroy(connected(home, "shop-test"))
        assert not list((home / "servers").glob("[!.]*"))


def snapshot(home: Path) -> Any:
    """What is there: states, files of the store, folders of runs and endpoints, tasks of the engines."""
    provider = connected(home, "shop-test").session.provider
    states = [*provider.jobs.list(None), *provider.models.list(None), *provider.endpoints.list(None)]
    store = {path.relative_to(home) for path in (home / "store").rglob("*") if path.is_file()}
    places = ("runs", "endpoints", "jobs", "servers", ".drafts")
    names = {f"{place}/{path.name}" for place in places for path in (home / place).glob("[!.]*")}
    return summary(states), sorted(path for path in store if not str(path).endswith(CACHES)), sorted(names)


class TestJobs(JobsContract):
    def test_its_model_can_be_registered(self, rig: Rig) -> None:
        """Stronger than the contract's: the version has a copy of its own, so the job can be deleted."""
        process = rig.process()
        job = process.apply("job", JOB, rig.job)
        have = process.apply("model", FAMILY, Model.model_validate({"from": f"run:{JOB}"}))
        process.delete("job", JOB)
        uri = have.of("version")[0].facts["uri"]
        assert uri != job.facts["model"]
        assert Path(uri, "model.py").read_text() == "class Model: pass"


class TestModels(ModelsContract):
    pass


class TestEndpoints(EndpointsContract):
    def test_a_setting_changes_in_place(self, rig: Rig) -> None:
        """As the contract's; captured requests are written a moment later."""
        process = rig.process()
        serving(process)
        want = Endpoint(model=rig.models[0].reference, capture=1.0)
        process.apply("endpoint", ENDPOINT, want)
        assert process.plan("endpoint", ENDPOINT, want) == []
        process.ask(ENDPOINT)
        have = process.state("endpoint", ENDPOINT)
        assert have is not None
        until(lambda: len(list(process.provider.telemetry.captured(have, Window(time.time() - 60)))) == 1)


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
