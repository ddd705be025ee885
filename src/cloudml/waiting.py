"""The one place that sleeps: pauses that grow, under a deadline that is always set."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cloudml.errors import Timeout

LONGEST = 30.0
GROWTH = 1.5


@dataclass(frozen=True)
class Clock:
    """Time as the core sees it: monotonic seconds and a sleep. Tests inject their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Wait:
    """Pauses from ``first`` seconds growing to 30, until ``timeout`` seconds have passed since it was made."""

    def __init__(self, clock: Clock, timeout: float, first: float = 1.0) -> None:
        self.clock = clock
        self.timeout = timeout
        self.first = first
        self._deadline = clock.now() + timeout
        self._next = first

    def restart(self) -> None:
        """Something moved: look soon again."""
        self._next = self.first

    def prolong(self) -> None:
        """One of many things is done: the deadline is that of the next."""
        self._deadline = self.clock.now() + self.timeout

    def pause(self, what: str, longest: float | None = None) -> None:
        """Sleeps for the next interval; Timeout, naming ``what`` was waited for, when the deadline has passed."""
        left = self._deadline - self.clock.now()
        if left <= 0:
            raise Timeout(
                f"{what}: not done after {self.timeout:g} s; it goes on running",
                hint="run the same command again to go on waiting, with --timeout for longer",
            )
        self.clock.sleep(min(self._next, LONGEST if longest is None else longest, left))
        self._next = min(self._next * GROWTH, LONGEST)
