"""A process that dies, or that loses an answer, on the emulated Vertex AI: whoever comes next finishes the work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cloudml.testing.conformance import Rig
from cloudml.testing.conformance.faults import disturbed
from cloudml.testing.conformance.kills import LEAST, POINTS, walked
from cloudml.testing.conformance.scenarios import SCENARIOS

KILLED = ("job-run", "job-cancelled", "model-registered", "alias-moved", "endpoint-created", "endpoint-replaced")
LOST = ("job-run", "model-registered", "endpoint-created")


@pytest.mark.parametrize("name", KILLED)
def test_a_kill_at_any_point_changes_nothing(
    rig: Rig, name: str, record_property: Callable[[str, object], None]
) -> None:
    number = walked(rig, SCENARIOS[name])
    record_property(POINTS, number)
    assert number >= LEAST


@pytest.mark.parametrize("name", LOST)
def test_an_answer_that_is_lost_makes_nothing_twice(rig: Rig, name: str) -> None:
    """CreateCustomJob and UploadModel are looked for before they are sent again: the service makes their ids."""
    assert disturbed(rig, SCENARIOS[name], "taken ") >= 1
