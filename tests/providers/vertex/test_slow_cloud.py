"""The whole way on a cloud that takes its time in every state, over REST."""

from __future__ import annotations

from pathlib import Path

from vertex_rigs import rig_over

from cloudml.emulation.running import Running
from cloudml.events import Happened
from cloudml.spi import Until
from cloudml.states import Phase
from cloudml.testing.conformance.scenarios import ENDPOINT, FAMILY, destroyed, replaced, single, whole


def test_a_slow_cloud_is_waited_for(slow: Running, tmp_path: Path) -> None:
    rig = rig_over("rest", tmp_path)
    process = rig.process()
    process.upload(*rig.models)
    whole(process)
    waited = [event for event in process.heard if event.what is Happened.WAITING]
    assert {event.state.phase for event in waited if event.state} >= {Phase.PENDING, Phase.PROVISIONING}
    assert {event.operation.target.rpartition("/")[2] for event in waited if event.operation} >= {FAMILY, ENDPOINT}
    process.register(rig.models[1])
    replaced(process)
    have = process.state("endpoint", ENDPOINT)
    assert have
    assert have.phase is Phase.READY
    destroyed(process)
    assert process.everything() == []


def test_what_a_dead_process_began_is_waited_for(slow: Running, tmp_path: Path) -> None:
    """A deployment that runs is visible in the endpoint's operations alone."""
    rig = rig_over("rest", tmp_path)
    first = rig.process()
    first.register(rig.models[0])
    first.apply("endpoint", ENDPOINT, single(rig.models[0]), Until.SUBMITTED)
    second = rig.process()
    second.apply("endpoint", ENDPOINT, single(rig.models[0]))
    sent = [
        call.operation for call in (*first.sent, *second.sent) if call.operation in ("CreateEndpoint", "DeployModel")
    ]
    assert sent == ["CreateEndpoint", "DeployModel"], "each once"
    assert second.plan("endpoint", ENDPOINT, single(rig.models[0])) == []
