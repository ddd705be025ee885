"""The contracts that every provider keeps, on an emulated AWS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cloudml.specs import TrainingJob
from cloudml.testing.conformance import (
    CapabilitiesContract,
    EndpointsContract,
    JobsContract,
    ModelsContract,
    MonitorsContract,
    Rig,
    python_rig,
)
from cloudml.testing.conformance.faults import disturbed
from cloudml.testing.conformance.kills import walked
from cloudml.testing.conformance.scenarios import ENDPOINT, MIRRORS, SCALES, SCENARIOS, SCHEDULES, Scenario, serving
from cloudml.waiting import Clock
from cloudml_sagemaker.plugin import Config, plugin

FASTER = 5.0  # than the wall's: ten seconds of grace, in which a read may be old, are two here
CLOCK = Clock(lambda: FASTER * time.monotonic(), lambda seconds: time.sleep(seconds / FASTER))
# Each begins anew for every point that it is killed or disturbed at; those with endpoints are walked in part.
QUICK = ("job-run", "job-cancelled", "job-deleted-while-running", "model-registered", "alias-moved", "family-deleted")
WALKED: Mapping[str, Scenario] = {
    **{name: SCENARIOS[name] for name in (*QUICK, "endpoint-replaced")},
    "endpoint-deleted": Scenario(lambda process: process.delete("endpoint", ENDPOINT), serving),
    "mirror-added": MIRRORS["mirror-added"],
    **SCALES,
    **SCHEDULES,
}


@pytest.fixture
def rig(place: Callable[[], Config], tmp_path: Path) -> Rig:
    return quick(python_rig(replace(plugin, pace=0.25), place, tmp_path, 60.0 * FASTER))


def quick(rig: Rig) -> Rig:
    """The same by a faster clock."""
    return replace(rig, clock=CLOCK, fresh=lambda: quick(rig.fresh()))


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


@pytest.mark.parametrize("name", WALKED)
def test_a_kill_at_any_point_changes_nothing(rig: Rig, name: str) -> None:
    idle = replace(rig, job=TrainingJob(command="true"))
    assert walked(idle, WALKED[name]) >= 3


@pytest.mark.parametrize("kind", ["before ", "taken "])
@pytest.mark.parametrize("name", [*QUICK, *SCHEDULES])
def test_a_lost_connection_at_any_call(rig: Rig, name: str, kind: str) -> None:
    assert disturbed(rig, {**SCENARIOS, **SCHEDULES}[name], kind) >= 1
