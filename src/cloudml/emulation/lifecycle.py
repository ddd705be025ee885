"""How fast an emulated resource goes through the states that the real one shows before it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lifecycle:
    """``reads`` looks, or ``seconds``, in every intermediate state; both 0 is at once.

    The states themselves are the emulator's declared data; real work (a training that trains) takes what it takes.
    """

    reads: int = 0
    seconds: float = 0.0
    clock: Callable[[], float] = time.monotonic

    def stage(self, states: Sequence[str], since: float, reads: int) -> str | None:
        """The intermediate state of a resource that began at ``since`` and was read so often; None after the last."""
        passed = reads // self.reads if self.reads else len(states)
        if self.seconds:
            passed = min(passed, int((self.clock() - since) / self.seconds))
        return states[passed] if passed < len(states) else None


INSTANT = Lifecycle()
SLOW = Lifecycle(seconds=1.0)
LIFECYCLES = {"instant": INSTANT, "slow": SLOW}
