"""What the contracts ask, over REST; and what happens while the cloud throttles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from vertex_rigs import rig_over

from cloudml.emulation.faults import Fault, Trouble
from cloudml.emulation.running import Running
from cloudml.errors import Throttled
from cloudml.events import Happened
from cloudml.testing.conformance import EndpointsContract, JobsContract, ModelsContract, Process, Rig
from cloudml.testing.conformance.scenarios import ENDPOINT, FAMILY, JOB, single
from cloudml.waiting import Clock

CONTRACTS: tuple[tuple[type, str], ...] = (
    (JobsContract, "test_it_runs_to_its_end"),
    (JobsContract, "test_a_failure_is_an_error_with_its_reason"),
    (JobsContract, "test_cancelling_stops_it_and_keeps_it"),
    (JobsContract, "test_deleted_leaves_nothing"),
    (ModelsContract, "test_calls_sent_are_the_calls_planned"),
    (ModelsContract, "test_an_alias_moves_with_one_write"),
    (ModelsContract, "test_a_version_that_cannot_be_made_is_an_error_and_repaired_later"),
    (EndpointsContract, "test_two_deployments_share_the_traffic_and_weights_move_alone"),
    (EndpointsContract, "test_a_deployment_that_fails_leaves_the_old_one_serving"),
    (EndpointsContract, "test_what_a_model_cannot_read_is_its_error"),
)


@pytest.mark.parametrize(("contract", "name"), CONTRACTS)
def test_over_rest(running: Running, tmp_path: Path, contract: type, name: str) -> None:
    getattr(contract(), name)(rig_over("rest", tmp_path))


# -- throttled -------------------------------------------------------------------------------------------------------


def test_what_is_throttled_is_tried_again(rig: Rig, running: Running) -> None:
    """None of these is tried again by Google's own clients."""
    faults, process = running.clouds["vertex"].faults, rig.process()
    for method, target, act in (
        ("CreateCustomJob", JOB, lambda: process.apply("job", JOB, rig.job)),
        ("UploadModel", FAMILY, lambda: process.register(rig.models[0])),
        ("DeployModel", ENDPOINT, lambda: process.apply("endpoint", ENDPOINT, single(rig.models[0]))),
        ("RawPredict", ENDPOINT, lambda: process.ask(ENDPOINT)),
    ):
        told = retries(process)
        faults.add(Fault(Trouble.THROTTLE, method, target))
        act()
        assert not [*faults], f"{method} was asked for"
        assert retries(process) == told + 1, method


def test_what_is_throttled_for_ever_is_an_error(rig: Rig, running: Running) -> None:
    faults, process = running.clouds["vertex"].faults, replace(rig, clock=Clock(sleep=lambda _: None)).process()
    faults.add(Fault(Trouble.THROTTLE, "CreateCustomJob", JOB, times=100))
    try:
        with pytest.raises(Throttled, match="Requests per minute"):
            process.apply("job", JOB, rig.job)
    finally:
        faults.clear()
    assert process.everything() == []


def retries(process: Process) -> int:
    return sum(event.what is Happened.RETRYING for event in process.heard)
