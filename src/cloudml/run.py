"""One pursuit of one goal: what it saw first, what it sent, how long it may take, and why it is stuck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cloudml import specs
from cloudml.calls import resolved
from cloudml.errors import (
    AlreadyExists,
    AnswerLost,
    CloudmlError,
    Conflict,
    NotConverging,
    NotFound,
    PreconditionFailed,
    ProviderError,
    RolledBack,
    RunFailed,
)
from cloudml.events import Event, Events, Happened
from cloudml.labels import JOB, refuse_foreign
from cloudml.spi import Call, Effect, Goal, Kind, Operation, Repeat, Until, Want
from cloudml.states import LEAVING, Failure, Key, Phase, State
from cloudml.waiting import Wait

LAG = 10.0  # seconds that a provider may need until a read shows a write
RESENDS = 3


@dataclass
class Run:
    """One pursuit of one goal: what it saw first, what it sent, how long it may take.

    ``adopt`` takes over what carries no label or another stack's; ``exclusive`` makes it AlreadyExists
    if another process has made the thing before our own call did, for whoever must not share it (what is EMPTY was
    only prepared); ``existing`` makes it NotFound if the thing is gone, for whoever only waits and must not make it
    again.
    """

    wait: Wait
    events: Events
    adopt: bool = False
    exclusive: bool = False
    existing: bool = False
    sent: dict[str, ProviderError | None] = field(default_factory=dict)
    _looked: bool = False
    _first: State | None = None
    _old_failures: set[tuple[str, str | None]] = field(default_factory=set)
    _answered: float = float("-inf")
    _lost: dict[str, int] = field(default_factory=dict)
    _hold: dict[str, float] = field(default_factory=dict)
    _refusals: dict[str, int] = field(default_factory=dict)
    _met: set[str] = field(default_factory=set)
    _passed: bool = False
    _maker: str | None = None

    def saw(self, key: Key, have: State | None) -> None:
        """Remembers the first look; a failure of then that has gone since counts when it comes back."""
        if self.existing and have is None:
            raise NotFound(f"{key} is gone: it was deleted meanwhile")
        if self.exclusive and have is not None and have.phase is not Phase.EMPTY and not self._ours:
            raise AlreadyExists(f"{key} was made by another process just now")
        failing = set(_failures(have))
        if not self._looked:
            self._looked, self._first, self._old_failures = True, have, failing
        self._old_failures &= failing

    def refuse_foreign(self, goal: Goal[Want], have: State | None) -> None:
        refuse_foreign(goal, have, self.adopt)

    def failure(self, goal: Goal[Want], have: State | None) -> Failure | None:
        """A failure of what is wanted that was not there at the first look; a job's always."""
        if not isinstance(goal.want, specs.Spec) or have is None:
            return None
        if goal.key.kind == JOB:
            return (have.failure or Failure(have.phase.value)) if have.phase.failed else None
        ours = specs.hashes(goal.want)
        for mark, reason in _failures(have).items():
            if mark not in self._old_failures and (mark[1] in ours or mark[0] == have.id):
                return reason
        return None

    def asked(self, calls: Sequence[Call]) -> None:
        """Remembers which calls have had their effect, for nobody asks for them any more, and which one makes it."""
        if self.sent:
            self._met |= self.sent.keys() - {call.fingerprint() for call in calls}
        if calls and not self._ours:  # those before it prepare: an image, an environment
            making = [call for call in calls if call.effect is Effect.CREATE] or calls
            self._maker = making[-1].fingerprint()

    def submitted(self, goal: Goal[Want], have: State | None) -> bool:
        """Whether a goal that is only to be handed over has been."""
        if goal.until is not Until.SUBMITTED or have is None or not goal.present:
            return False
        return goal.key.kind == JOB or (bool(self.sent) and (_busy(have) or have.working))

    def waits(self, goal: Goal[Want], have: State | None) -> bool:
        """Pauses, and says so, while the provider is still at work on something that the next step needs."""
        if have is None:
            return False
        refused = any(isinstance(refusal, PreconditionFailed) for refusal in self.sent.values())
        busy = _busy(have) if goal.present or refused else have.phase in LEAVING
        if not (busy or have.working):
            return False
        self._passed = True
        self.tell(Happened.WAITING, goal.key, have.phase.value, have)
        self.wait.pause(f"{goal.key} is {have.phase.value}")
        return True

    def holds(self, mark: str) -> bool:
        """Whether a call whose answer was lost must not be sent again yet: it may still come into sight."""
        if self.wait.clock.now() >= self._hold.get(mark, float("-inf")):
            return False
        self.wait.pause("looking for what a lost answer may have made", longest=LAG / 4)
        return True

    def excused(self, mark: str) -> bool:
        """Whether a call was only refused for the state that it met, and may go again: that has passed, or may have."""
        if not isinstance(self.sent[mark], PreconditionFailed) or self._refusals[mark] > RESENDS:
            return False
        return self._passed or self.wait.clock.now() - self._answered >= LAG

    def lagging(self, goal: Goal[Want], call: Call) -> bool:
        """Whether a read may be older than the last write; what was refused for a missing thing does not wait."""
        if self._lacks(call) or self.wait.clock.now() - self._answered >= LAG:
            return False
        self.wait.pause(f"{goal.key}: waiting until the change can be read", longest=LAG / 4)
        return True

    def send(self, kind: Kind[Want], goal: Goal[Want], call: Call, mark: str) -> None:
        """Sends one call and sees its operation to the end; what it answered is in ``sent``, unless it was lost."""
        self.tell(Happened.SENDING, goal.key, f"{call.operation} {call.target}: {call.why}", call=call)
        try:
            operation = kind.send(resolved(call))
        except AnswerLost as lost:
            self._grace(goal, call, mark, lost)
            return
        except (AlreadyExists, PreconditionFailed, NotFound) as refused:
            self._refused(goal, call, mark, refused)
            return
        if goal.until is Until.DONE:
            operation = self._finish(kind, goal, operation)
        self._answer(mark, None)
        if operation and operation.error:
            raise failed(goal.key, operation.error)
        self.tell(Happened.SENT, goal.key, f"{call.operation} {call.target}", call=call)

    def stuck(self, goal: Goal[Want], have: State | None, call: Call) -> CloudmlError:
        """Why a call that was answered is asked for again."""
        ours = specs.hashes(goal.want) if isinstance(goal.want, specs.Spec) else frozenset[str]()
        for mark, reason in _failures(have).items():
            if mark[1] in ours or (have and mark[0] == have.id):
                return failed(goal.key, reason)
        refusal = self.sent.get(call.fingerprint())
        if refusal and self._lacks(call):
            return refusal
        asked = f"{call.operation} {call.target} was answered, and is still needed ({call.why})"
        if refusal:
            hint = f"somebody else may hold {call.target}: choose another name"
            error: CloudmlError = Conflict(f"{goal.key}: {refusal}", hint=hint)
        elif have and self._went_back(goal, ours, have):
            error = RolledBack(f"{goal.key} went back to what ran before: {_reason(have)}", hint=asked)
        elif call.fingerprint() in self._met or (goal.present and have and not _runs(have) <= ours | {None}):
            error = Conflict(f"{goal.key} was changed by somebody else meanwhile", hint="apply again to put yours back")
        else:
            error = NotConverging(f"{goal.key}: {asked}")
        error.__cause__ = refusal
        return error

    def tell(
        self,
        what: Happened,
        key: Key,
        text: str,
        state: State | None = None,
        call: Call | None = None,
        operation: Operation | None = None,
    ) -> None:
        self.events.emit(Event(what, key, text, call, state, operation))

    @property
    def _ours(self) -> bool:
        """Whether the call that makes the thing was taken, or may have been: its answer was lost."""
        maker = self._maker
        return maker is not None and (maker in self._lost or self.sent.get(maker, self) is None)

    def _lacks(self, call: Call) -> bool:
        """Whether a call was refused because something that it needs is not there."""
        return isinstance(self.sent.get(call.fingerprint()), NotFound) and call.effect is not Effect.DELETE

    def _went_back(self, goal: Goal[Want], ours: frozenset[str], have: State) -> bool:
        """Whether what an endpoint ran at the first look runs again, instead of what is wanted."""
        if self._first is None or not isinstance(goal.want, specs.Endpoint):
            return False
        return _runs(have) == _runs(self._first) and not ours <= _runs(have)

    def _answer(self, mark: str, refusal: ProviderError | None) -> None:
        self.sent[mark] = refusal
        self._answered = self.wait.clock.now()
        self.wait.restart()

    def _refused(self, goal: Goal[Want], call: Call, mark: str, refusal: ProviderError) -> None:
        """AlreadyExists, a failed precondition and a thing gone since the last look: the next look decides."""
        if self.exclusive and isinstance(refusal, AlreadyExists) and mark not in self._lost:
            raise refusal
        if isinstance(refusal, PreconditionFailed):
            self._refusals[mark] = self._refusals.get(mark, 0) + 1
            self._passed = False
        self._answer(mark, refusal)
        self.tell(Happened.REFUSED, goal.key, str(refusal), call=call)

    def _grace(self, goal: Goal[Want], call: Call, mark: str, lost: AnswerLost) -> None:
        """The answer was lost: look first; what the provider would make twice is looked for during ten seconds."""
        self._lost[mark] = self._lost.get(mark, 0) + 1
        if self._lost[mark] > RESENDS:
            lost.advise("the same command again goes on from what is there")
            raise lost
        self.tell(Happened.LOST, goal.key, f"{call.operation} {call.target}: no answer; looking", call=call)
        if call.repeat is Repeat.GUARDED:
            self._hold[mark] = self.wait.clock.now() + LAG
        else:
            self.wait.pause(f"{goal.key}: an answer was lost")

    def _finish(self, kind: Kind[Want], goal: Goal[Want], operation: Operation | None) -> Operation | None:
        """Polls an operation to its end; one that the provider has forgotten has ended: the next look tells how."""
        while operation and operation.running:
            self.tell(Happened.WAITING, goal.key, f"operation on {operation.target}", operation=operation)
            self.wait.pause(f"{goal.key}: operation on {operation.target}", longest=operation.after)
            try:
                operation = kind.poll(operation)
            except NotFound:
                return None
        return operation


def failed(key: Key, failure: Failure) -> RunFailed:
    """The error for a failure that the provider reported."""
    code = f" ({failure.code})" if failure.code else ""
    return RunFailed(f"{key} failed: {failure.reason}{code}")


def _failures(have: State | None) -> dict[tuple[str, str | None], Failure]:
    """What has failed, by native id and hash: the resource itself and its parts."""
    if have is None:
        return {}
    bad = {(part.id, part.spec): part for part in have.parts if part.phase.failed}
    found = {mark: part.failure or Failure(f"{part.kind} {part.name} failed") for mark, part in bad.items()}
    if have.phase.failed:
        found[have.id, have.spec] = have.failure or Failure(have.phase.value)
    return found


def _busy(have: State) -> bool:
    return not have.phase.settled or any(not part.phase.settled for part in have.parts)


def _runs(have: State) -> frozenset[str | None]:
    """The hashes of what is really serving."""
    return frozenset({have.spec, *(part.spec for part in have.of("deployment") if not part.phase.failed)})


def _reason(have: State) -> str:
    return have.failure.reason if have.failure else "the provider gave no reason"
