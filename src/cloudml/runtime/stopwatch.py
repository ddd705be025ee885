"""How long a prediction takes by its own doing, on a machine where others may take the processor away."""

from __future__ import annotations

import sys
from time import perf_counter, thread_time

SHORT_WAIT = 0.015  # seconds: a thread waits as long for the interpreter's lock on a busy machine, whatever it does


class Stopwatch:
    """Started when made. The thread's processor time, unless it waited of itself (for a lock, a pool, a socket)."""

    __slots__ = ("_began", "_used", "_waits")

    def __init__(self) -> None:
        self._waits = _waits()
        self._used = thread_time()
        self._began = perf_counter()

    def seconds(self) -> float:
        """Since the start. A long wait of its own counts in full: it would keep the loop just as long."""
        passed, used = perf_counter() - self._began, thread_time() - self._used
        return used if passed - used < SHORT_WAIT or _waits() == self._waits else passed


if sys.platform == "linux":
    from resource import RUSAGE_THREAD, getrusage

    def _waits() -> int:
        """How often this thread gave up its processor of itself."""
        return getrusage(RUSAGE_THREAD).ru_nvcsw
else:  # it cannot be known, so a wait is never left out

    def _waits() -> float:
        return perf_counter()
