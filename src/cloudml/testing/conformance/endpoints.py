"""What holds for endpoints on every provider."""

from __future__ import annotations

import pytest

from cloudml.errors import CloudmlError, Conflict, NotFound, RolledBack, RunFailed, Unsupported
from cloudml.labels import label
from cloudml.specs import Deployment, Endpoint, hashes, spec_hash
from cloudml.spi import Capability, Effect, Payload, Reachable, Until, Window, Yes
from cloudml.states import Key, Phase
from cloudml.testing.conformance.rig import FAMILY, Content, Process, Rig, laters, matches
from cloudml.testing.conformance.scenarios import (
    ENDPOINT,
    can,
    double,
    mirroring,
    registered,
    replaced,
    scaled,
    serving,
    sharing,
    single,
)

REQUESTS = 40


def traffic(process: Process) -> dict[str, int]:
    """The shares that are not zero, as observed."""
    have = process.state("endpoint", ENDPOINT)
    assert have
    return {name: share for name, share in have.facts["traffic"].items() if share}


def runs(process: Process) -> dict[str, str | None]:
    """The hash that each deployment runs."""
    have = process.state("endpoint", ENDPOINT)
    assert have
    return {part.name: part.spec for part in have.of("deployment") if not part.phase.failed}


def hashed(content: Content) -> str:
    return spec_hash(Deployment(model=content.reference))


