"""What holds for model families on every provider."""

from __future__ import annotations

import pytest

from cloudml.capabilities import demand
from cloudml.errors import Conflict, RunFailed, Unsupported
from cloudml.specs import spec_hash
from cloudml.spi import Capability, Until
from cloudml.states import Phase
from cloudml.testing.conformance.rig import FAMILY, Rig, laters, matches
from cloudml.testing.conformance.scenarios import can, registered


class ModelsContract:
    def test_what_is_not_there_is_none(self, rig: Rig) -> None:
        process = rig.process()
        assert process.state("model", FAMILY) is None
        assert process.state("model", FAMILY, rig.models[0].spec()) is None

    def test_calls_sent_are_the_calls_planned(self, rig: Rig) -> None:
        process, want = rig.process(), rig.models[0].spec(alias="champion")
        process.upload(rig.models[0])
        planned = process.plan("model", FAMILY, want)
        have = process.apply("model", FAMILY, want)
        assert matches(planned, process.sent)
        assert not any(list(laters(call.document)) for call in process.sent)
        assert have.owner == rig.stack

    def test_a_version_once_per_hash(self, rig: Rig) -> None:
        rig.process().register(rig.models[0])
        process = rig.process()
        have = process.register(rig.models[0])
        assert process.sent == []
        assert [part.spec for part in have.of("version")] == [spec_hash(rig.models[0].spec())]
        have = process.register(rig.models[1])
        assert [part.spec for part in have.of("version")] == [spec_hash(each.spec()) for each in rig.models]
        assert all(part.phase is Phase.READY and part.facts["uri"] for part in have.of("version"))

    def test_a_user_s_own_labels_reach_the_provider(self, rig: Rig) -> None:
        rig.process().register(rig.models[0], labels={"team": "risk"})
        process = rig.process()
        have = process.state("model", FAMILY)
        assert have is not None
        assert have.labels["team"] == "risk"
        assert process.plan("model", FAMILY, rig.models[0].spec(labels={"team": "risk"})) == []

    def test_an_alias_moves_with_one_write(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        have = process.register(rig.models[0], alias="champion")
        assert have.facts["aliases"] == {"champion": have.of("version")[0].name}
        process = rig.process()
        have = process.register(rig.models[1], alias="champion")
        assert have.facts["aliases"] == {"champion": have.of("version")[1].name}
        assert len(process.sent) == 1
        assert process.plan("model", FAMILY, rig.models[1].spec(alias="champion")) == []

    def test_an_alias_moved_by_somebody_else_is_seen_and_put_back(self, rig: Rig) -> None:
        process = rig.process()
        process.register(rig.models[0], alias="champion")
        rig.process().register(rig.models[1], alias="champion")
        want = rig.models[0].spec(alias="champion")
        assert len(process.plan("model", FAMILY, want)) == 1
        have = process.apply("model", FAMILY, want)
        assert have.facts["aliases"] == {"champion": have.of("version")[0].name}

    def test_rendering_is_pure(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        goal = process.goal("model", FAMILY, rig.models[0].spec(alias="champion"))
        have = process.state("model", FAMILY, goal.want)
        before = repr((goal, have))
        first = process.kind("model").render(goal, have)
        assert first == process.kind("model").render(goal, have)
        assert repr((goal, have)) == before

    def test_a_family_of_another_stack_is_a_conflict_until_it_is_adopted(self, rig: Rig) -> None:
        other = rig.process(stack="other-test")
        other.register(rig.models[0])
        process = rig.process()
        with pytest.raises(Conflict, match="other-test"):
            process.register(rig.models[0])
        assert process.sent == []
        with pytest.raises(Conflict):
            process.delete("model", FAMILY)
        adopting = rig.process(adopt=True)
        assert adopting.register(rig.models[1]).owner == rig.stack
        assert rig.process().register(rig.models[1]).owner == rig.stack
        with pytest.raises(Conflict, match=rig.stack):
            other.register(rig.models[0])

    def test_a_version_that_cannot_be_made_is_an_error_and_repaired_later(self, rig: Rig) -> None:
        """Its content is not there: somebody deleted what was uploaded."""
        process = rig.process()
        process.register(rig.models[0])
        want = rig.models[1].spec()
        with pytest.raises(RunFailed):
            process.apply("model", FAMILY, want)
        have = rig.process().register(rig.models[1])
        assert [part.phase for part in have.of("version") if part.spec == spec_hash(want)] == [Phase.READY]

    def test_a_version_is_archived_and_brought_back(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        if not can(rig, Capability.MODELS_ARCHIVE):
            with pytest.raises(Unsupported):
                demand(rig.plugin, Capability.MODELS_ARCHIVE, "archive a version")
            return
        have = process.turn(rig.models[1], Phase.ARCHIVED)
        assert have is not None
        assert [part.phase for part in have.of("version")] == [Phase.READY, Phase.ARCHIVED]
        sent = len(process.sent)
        process.turn(rig.models[1], Phase.ARCHIVED)
        assert len(process.sent) == sent, "it is archived"
        with pytest.raises(Conflict, match="archived"):
            rig.process().register(rig.models[1], alias="champion")
        have = rig.process().turn(rig.models[1], Phase.READY)
        assert have is not None
        assert [part.phase for part in have.of("version")] == [Phase.READY, Phase.READY]
        assert rig.process().register(rig.models[1], alias="champion").facts["aliases"]

    def test_a_version_is_deleted_by_itself_and_its_number_is_not_used_again(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        if not can(rig, Capability.MODELS_DELETE_VERSION):
            with pytest.raises(Unsupported):
                demand(rig.plugin, Capability.MODELS_DELETE_VERSION, "delete one version")
            return
        before = process.state("model", FAMILY)
        have = process.turn(rig.models[1], None)
        assert before is not None
        assert have is not None
        assert have.of("version") == before.of("version")[:1]
        assert have.owner == rig.stack
        sent = len(process.sent)
        process.turn(rig.models[1], None)
        assert len(process.sent) == sent, "it is gone"
        again = rig.process().register(rig.models[1])
        assert [part.spec for part in again.of("version")] == [part.spec for part in before.of("version")]
        assert len({part.name for part in (*again.of("version"), *before.of("version"))}) == 3

    def test_deleted_leaves_nothing(self, rig: Rig) -> None:
        process = rig.process()
        process.upload(*rig.models)
        before = rig.snapshot()
        process.register(rig.models[0], alias="champion")
        process.register(rig.models[1])
        planned = process.plan("model", FAMILY, None)
        sent = len(process.sent)
        process.delete("model", FAMILY)
        assert matches(planned, process.sent[sent:])
        assert process.state("model", FAMILY) is None
        assert process.everything() == []
        assert rig.snapshot() == before

    def test_submitted_is_finished_by_the_next_process(self, rig: Rig) -> None:
        process = rig.process()
        process.upload(rig.models[0])
        process.apply("model", FAMILY, rig.models[0].spec(), Until.SUBMITTED)
        have = rig.process().register(rig.models[0])
        assert [part.phase for part in have.of("version")] == [Phase.READY]
