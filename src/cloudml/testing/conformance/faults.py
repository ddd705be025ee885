"""A call that goes wrong at any point: the same end, and nothing twice."""

from __future__ import annotations

import pytest

from cloudml.capabilities import demand
from cloudml.errors import AnswerLost, Unsupported
from cloudml.testing.conformance.rig import Rig
from cloudml.testing.conformance.scenarios import SCENARIOS, SCHEDULES, VERSIONS, Scenario, can, schedules
from cloudml.testing.killing import Points


def fail_at(number: int, kind: str) -> Points:
    """Points of a process that loses the connection at the n-th point of that kind, counted from 1."""
    points = Points()

    def visit(point: str) -> None:
        passed = sum(each.startswith(kind) for each in points.passed)
        if point.startswith(kind) and passed == number:
            raise AnswerLost(f"connection reset {point}")

    points.visit = visit
    return points


def disturbed(rig: Rig, scenario: Scenario, kind: str) -> int:
    """Loses the connection at each point of that kind in turn; how many there were."""
    points, start = Points(), scenario.starts(rig)
    alone = start()
    scenario.act(alone.process(points))
    expected, log = alone.snapshot(), alone.world and alone.world.log
    number = sum(point.startswith(kind) for point in points.passed)
    for nth in range(1, number + 1):
        other = start()
        scenario.act(other.process(fail_at(nth, kind)))
        assert other.snapshot() == expected, f"{kind} {nth} of {number}"
        assert (other.world and other.world.log) == log, f"{kind} {nth} of {number}"
    return number


class FaultsContract:
    """For every provider: the connection breaks before a call was carried out, or after."""

    @pytest.mark.parametrize("kind", ["before ", "taken "])
    @pytest.mark.parametrize("name", SCENARIOS)
    def test_a_lost_connection_at_any_call(self, rig: Rig, name: str, kind: str) -> None:
        assert disturbed(rig, SCENARIOS[name], kind) >= 1

    @pytest.mark.parametrize("kind", ["before ", "taken "])
    @pytest.mark.parametrize("name", VERSIONS)
    def test_a_lost_connection_at_any_call_of_one_version_s_change(self, rig: Rig, name: str, kind: str) -> None:
        capability, scenario = VERSIONS[name]
        if not can(rig, capability):
            with pytest.raises(Unsupported):
                demand(rig.plugin, capability, name)
            return
        assert disturbed(rig, scenario, kind) >= 1

    @pytest.mark.parametrize("kind", ["before ", "taken "])
    @pytest.mark.parametrize("name", SCHEDULES)
    def test_a_lost_connection_at_any_call_of_a_schedule(self, rig: Rig, name: str, kind: str) -> None:
        if not schedules(rig):
            assert rig.process().provider.monitors is None
            return
        assert disturbed(rig, SCHEDULES[name], kind) >= 1

    def test_an_answer_that_is_always_lost_is_an_error_in_the_end(self, rig: Rig) -> None:
        points = Points()
        SCENARIOS["job-run"].begin(rig)

        def visit(point: str) -> None:
            if point.startswith("before "):
                raise AnswerLost("connection refused")

        points.visit = visit
        process = rig.process(points)
        with pytest.raises(AnswerLost):
            process.apply("job", "fraud-1a2b3c4d-1", rig.job)
        assert len(process.sent) == 4, "the first time and three more"
        assert process.everything() == []
