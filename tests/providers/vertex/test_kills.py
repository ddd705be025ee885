"""A process that dies, or that loses an answer, on the emulated Vertex AI: whoever comes next finishes the work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cloudml.specs import Endpoint
from cloudml.testing.conformance import Process, Rig
from cloudml.testing.conformance.faults import disturbed
from cloudml.testing.conformance.kills import LEAST, POINTS, walked
from cloudml.testing.conformance.scenarios import ENDPOINT, SCENARIOS, VERSIONS, Scenario, serving, single

# Every write of the adapter is in one of them; all scenarios of the contract were walked once, in eleven minutes.
KILLED = (
    *("job-run", "job-cancelled", "job-deleted-while-running", "model-registered", "alias-moved", "family-deleted"),
    *("endpoint-created", "endpoint-replaced", "weights-moved"),
)


def monitored(process: Process) -> Endpoint:
    return single(process.rig.models[0]).model_copy(update={"options": MONITORING})


MONITORING = {"vertex": {"monitoring": {"paused": True}}}
OWN = {
    "deleted": Scenario(lambda process: process.delete("endpoint", ENDPOINT), serving),
    "watched": Scenario(lambda process: process.apply("endpoint", ENDPOINT, monitored(process)), serving),
}
LOST = ("job-run", "model-registered", "endpoint-created")


@pytest.mark.parametrize("name", KILLED)
def test_a_kill_at_any_point_changes_nothing(
    rig: Rig, name: str, record_property: Callable[[str, object], None]
) -> None:
    number = walked(rig, SCENARIOS[name])
    record_property(POINTS, number)
    assert number >= LEAST


@pytest.mark.parametrize("name", OWN)
def test_a_kill_at_any_point_of_what_only_vertex_has(rig: Rig, name: str) -> None:
    assert walked(rig, OWN[name]) >= LEAST


@pytest.mark.parametrize("name", VERSIONS)
def test_a_kill_at_any_point_of_one_version_s_change(rig: Rig, name: str) -> None:
    assert walked(rig, VERSIONS[name][1]) >= LEAST


@pytest.mark.parametrize("name", LOST)
def test_an_answer_that_is_lost_makes_nothing_twice(rig: Rig, name: str) -> None:
    """CreateCustomJob and UploadModel are looked for before they are sent again: the service makes their ids."""
    assert disturbed(rig, SCENARIOS[name], "taken ") >= 1
