"""The contracts that every provider keeps, on the emulated Azure ML."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from azure_account import Emulated

from cloudml.testing import emulated as emulation
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
from cloudml.testing.conformance.kills import LEAST, POINTS, walked
from cloudml.testing.conformance.scenarios import SCENARIOS, SCHEDULES
from cloudml_azureml.plugin import Config, plugin

WAYS = {**SCENARIOS, **SCHEDULES}
SCHEDULED = tuple(SCHEDULES)
KILLED = ("job-run", "job-cancelled", "model-registered", "alias-moved", "endpoint-created")
LOST = ("job-run", "model-registered", "endpoint-created")


@pytest.fixture
def rig(emulated: Emulated, tmp_path: Path) -> Iterator[Rig]:
    """Each world is a subscription of its own."""
    with emulation.environment(emulated.up.environment):
        yield python_rig(replace(plugin, pace=0.05), lambda: Config(subscription=str(uuid.uuid4())), tmp_path)


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


@pytest.mark.parametrize("name", [*KILLED, *SCHEDULED])
def test_a_kill_at_any_point_changes_nothing(
    rig: Rig, name: str, record_property: Callable[[str, object], None]
) -> None:
    number = walked(rig, WAYS[name])
    record_property(POINTS, number)
    assert number >= LEAST


@pytest.mark.parametrize("name", [*LOST, *SCHEDULED])
def test_an_answer_that_is_lost_makes_nothing_twice(rig: Rig, name: str) -> None:
    assert disturbed(rig, WAYS[name], "taken ") >= 1
