"""A kill at every point of every call: whoever comes next finishes the work, and nobody sees the difference."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cloudml.testing.conformance.rig import Rig
from cloudml.testing.conformance.scenarios import SCENARIOS, SCHEDULES, Scenario, schedules
from cloudml.testing.killing import Killed, Points, kill_at

POINTS = "kill points"


def walked(rig: Rig, scenario: Scenario) -> int:
    """Kills at each point in turn, goes on in a new process, compares with the world where nobody died."""
    points, start = Points(), scenario.starts(rig)
    alone = start()
    scenario.act(alone.process(points))
    expected, log = alone.snapshot(), alone.world and alone.world.log
    for number, point in enumerate(points.passed, 1):
        other = start()
        with pytest.raises(Killed):
            scenario.act(other.process(kill_at(number)))
        scenario.act(other.process())
        where = f"killed at point {number} of {len(points.passed)}: {point}"
        assert other.snapshot() == expected, where
        assert (other.world and other.world.log) == log, where
    return len(points.passed)


class KillsContract:
    """For providers whose kinds can be watched; prints how many points were walked."""

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_a_kill_at_any_point_changes_nothing(
        self, rig: Rig, name: str, record_property: Callable[[str, object], None]
    ) -> None:
        assert rig.expects_kills
        number = walked(rig, SCENARIOS[name])
        record_property(POINTS, number)
        assert number >= 4

    @pytest.mark.parametrize("name", SCHEDULES)
    def test_a_kill_at_any_point_of_a_schedule(
        self, rig: Rig, name: str, record_property: Callable[[str, object], None]
    ) -> None:
        if not schedules(rig):
            assert rig.process().provider.monitors is None
            return
        number = walked(rig, SCHEDULES[name])
        record_property(POINTS, number)
        assert number >= 4
