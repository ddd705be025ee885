"""Many runs watched to their ends together: one list a look for all of them, where the provider has one.

A list is only a hint. What it does not name is looked at by itself before it counts as ended, so a list that is behind
costs time, and never a wrong answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudml.errors import QuotaExceeded, RunFailed
from cloudml.events import Event, Events, Happened
from cloudml.goals import PATIENCE, Pursuit, Session
from cloudml.run import LAG, failed
from cloudml.spi import Kind, Listing, Until
from cloudml.states import Failure, Key, Phase, State
from cloudml.waiting import Wait

NAMED = 5  # runs that an error about many names
Ended = Mapping[Key, State | None]


class Watch:
    """Some runs; ``left`` are those that have not been seen to have ended, with their last phases."""

    def __init__(self, jobs: Kind[Any], wait: Wait, events: Events) -> None:
        self._jobs, self._wait, self._events = jobs, wait, events
        self.left: dict[Key, Phase | None] = {}
        self._missed: dict[Key, float] = {}
        self._told: State | None = None

    def add(self, keys: Iterable[Key]) -> None:
        self.left |= dict.fromkeys(keys)

    def until_one_ends(self) -> Ended:
        """Pauses until at least one more has ended: their last observations, None for what is gone.

        Empty if none is left. Raises Timeout.
        """
        while self.left:
            if ended := self._look():
                for key in ended:
                    del self.left[key]
                    self._missed.pop(key, None)
                return ended
            first, phase = next(iter(self.left.items()))
            others = f" and {len(self.left) - 1} more" if len(self.left) > 1 else ""
            said = f"{first} is {phase.value if phase else 'not in sight'}{others}"
            self._wait.pause(said, longest=LAG / 4 if self._missed else None)
        return {}

    def until_all_end(self) -> Ended:
        """The same for all of them."""
        ended: dict[Key, State | None] = {}
        while self.left:
            ended |= self.until_one_ends()
        return ended

    def _look(self) -> dict[Key, State | None]:
        """Those that have ended since the last look; tells what has changed, and if nothing has, of the last again."""
        going, ended, changed = self._listed(), dict[Key, State | None](), False
        for key, before in [*self.left.items()]:
            state = State(key, going[key], owner=None) if key in going else self._jobs.observe(key, None)
            if self._over(key, state):
                ended[key] = state
                self._events.emit(Event(Happened.DONE, key, "done", state=state))
                continue
            self.left[key] = phase = state.phase if state else None
            if state is not None and phase is not before:
                self._tell(state)
                changed = True
        if not (changed or ended) and self._told and self._told.key in self.left:
            self._tell(self._told)
        return ended

    def _tell(self, state: State) -> None:
        self._told = state
        self._events.emit(Event(Happened.WAITING, state.key, state.phase.value, state=state))

    def _listed(self) -> Mapping[Key, Phase]:
        """The phases of those that a list shows to be going on; a single one is not worth a list."""
        if len(self.left) == 1 or not isinstance(self._jobs, Listing):
            return {}
        stacks = {stack: self._jobs.unsettled(stack) for stack in {key.stack for key in self.left}}
        return {key: stacks[key.stack][key.name] for key in self.left if key.name in stacks[key.stack]}

    def _over(self, key: Key, state: State | None) -> bool:
        """Whether a run has ended, or has been missing for so long that it cannot be a read that is behind."""
        if state is None or state.phase is Phase.EMPTY:
            now = self._wait.clock.now()
            return now - self._missed.setdefault(key, now) >= LAG
        self._missed.pop(key, None)
        return state.phase.settled


def wrong(key: Key, state: State | None) -> RunFailed | None:
    """Why a run that has ended is not what was wanted of it; None if it has succeeded."""
    if state is None or state.phase is Phase.EMPTY:
        return RunFailed(f"{key} was deleted")
    if state.phase.failed:
        return failed(key, state.failure or Failure(state.phase.value))
    return RunFailed(f"{key} was {state.phase.value}") if state.phase is not Phase.SUCCEEDED else None


def all_wrong(errors: Sequence[RunFailed], of: int) -> RunFailed:
    """One error for those of several runs that are not what was wanted."""
    if len(errors) == 1:
        return errors[0]
    more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    said = "; ".join(str(error.args[0]) for error in errors[:NAMED])
    return RunFailed(f"{len(errors)} of {of} runs failed: {said}{more}", hint=errors[0].hint)


@dataclass
class Runs:
    """Runs that are pursued together: started in order, then watched. What failed does not keep the others from it.

    ``states`` are their last observations, ``errors`` why some are not what was wanted.
    """

    session: Session
    timeout: float | None
    adopt: bool = False
    states: dict[Key, State | None] = field(default_factory=dict)
    errors: dict[Key, RunFailed] = field(default_factory=dict)
    _pursuits: dict[Key, Pursuit[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        patience = PATIENCE if self.timeout is None else self.timeout
        self._wait = Wait(self.session.clock, patience, self.session.plugin.pace)
        self._watch = Watch(self.session.provider.jobs, self._wait, self.session.events)

    @property
    def going(self) -> Sequence[Key]:
        """Those that have not ended."""
        return [*self._watch.left]

    def start(self, pursuits: Iterable[Pursuit[Any]], queue: bool) -> None:
        """Hands each of them over; with ``queue``, what is over the quota waits until one that runs has ended."""
        waiting = deque(pursuits)
        while waiting:
            pursuit = waiting[0]
            key = pursuit.goal.key
            self._pursuits[key] = pursuit
            try:
                state = self.session.pursue(pursuit, self.timeout, Until.SUBMITTED, self.adopt)
            except QuotaExceeded:
                if not (queue and self._watch.left):
                    raise
                self._note_ended()
                continue
            except RunFailed as error:
                self.errors[key] = error
            else:
                self._note({key: state})
            waiting.popleft()

    def finish(self) -> None:
        """Pauses until all have ended. Timeout if it takes the time-out until the next one does."""
        while self._watch.left:
            self._note_ended()

    def _note_ended(self) -> None:
        self._note(self._watch.until_one_ends())
        self._wait.prolong()

    def _note(self, found: Ended) -> None:
        for key, state in found.items():
            self.states[key] = state
            if state is not None and not state.phase.settled:
                self._watch.add([key])
            elif error := wrong(key, state):
                self.errors[key] = error
            elif self._pursuits[key].kind.render(self._pursuits[key].goal, state):  # a double that came into sight late
                self.states[key] = self.session.pursue(self._pursuits[key], self.timeout, existing=True)
