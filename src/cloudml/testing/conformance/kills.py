"""A kill at every point of every call: whoever comes next finishes the work, and nobody sees the difference."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cloudml.capabilities import demand
from cloudml.errors import Unsupported
from cloudml.spi import Capability
from cloudml.testing.conformance.rig import Rig
from cloudml.testing.conformance.scenarios import (
    MIRRORS,
    SCALES,
    SCENARIOS,
    SCHEDULES,
    VERSIONS,
    Scenario,
    can,
    schedules,
)
from cloudml.testing.killing import LOOKS, Killed, Points, kill_at

POINTS = "kill points"
LEAST = 3  # of one call: before it, when the provider took it, and when its answer was noted


def walked(rig: Rig, scenario: Scenario) -> int:
    """Kills at each point in turn, goes on in a new process, compares with the world where nobody died."""
    points, start = Points(), scenario.starts(rig)
    alone = start()
    scenario.act(alone.process(points))
    expected, log = alone.snapshot(), alone.world and alone.world.log
    looks = () if rig.world else LOOKS  # how often is looked is up to the clock, if it is not ours
    passed = [point for point in points.passed if point not in looks]
    for number, point in enumerate(passed, 1):
        other = start()
        with pytest.raises(Killed):
            scenario.act(other.process(kill_at(number, looks)))
        scenario.act(other.process())
        where = f"killed at point {number} of {len(passed)}: {point}"
        assert other.snapshot() == expected, where
        assert (other.world and other.world.log) == log, where
    return len(passed)


class KillsContract:
    """For every provider; without looks, and so with fewer points, where it works by a real clock."""

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_a_kill_at_any_point_changes_nothing(
        self, rig: Rig, name: str, record_property: Callable[[str, object], None]
    ) -> None:
        number = walked(rig, SCENARIOS[name])
        record_property(POINTS, number)
        assert number >= LEAST

    @pytest.mark.parametrize("name", [*MIRRORS, *SCALES])
    def test_a_kill_at_any_point_of_what_an_endpoint_has_besides(
        self, rig: Rig, name: str, record_property: Callable[[str, object], None]
    ) -> None:
        capability = Capability.ENDPOINTS_MIRROR if name in MIRRORS else Capability.ENDPOINTS_SCALE
        if not can(rig, capability):
            with pytest.raises(Unsupported):
                demand(rig.plugin, capability, name)
            return
        number = walked(rig, {**MIRRORS, **SCALES}[name])
        record_property(POINTS, number)
        assert number >= LEAST

    @pytest.mark.parametrize("name", VERSIONS)
    def test_a_kill_at_any_point_of_one_version_s_change(
        self, rig: Rig, name: str, record_property: Callable[[str, object], None]
    ) -> None:
        capability, scenario = VERSIONS[name]
        if not can(rig, capability):
            with pytest.raises(Unsupported):
                demand(rig.plugin, capability, name)
            return
        number = walked(rig, scenario)
        record_property(POINTS, number)
        assert number >= LEAST

    @pytest.mark.parametrize("name", SCHEDULES)
    def test_a_kill_at_any_point_of_a_schedule(
        self, rig: Rig, name: str, record_property: Callable[[str, object], None]
    ) -> None:
        if not schedules(rig):
            assert rig.process().provider.monitors is None
            return
        number = walked(rig, SCHEDULES[name])
        record_property(POINTS, number)
        assert number >= LEAST
