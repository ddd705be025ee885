"""Look, compare, send one call, look again: the one way in which anything is ever changed.

There is no state file. Whoever is killed here is followed by a process that looks and goes on from what is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloudml.events import Happened
from cloudml.labels import JOB, refuse_foreign
from cloudml.run import Run, failed
from cloudml.spi import Call, Goal, Kind, Want
from cloudml.states import State


def reconcile(kind: Kind[Want], goal: Goal[Want], run: Run) -> State | None:
    """Pursues a goal until what is observed is what is wanted; the last observation.

    Raises RunFailed, RolledBack, Conflict, NotConverging, Timeout, or what a call was refused with.
    """
    while True:
        have = kind.observe(goal.key, goal.want)
        run.saw(goal.key, have)
        run.refuse_foreign(goal, have)
        calls = kind.render(goal, have)
        run.asked(calls)
        if not (calls and goal.present and goal.key.kind == JOB):  # those fit any state: create it, cancel its double
            if reason := run.failure(goal, have):
                raise failed(goal.key, reason)
            if run.submitted(goal, have):
                return have
            if run.waits(goal, have):
                continue
        if not calls:
            run.tell(Happened.DONE, goal.key, "done", have)
            return have
        call = calls[0]
        mark = call.fingerprint()
        if run.holds(mark):
            continue
        if mark in run.sent and not run.excused(mark):
            if run.lagging(goal, call):
                continue
            raise run.stuck(goal, have, call)
        run.send(kind, goal, call, mark)


def look(kind: Kind[Want], goal: Goal[Want], adopt: bool = False) -> tuple[State | None, Sequence[Call]]:
    """What is there, and the calls that would be sent; nothing is."""
    have = kind.observe(goal.key, goal.want)
    refuse_foreign(goal, have, adopt)
    return have, kind.render(goal, have)