class EndpointsContract:
    def test_what_is_not_there_is_none(self, rig: Rig) -> None:
        process = rig.process()
        assert process.state("endpoint", ENDPOINT) is None
        assert process.state("endpoint", ENDPOINT, single(rig.models[0])) is None

    def test_a_request_to_what_is_not_there_is_not_found(self, rig: Rig) -> None:
        """Also where requests go out without a look before them."""
        endpoints = rig.process().provider.endpoints
        if isinstance(endpoints, Reachable):
            with pytest.raises(NotFound):
                endpoints.invoke(endpoints.reach(Key("endpoint", ENDPOINT, rig.stack)), Payload(rig.request), None)
        else:
            assert endpoints.observe(Key("endpoint", ENDPOINT, rig.stack), None) is None

    def test_a_user_s_own_labels_reach_the_provider(self, rig: Rig) -> None:
        registered(rig.process())
        want = single(rig.models[0]).model_copy(update={"labels": {"team": "risk"}})
        rig.process().apply("endpoint", ENDPOINT, want)
        process = rig.process()
        have = process.state("endpoint", ENDPOINT)
        assert have is not None
        assert have.labels["team"] == "risk"
        assert process.plan("endpoint", ENDPOINT, want) == []

    def test_calls_sent_are_the_calls_planned(self, rig: Rig) -> None:
        """Creation planned before its model exists; then another model; then nothing."""
        process = rig.process()
        for want in (
            single(rig.models[0]),
            single(rig.models[1]),
            double(rig, 90),
            double(rig, 50),
            single(rig.models[1]),
        ):
            process.upload(*rig.models)
            planned = process.plan("endpoint", ENDPOINT, want)
            registered(process)
            before = len(process.sent)
            process.apply("endpoint", ENDPOINT, want)
            sent = process.sent[before:]
            assert [call.operation for call in planned] == [call.operation for call in sent]
            assert matches(planned, sent)
            assert not any(list(laters(call.document)) for call in sent)
            assert process.plan("endpoint", ENDPOINT, want) == []

    def test_it_answers(self, rig: Rig) -> None:
        process = rig.process()
        serving(process)
        have = process.state("endpoint", ENDPOINT)
        assert have
        assert (have.phase, have.owner) == (Phase.READY, rig.stack)
        assert have.facts["url"]
        assert traffic(process) == {"blue": 100}
        first = process.ask(ENDPOINT)
        replaced(process)
        assert process.ask(ENDPOINT) != first

    def test_a_replacement_leaves_no_old_deployment(self, rig: Rig) -> None:
        process = rig.process()
        serving(process)
        replaced(process)
        assert runs(process) == {"blue": hashed(rig.models[1])}
        assert traffic(process) == {"blue": 100}

    def test_nothing_stays_but_the_current_and_the_previous(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        wants = [Endpoint(model=rig.models[0].reference, env={"STEP": str(step)}) for step in range(4)]
        for want in wants:
            process.apply("endpoint", ENDPOINT, want)
        have = process.state("endpoint", ENDPOINT)
        assert have
        old = {mark for want in wants[:-2] for mark in hashes(want)}
        assert not old & {part.spec for part in have.parts}
        assert runs(process) == {"blue": spec_hash(wants[-1].deployments["blue"])}

    def test_at_the_goal_nothing_is_sent(self, rig: Rig) -> None:
        sharing(rig.process())
        process = rig.process()
        assert process.plan("endpoint", ENDPOINT, double(rig, 90)) == []
        process.apply("endpoint", ENDPOINT, double(rig, 90))
        assert process.sent == []

    def test_two_deployments_share_the_traffic_and_weights_move_alone(self, rig: Rig) -> None:
        process = rig.process()
        sharing(process)
        assert traffic(process) == {"blue": 90, "green": 10}
        pins = isinstance(rig.plugin.capabilities[Capability.ENDPOINTS_PIN], Yes)
        pinned = [process.ask(ENDPOINT, name) for name in ("blue", "green")] if pins else []
        process = rig.process()
        process.apply("endpoint", ENDPOINT, double(rig, 50))
        assert {call.effect for call in process.sent} == {Effect.UPDATE}, "weights move and replace nothing"
        assert len(process.sent) <= 2, "the weights, and the label where the provider writes it apart"
        assert traffic(process) == {"blue": 50, "green": 50}
        both = {process.ask(ENDPOINT) for _ in range(REQUESTS)}
        assert len(both) == 2
        process.apply("endpoint", ENDPOINT, double(rig, 0))
        green = {process.ask(ENDPOINT) for _ in range(REQUESTS)}
        assert len(green) == 1
        assert not pins or [{each} for each in pinned] == [both - green, green], "who names a deployment gets that one"
        process.apply("endpoint", ENDPOINT, double(rig, 90))
        process.apply("endpoint", ENDPOINT, single(rig.models[0]))
        assert runs(process) == {"blue": hashed(rig.models[0])}
        assert {process.ask(ENDPOINT) for _ in range(REQUESTS)} == both - green

    def test_a_mirrored_deployment_gets_copies_and_answers_nobody(self, rig: Rig) -> None:
        """Or it is refused, as the capabilities' contract has it."""
        if not can(rig, Capability.ENDPOINTS_MIRROR):
            return
        process = rig.process()
        serving(process)
        answer = process.ask(ENDPOINT)
        process.apply("endpoint", ENDPOINT, mirroring(rig, 50))
        assert process.plan("endpoint", ENDPOINT, mirroring(rig, 50)) == []
        assert traffic(process) == {"blue": 100}
        assert runs(process) == {"blue": hashed(rig.models[0]), "green": hashed(rig.models[1])}
        assert {process.ask(ENDPOINT) for _ in range(REQUESTS)} == {answer}
        assert rig.until(lambda: {"blue", "green"} == _captured(process).keys())
        assert _captured(process)["blue"] != _captured(process)["green"], "each with its own answers"
        sent = len(process.sent)
        process.apply("endpoint", ENDPOINT, mirroring(rig, 10))
        assert Effect.CREATE not in {call.effect for call in process.sent[sent:]}, "a share moves and replaces nothing"
        assert process.plan("endpoint", ENDPOINT, mirroring(rig, 10)) == []
        process.apply("endpoint", ENDPOINT, double(rig, 0))
        assert traffic(process) == {"green": 100}
        assert answer not in {process.ask(ENDPOINT) for _ in range(REQUESTS)}

    def test_limits_of_automatic_scaling_move_and_the_deployment_stays(self, rig: Rig) -> None:
        """Or they are refused, as the capabilities' contract has it."""
        if not can(rig, Capability.ENDPOINTS_SCALE):
            return
        process = rig.process()
        serving(process)
        before, answer = runs(process), process.ask(ENDPOINT)
        try:
            process.plan("endpoint", ENDPOINT, scaled(rig, 3))
        except Unsupported:
            return  # fixed counts alone
        for want in (scaled(rig, 3), scaled(rig, 2), single(rig.models[0])):
            planned, sent = process.plan("endpoint", ENDPOINT, want), len(process.sent)
            assert planned, "the difference is seen"
            process.apply("endpoint", ENDPOINT, want)
            assert matches(planned, process.sent[sent:])
            assert process.plan("endpoint", ENDPOINT, want) == []
            assert (runs(process), process.ask(ENDPOINT)) == (before, answer)

    def test_a_deployment_that_fails_leaves_the_old_one_serving(self, rig: Rig) -> None:
        process = rig.process()
        serving(process)
        process.register(rig.broken)
        answer = process.ask(ENDPOINT)
        for _ in range(2):  # found failed at the first look, it is tried again, and fails again
            with pytest.raises((RunFailed, RolledBack)):
                rig.process().apply("endpoint", ENDPOINT, single(rig.broken))
            assert process.ask(ENDPOINT) == answer
            assert traffic(process) == {"blue": 100}
        replaced(rig.process())
        assert runs(process) == {"blue": hashed(rig.models[1])}
        assert process.ask(ENDPOINT) != answer
        assert not _leftovers(process, rig.broken)

    def test_the_old_spec_after_a_failure_clears_what_failed(self, rig: Rig) -> None:
        process = rig.process()
        serving(process)
        process.register(rig.broken)
        with pytest.raises((RunFailed, RolledBack)):
            process.apply("endpoint", ENDPOINT, single(rig.broken))
        rig.process().apply("endpoint", ENDPOINT, single(rig.models[0]))
        assert not _leftovers(process, rig.broken)
        assert runs(process) == {"blue": hashed(rig.models[0])}

    def test_a_first_deployment_that_fails_is_repaired(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        process.register(rig.broken)
        with pytest.raises(RunFailed):
            process.apply("endpoint", ENDPOINT, single(rig.broken))
        process = rig.process()
        process.apply("endpoint", ENDPOINT, single(rig.models[0]))
        assert runs(process) == {"blue": hashed(rig.models[0])}
        assert traffic(process) == {"blue": 100}

    def test_drift_by_hand_is_seen_and_put_back(self, rig: Rig) -> None:
        process = rig.process()
        sharing(process)
        for foreign in (double(rig, 20), single(rig.models[1])):
            rig.process().apply("endpoint", ENDPOINT, foreign)
            assert process.plan("endpoint", ENDPOINT, double(rig, 90)), "the difference is seen"
            process.apply("endpoint", ENDPOINT, double(rig, 90))
            assert traffic(process) == {"blue": 90, "green": 10}
            assert runs(process) == {"blue": hashed(rig.models[0]), "green": hashed(rig.models[1])}

    def test_a_setting_changes_in_place(self, rig: Rig) -> None:
        process = rig.process()
        serving(process)
        want = Endpoint(model=rig.models[0].reference, capture=1.0)
        process.apply("endpoint", ENDPOINT, want)
        assert process.plan("endpoint", ENDPOINT, want) == []
        process.ask(ENDPOINT)
        have = process.state("endpoint", ENDPOINT)
        assert have
        assert rig.until(lambda: len(list(process.provider.telemetry.captured(have, Window()))) == 1)

    def test_what_a_model_cannot_read_is_its_error(self, rig: Rig) -> None:
        process = rig.process()
        serving(process)
        have = process.state("endpoint", ENDPOINT)
        assert have
        with pytest.raises(CloudmlError) as refused:
            process.provider.endpoints.invoke(have, Payload(b"{not json"), None)
        assert refused.value.exit_code == 3

    def test_submitted_is_finished_by_the_next_process(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        process.apply("endpoint", ENDPOINT, single(rig.models[0]), Until.SUBMITTED)
        rig.process().apply("endpoint", ENDPOINT, single(rig.models[0]))
        assert runs(process) == {"blue": hashed(rig.models[0])}

    def test_an_endpoint_of_another_stack_is_a_conflict_until_it_is_adopted(self, rig: Rig) -> None:
        other = rig.process(stack="other-test")
        for content in rig.models:
            other.register(content)
        other.apply("endpoint", ENDPOINT, single(rig.models[0]))
        answer = other.ask(ENDPOINT)
        process = rig.process()
        with pytest.raises(Conflict, match="other-test"):
            process.apply("endpoint", ENDPOINT, single(rig.models[1]))
        with pytest.raises(Conflict):
            process.delete("endpoint", ENDPOINT)
        with pytest.raises(Conflict):
            process.plan("endpoint", ENDPOINT, single(rig.models[1]))
        assert process.sent == []
        assert process.ask(ENDPOINT) == answer
        adopting = rig.process(adopt=True)
        adopting.apply("endpoint", ENDPOINT, single(rig.models[1]))
        assert adopting.ask(ENDPOINT) != answer
        assert rig.process().plan("endpoint", ENDPOINT, single(rig.models[1])) == []
        with pytest.raises(Conflict, match=rig.stack):
            other.apply("endpoint", ENDPOINT, single(rig.models[0]))

    def test_a_list_holds_one_stack_s_or_all(self, rig: Rig) -> None:
        process, other = rig.process(), rig.process(stack="other-test")
        serving(process)
        other.upload(rig.models[0])
        other.apply("model", "churn", rig.models[0].spec())
        assert [str(state.key) for state in process.everything()] == [f"model {FAMILY}", f"endpoint {ENDPOINT}"]
        assert [str(state.key) for state in other.everything()] == ["model churn"]
        every = list(process.kind("model").list(None))
        assert sorted((state.key.name, state.key.stack) for state in every) == [
            ("churn", "other-test"),
            (FAMILY, rig.stack),
        ]
        assert process.kind("endpoint").observe(process.key("endpoint", ENDPOINT), None) in list(
            process.kind("endpoint").list(rig.stack)
        )

    def test_what_it_was_before_is_remembered_for_a_rollback(self, rig: Rig) -> None:
        """Whatever changed, its traffic too; what failed is not remembered."""
        process, before = rig.process(), None
        serving(process)
        process.register(rig.broken)
        for want in (single(rig.models[0]), single(rig.models[1]), double(rig, 90), double(rig, 50)):
            process.apply("endpoint", ENDPOINT, want)
            have = process.state("endpoint", ENDPOINT)
            assert have
            assert have.spec == spec_hash(want)
            assert have.labels["cloudml-hash"] == label(want)
            assert have.labels.get("cloudml-prev") == (label(before) if before else None)
            with pytest.raises((RunFailed, RolledBack)):
                process.apply("endpoint", ENDPOINT, single(rig.broken))
            before = want

    def test_rendering_is_pure(self, rig: Rig) -> None:
        process = rig.process()
        sharing(process)
        for want in (single(rig.models[1]), double(rig, 90)):
            goal = process.goal("endpoint", ENDPOINT, want)
            have = process.state("endpoint", ENDPOINT, want)
            before = repr((goal, have))
            first = process.kind("endpoint").render(goal, have)
            assert first == process.kind("endpoint").render(goal, have)
            assert repr((goal, have)) == before

    def test_deleted_leaves_nothing(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        before = rig.snapshot()
        process.apply("endpoint", ENDPOINT, double(rig, 90))
        process.apply("endpoint", ENDPOINT, single(rig.models[1]))
        planned, sent = process.plan("endpoint", ENDPOINT, None), len(process.sent)
        process.delete("endpoint", ENDPOINT)
        assert matches(planned, process.sent[sent:])
        assert process.state("endpoint", ENDPOINT) is None
        assert rig.snapshot() == before

    def test_requests_are_counted(self, rig: Rig) -> None:
        process = rig.process()
        serving(process)
        for _ in range(3):
            process.ask(ENDPOINT)
        have = process.state("endpoint", ENDPOINT)
        assert have

        def counted(window: Window) -> float:
            samples = process.provider.telemetry.metrics(have, window)
            return sum(each.value for each in samples if each.name == "requests")

        assert rig.until(lambda: counted(Window()) == 3)

    def test_deleted_while_it_is_made(self, rig: Rig) -> None:
        process = rig.process()
        registered(process)
        before = rig.snapshot()
        process.apply("endpoint", ENDPOINT, single(rig.models[0]), Until.SUBMITTED)
        rig.process().delete("endpoint", ENDPOINT)
        assert rig.snapshot() == before


def _captured(process: Process) -> dict[str, list[object]]:
    """The first of the answers that were kept of each deployment."""
    have = process.state("endpoint", ENDPOINT)
    assert have
    kept = process.provider.telemetry.captured(have, Window())
    return {str(each.deployment): [*each.outputs] for each in kept}


def _leftovers(process: Process, content: Content) -> list[object]:
    """Parts that run, or would run, that content."""
    have = process.state("endpoint", ENDPOINT)
    assert have
    return [part for part in have.parts if part.spec == hashed(content)]
