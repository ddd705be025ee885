"""The loop itself, on a kind whose answers are written down beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cloudml.errors import (
    AlreadyExists,
    AnswerLost,
    Conflict,
    Invalid,
    NotConverging,
    NotFound,
    PreconditionFailed,
    RolledBack,
    RunFailed,
    Timeout,
)
from cloudml.events import Event, Events, Happened
from cloudml.reconcile import look, reconcile
from cloudml.run import LAG, Run
from cloudml.specs import Endpoint, TrainingJob, spec_hash
from cloudml.spi import Call, Effect, Goal, Operation, Repeat, Secret, Until
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml.waiting import Clock, Wait

KEY = Key("endpoint", "fraud-api", "shop")
WANT = Endpoint(model="fraud:1a2b3c4d")
OLD = State(KEY, Phase.READY, "shop", "0000old0", "e1")
BLUE = Part("deployment", "blue", "d1", Phase.READY, spec_hash(WANT.deployments["blue"]))
NEW = replace(OLD, spec=spec_hash(WANT), parts=(BLUE,))
UPDATE = Call("Update", "fraud-api", {"to": "new"}, "it differs", Effect.UPDATE)


@dataclass
class Time:
    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


@dataclass
class Scripted:
    """Shows states in their order, the last one for ever; asks for calls until it is at the goal."""

    states: Sequence[State | None]
    calls: Callable[[State | None], Sequence[Call]]
    answers: list[Operation | Exception | None] = field(default_factory=list)
    polls: list[Operation | Exception] = field(default_factory=list)
    sent: list[Call] = field(default_factory=list)
    looks: int = 0

    def observe(self, key: Key, want: Any) -> State | None:
        self.looks += 1
        assert self.looks < 500, "it looks for ever"
        return self.states[min(self.looks, len(self.states)) - 1]

    def render(self, goal: Goal[Any], have: State | None) -> Sequence[Call]:
        return self.calls(have)

    def send(self, call: Call) -> Operation | None:
        self.sent.append(call)
        assert len(self.sent) < 50, "it sends for ever"
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def poll(self, operation: Operation) -> Operation:
        answer = self.polls.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def list(self, stack: str | None) -> Iterator[State]:
        return iter(())


def until_new(have: State | None) -> Sequence[Call]:
    return () if have is not None and have.spec == NEW.spec else (UPDATE,)


def pursued(
    kind: Scripted, time: Time | None = None, goal: Goal[Any] | None = None, timeout: float = 600.0, **more: Any
) -> tuple[State | None, list[Event]]:
    events: list[Event] = []
    run = Run(Wait((time or Time()).clock, timeout), Events([events.append]), **more)
    return reconcile(kind, goal or Goal(KEY, WANT), run), events


def test_it_looks_sends_one_call_and_looks_again() -> None:
    kind = Scripted([OLD, NEW], until_new)
    have, events = pursued(kind)
    assert have == NEW
    assert kind.sent == [UPDATE]
    assert [event.what for event in events] == [Happened.SENDING, Happened.SENT, Happened.DONE]


def test_a_read_older_than_the_write_is_waited_for() -> None:
    time = Time()
    kind = Scripted([OLD, OLD, OLD, OLD, NEW], until_new)
    pursued(kind, time)
    assert len(kind.sent) == 1
    assert 0 < time.now < LAG


def test_what_ran_before_runs_again() -> None:
    time = Time()
    kind = Scripted([OLD, replace(OLD, phase=Phase.UPDATING), OLD], until_new)
    with pytest.raises(RolledBack, match="went back"):
        pursued(kind, time)
    assert len(kind.sent) == 1
    assert LAG <= time.now < 2 * LAG


def test_something_else_runs_than_before_and_than_wanted() -> None:
    with pytest.raises(Conflict, match="somebody else"):
        pursued(Scripted([OLD, replace(OLD, spec="other")], until_new))


def test_what_was_reached_and_is_undone_is_somebody_else_s() -> None:
    twice = Call("Tag", "fraud-api", {}, "it has no label", Effect.UPDATE)
    asked = iter([(UPDATE,), (twice,), *[(UPDATE,)] * 50])
    with pytest.raises(Conflict, match="somebody else"):
        pursued(Scripted([NEW], lambda have: next(asked)))


def test_a_call_without_effect_does_not_converge() -> None:
    with pytest.raises(NotConverging, match="Update fraud-api was answered, and is still needed"):
        pursued(Scripted([NEW], lambda have: (UPDATE,)))


def test_a_name_that_is_taken_and_stays_invisible_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="taken") as raised:
        pursued(Scripted([None], lambda have: (UPDATE,), [AlreadyExists("taken")]))
    assert isinstance(raised.value.__cause__, AlreadyExists)


def test_a_refused_request_is_raised_as_it_is() -> None:
    with pytest.raises(Invalid, match="bad role"):
        pursued(Scripted([OLD], until_new, [Invalid("bad role")]))


def test_a_missing_thing_is_looked_for_once_and_then_told_at_once() -> None:
    time = Time()
    with pytest.raises(NotFound, match="no role"):
        pursued(Scripted([OLD], until_new, [NotFound("no role")]), time)
    assert time.now < 2


def test_a_missing_thing_to_delete_is_an_answer() -> None:
    delete = Call("Delete", "fraud-api", {}, "it is to be gone", Effect.DELETE)
    kind = Scripted([OLD, None], lambda have: (delete,) if have else (), [NotFound("gone")])
    assert pursued(kind, goal=Goal(KEY))[0] is None


def test_a_state_that_forbids_a_call_is_waited_out_and_the_call_sent_again() -> None:
    busy = replace(OLD, phase=Phase.UPDATING)
    kind = Scripted([OLD, busy, busy, OLD, NEW], until_new, [PreconditionFailed("busy")])
    have, events = pursued(kind)
    assert have == NEW
    assert len(kind.sent) == 2
    assert Happened.REFUSED in [event.what for event in events]


def test_a_delete_that_is_refused_while_busy_waits_for_the_end_of_it() -> None:
    delete = Call("Delete", "fraud-api", {}, "it is to be gone", Effect.DELETE)
    busy = replace(OLD, phase=Phase.CREATING)
    kind = Scripted([busy, busy, busy, OLD, None], lambda have: (delete,) if have else (), [PreconditionFailed("busy")])
    assert pursued(kind, goal=Goal(KEY))[0] is None
    assert len(kind.sent) == 2


def test_a_lost_answer_of_a_call_that_is_safe_to_repeat_is_followed_by_it_again() -> None:
    kind = Scripted([OLD, OLD, NEW], until_new, [AnswerLost("reset")])
    assert pursued(kind)[0] == NEW
    assert len(kind.sent) == 2


def test_what_would_be_made_twice_is_looked_for_during_ten_seconds_first() -> None:
    create = replace(UPDATE, effect=Effect.CREATE, repeat=Repeat.GUARDED)
    time = Time()
    kind = Scripted([None], lambda have: () if len(kind.sent) > 1 else (create,), [AnswerLost("reset")])
    pursued(kind, time)
    assert time.now >= LAG
    assert kind.looks > 4
    seen = Scripted([None, None, None, NEW], lambda have: () if have else (create,), [AnswerLost("reset")])
    pursued(seen)
    assert len(seen.sent) == 1


def test_an_operation_is_polled_to_its_end_and_its_error_told() -> None:
    running = Operation("op-1", "fraud-api", running=True)
    failing = replace(running, running=False, error=Failure("no capacity", "8"))
    with pytest.raises(RunFailed, match=r"no capacity \(8\)"):
        pursued(Scripted([OLD], until_new, [running], [running, failing]))


def test_an_operation_is_asked_again_as_soon_as_it_says_it_may_be() -> None:
    time = Time()
    running = Operation("op-1", "fraud-api", running=True, after=0.2)
    pursued(Scripted([OLD, NEW], until_new, [running], [running, running, replace(running, running=False)]), time)
    assert time.now == pytest.approx(0.6)


def test_an_operation_that_the_provider_has_forgotten_has_ended() -> None:
    running = Operation("op-1", "fraud-api", running=True)
    assert pursued(Scripted([OLD, NEW], until_new, [running], [running, NotFound("no operation")]))[0] == NEW


def test_somebody_else_s_is_refused_before_anything_is_sent() -> None:
    for owner in ("other", None):
        kind = Scripted([replace(OLD, owner=owner)], until_new)
        with pytest.raises(Conflict, match="not to 'shop'"):
            pursued(kind)
        with pytest.raises(Conflict):
            look(kind, Goal(KEY, WANT))
        assert kind.sent == []
        assert len(look(kind, Goal(KEY, WANT), adopt=True)[1]) == 1


def test_whose_a_thing_is_shows_when_the_operation_that_makes_it_has_ended() -> None:
    making = State(KEY, Phase.CREATING, None, operations=(Operation("op-1", "fraud-api", running=True),))
    assert pursued(Scripted([making, making, NEW], until_new))[0] == NEW
    with pytest.raises(Conflict):
        pursued(Scripted([making, replace(NEW, owner="other")], until_new))


def test_a_failure_of_before_is_repaired_and_a_new_one_is_told() -> None:
    bad = replace(BLUE, phase=Phase.FAILED, failure=Failure("crashed"))
    failed = replace(OLD, parts=(bad,))
    assert pursued(Scripted([failed, NEW], until_new))[0] == NEW
    with pytest.raises(RunFailed, match="crashed"):
        pursued(Scripted([OLD, failed], until_new))
    with pytest.raises(RunFailed, match="crashed"):
        pursued(Scripted([failed, OLD, failed], until_new))
    other = replace(OLD, parts=(replace(bad, spec="other"),))
    assert pursued(Scripted([OLD, other, NEW], until_new))[0] == NEW, "somebody else's failure is not ours"


def test_the_deadline_is_an_error_that_says_it_goes_on() -> None:
    time = Time()
    with pytest.raises(Timeout, match="updating") as raised:
        pursued(Scripted([replace(OLD, phase=Phase.UPDATING)], until_new), time, timeout=100)
    assert time.now == 100
    assert raised.value.exit_code == 9


def test_submitted_returns_when_the_provider_is_at_work() -> None:
    running = Operation("op-1", "fraud-api", running=True)
    busy = replace(OLD, operations=(running,))
    kind = Scripted([OLD, busy], until_new, [running])
    assert pursued(kind, goal=Goal(KEY, WANT, until=Until.SUBMITTED))[0] == busy


def test_a_running_job_is_waited_for_but_its_double_is_cancelled_at_once() -> None:
    key = Key("job", "fraud-1a2b3c4d-1", "shop")
    running = State(key, Phase.RUNNING, "shop")
    done = replace(running, phase=Phase.SUCCEEDED)
    cancel = Call("Cancel", "job-2", {}, "it is not wanted to run", Effect.UPDATE)
    asked = iter([(cancel,), (), (), ()])
    kind = Scripted([running, running, done], lambda have: next(asked))
    time = Time()
    pursued(kind, time, Goal(key, TrainingJob(command="true")))
    assert kind.sent == [cancel]


def test_whoever_must_not_share_is_told_that_it_is_there() -> None:
    with pytest.raises(AlreadyExists, match="another process"):
        pursued(Scripted([NEW], until_new), exclusive=True)
    with pytest.raises(AlreadyExists):
        pursued(Scripted([None], until_new, [AlreadyExists("taken")]), exclusive=True)
    kind = Scripted([None, None, NEW], until_new, [AnswerLost("reset"), AlreadyExists("taken")])
    assert pursued(kind, exclusive=True)[0] == NEW, "after a lost answer it is ours"


def test_whoever_must_not_share_is_told_what_happened_while_it_prepared() -> None:
    """What was prepared is nobody's; what was made before our own call, whenever that was, is not ours."""
    prepare, make = Call("Prepare", "image", {}, "none"), Call("Make", "fraud-api", {}, "none")
    tag = Call("Tag", "fraud-api", {}, "none", Effect.UPDATE)
    empty = replace(OLD, phase=Phase.EMPTY)

    def calls(have: State | None) -> Sequence[Call]:
        if have == NEW:
            return ()
        return (tag,) if have == OLD else (make, tag) if have == empty else (prepare, make, tag)

    for states in ([None, NEW], [None, OLD], [None, empty, OLD]):
        kind = Scripted(states, calls, [None, PreconditionFailed("busy")])
        with pytest.raises(AlreadyExists, match="another process"):
            pursued(kind, exclusive=True)
        assert tag not in kind.sent
    kind = Scripted([None, empty, OLD, NEW], calls)
    assert pursued(kind, exclusive=True)[0] == NEW
    assert kind.sent == [prepare, make, tag]


def test_a_secret_is_sent_as_its_value_and_told_as_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hush")
    call = replace(UPDATE, document={"env": [{"token": Secret("env:TOKEN")}]})
    kind = Scripted([OLD, NEW], lambda have: () if have == NEW else (call,))
    events = pursued(kind)[1]
    assert kind.sent[0].document == {"env": [{"token": "hush"}]}
    assert not any("hush" in str(event) for event in events)
