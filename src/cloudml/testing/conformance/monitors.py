"""What holds for monitors: where the provider has schedules of its own, and where it has none."""

from __future__ import annotations

import pytest

from cloudml.capabilities import require
from cloudml.errors import Unsupported
from cloudml.specs import Monitor, spec_hash
from cloudml.states import Phase
from cloudml.testing.conformance.rig import Rig, matches
from cloudml.testing.conformance.scenarios import ENDPOINT, MONITOR, capturing, schedules, watch


class MonitorsContract:
    def test_a_schedule_is_made_changed_and_deleted_or_refused_with_a_way_out(self, rig: Rig) -> None:
        process = rig.process()
        if not schedules(rig):
            assert process.provider.monitors is None
            with pytest.raises(Unsupported, match="cron"):
                require(rig.plugin, MONITOR, watch(0.2))
            require(rig.plugin, MONITOR, Monitor(endpoint=ENDPOINT))
            return
        capturing(process)
        before = rig.snapshot()
        assert process.state("monitor", MONITOR) is None
        numbers = []
        for threshold in (0.2, 0.2, 0.5):
            planned, sent = process.plan("monitor", MONITOR, watch(threshold)), len(process.sent)
            have = process.apply("monitor", MONITOR, watch(threshold))
            assert matches(planned, process.sent[sent:])
            numbers.append(len(planned))
            assert (have.phase, have.owner, have.spec) == (Phase.READY, rig.stack, spec_hash(watch(threshold)))
        assert [bool(number) for number in numbers] == [True, False, True], "the same again is nothing new"
        assert [state.key.name for state in process.kind("monitor").list(rig.stack)] == [MONITOR]
        process.delete("monitor", MONITOR)
        assert rig.snapshot() == before
