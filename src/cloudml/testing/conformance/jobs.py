"""What holds for jobs on every provider."""

from __future__ import annotations

import pytest

from cloudml.errors import AlreadyExists, RunFailed
from cloudml.specs import Model
from cloudml.spi import Goal, Listing, Repeat, Until
from cloudml.states import Phase
from cloudml.testing.conformance.rig import FAMILY, Rig, matches
from cloudml.testing.conformance.scenarios import JOB, running
from cloudml.testing.killing import Points
from cloudml.waiting import Wait
from cloudml.watching import Watch


class JobsContract:
    def test_what_is_not_there_is_none(self, rig: Rig) -> None:
        process = rig.process()
        assert process.state("job", JOB) is None
        assert process.state("job", JOB, rig.job) is None
        assert list(process.kind("job").list(rig.stack)) == []

    def test_it_runs_to_its_end(self, rig: Rig) -> None:
        process = rig.process()
        planned = process.plan("job", JOB, rig.job)
        have = process.apply("job", JOB, rig.job)
        assert have.phase is Phase.SUCCEEDED
        assert have.owner == rig.stack
        assert matches(planned, process.sent)
        assert [state.key for state in process.kind("job").list(rig.stack)] == [process.key("job", JOB)]

    def test_at_the_goal_nothing_is_sent(self, rig: Rig) -> None:
        rig.process().apply("job", JOB, rig.job)
        process = rig.process()
        assert process.plan("job", JOB, rig.job) == []
        process.apply("job", JOB, rig.job)
        assert process.sent == []

    def test_a_user_s_own_labels_reach_the_provider(self, rig: Rig) -> None:
        rig.process().apply("job", JOB, rig.job.model_copy(update={"labels": {"team": "risk"}}))
        (have,) = rig.process().kind("job").list(rig.stack)
        assert have.labels["team"] == "risk"

    def test_its_model_can_be_registered(self, rig: Rig) -> None:
        process = rig.process()
        job = process.apply("job", JOB, rig.job)
        assert job.facts["model"]
        have = process.apply("model", FAMILY, Model.model_validate({"from": f"run:{JOB}"}))
        part = have.of("version")[0]
        assert part.phase is Phase.READY
        assert part.facts["uri"]

    def test_its_log_can_be_read_in_pieces(self, rig: Rig) -> None:
        process = rig.process()
        job = process.apply("job", JOB, rig.job)
        lines, cursor = process.provider.telemetry.logs(job, None)
        assert lines
        assert process.provider.telemetry.logs(job, cursor)[0] == []

    def test_a_failure_is_an_error_with_its_reason(self, rig: Rig) -> None:
        process = rig.process()
        with pytest.raises(RunFailed, match=r"fail|exit"):
            process.apply("job", JOB, rig.failing)
        have = process.state("job", JOB)
        assert have
        assert have.phase is Phase.FAILED
        assert have.failure
        sent = len(process.sent)
        with pytest.raises(RunFailed) as again:
            process.apply("job", JOB, rig.failing)
        assert have.failure.reason in str(again.value)
        assert len(process.sent) == sent, "what failed is never submitted again"

    def test_submitted_is_enough_if_nobody_waits(self, rig: Rig) -> None:
        have = rig.process().apply("job", JOB, rig.slow, Until.SUBMITTED)
        assert not have.phase.settled

    def test_a_dead_process_s_job_is_waited_for(self, rig: Rig) -> None:
        rig.process().apply("job", JOB, rig.job, Until.SUBMITTED)
        process = rig.process()
        assert process.apply("job", JOB, rig.job).phase is Phase.SUCCEEDED
        assert process.sent == []

    def test_several_are_watched_to_their_ends(self, rig: Rig) -> None:
        process = rig.process()
        second, never = "fraud-1a2b3c4d-2", "fraud-1a2b3c4d-3"
        process.apply("job", JOB, rig.slow, Until.SUBMITTED)
        process.apply("job", second, rig.failing, Until.SUBMITTED)
        jobs = process.provider.jobs
        listed = jobs.unsettled(rig.stack) if isinstance(jobs, Listing) else {JOB: Phase.RUNNING}
        assert JOB in listed
        assert not listed[JOB].settled
        watch = Watch(process.kind("job"), Wait(rig.clock, rig.timeout, rig.plugin.pace), process.events)
        watch.add(process.key("job", name) for name in (JOB, second, never))
        ended = {key.name: state.phase if state else None for key, state in watch.until_all_end().items()}
        assert ended == {JOB: Phase.SUCCEEDED, second: Phase.FAILED, never: None}
        assert not (isinstance(jobs, Listing) and jobs.unsettled(rig.stack))

    def test_cancelling_stops_it_and_keeps_it(self, rig: Rig) -> None:
        running(rig.process())
        process = rig.process()
        have = process.cancel("job", JOB)
        assert have
        assert have.phase is Phase.CANCELLED
        assert len(process.sent) == 1

    def test_cancelling_is_met_by_any_end(self, rig: Rig) -> None:
        rig.process().apply("job", JOB, rig.job)
        process = rig.process()
        have = process.cancel("job", JOB)
        assert have
        assert have.phase is Phase.SUCCEEDED
        assert process.cancel("job", "fraud-ffffffff-1") is None
        assert process.sent == []

    def test_a_job_that_ends_before_it_is_cancelled_is_met(self, rig: Rig) -> None:
        running(rig.process())
        points = Points()

        def visit(point: str) -> None:
            if point.startswith("before "):
                rig.process().apply("job", JOB, rig.slow)

        points.visit = visit
        have = rig.process(points).cancel("job", JOB)
        assert have
        assert have.phase is Phase.SUCCEEDED

    def test_deleted_leaves_nothing(self, rig: Rig) -> None:
        process = rig.process()
        before = rig.snapshot()
        running(process)
        process.delete("job", JOB)
        assert process.state("job", JOB) is None
        assert process.everything() == []
        assert rig.snapshot() == before

    def test_whoever_must_not_share_a_job_makes_it_alone(self, rig: Rig) -> None:
        process = rig.process(exclusive=True)
        assert process.apply("job", JOB, rig.job).phase is Phase.SUCCEEDED

    @pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
    def test_whoever_must_not_share_a_job_is_told(self, rig: Rig, which: int) -> None:
        """Another process makes the same job just before our first call, or before the one that makes it."""
        points = Points()
        process = rig.process(points, exclusive=True)
        planned = process.plan("job", JOB, rig.slow)
        create, raced = planned[-1], planned[which]

        def visit(point: str) -> None:
            if point == f"before {raced.operation}":
                points.visit = lambda point: None
                rig.process().apply("job", JOB, rig.slow, Until.SUBMITTED)

        points.visit = visit
        if create.repeat is Repeat.SAFE or raced != create:
            with pytest.raises(AlreadyExists):
                process.apply("job", JOB, rig.slow)
        else:
            process.apply("job", JOB, rig.slow)
            have = process.state("job", JOB)
            assert have
            assert {part.phase for part in have.of("job")} <= {Phase.CANCELLING, Phase.CANCELLED}, "the oldest wins"

    def test_rendering_is_pure(self, rig: Rig) -> None:
        process = rig.process()
        goal = process.goal("job", JOB, rig.job)
        first = process.kind("job").render(goal, None)
        assert first == process.kind("job").render(goal, None)
        running(process)
        have = process.state("job", JOB)
        gone: Goal[object] = Goal(process.key("job", JOB))
        assert process.kind("job").render(gone, have) == process.kind("job").render(gone, have)
        assert [call.fingerprint() for call in first] == [
            call.fingerprint() for call in rig.process().kind("job").render(goal, None)
        ]
