"""A machine's slots and the line before them: who asked first gets them first, and the dead give back what they held.

    FOLDER/0 1 2 ...          one file for each slot, locked by the supervisor of the task that runs on it
           line/000000000017  a ticket, locked by its supervisor until that has its slots or has left
           drawing            locked while a ticket is drawn

Everybody waits for the lock of the ticket before the own one, which costs nothing, and only the first in the line looks
for free slots. So a large task is not passed by small ones for ever, and nobody holds what another one waits for.
Part of the supervisor's program, so it imports little.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Waiter(Protocol):
        """Waits, and is woken by whoever wants the supervisor to look up."""

        def wait(self, until: float) -> None: ...

        def wait_for(self, lock: int, until: float) -> bool: ...


SHORTEST, LONGEST = 0.01, 0.25  # seconds between two looks at the slots


class Line:
    """The place of one task in the line, and then its slots: ``take`` of ``total``."""

    def __init__(self, folder: str, total: int, take: int) -> None:
        self._folder, self._total, self._take = folder, total, take
        self._slots: list[int] = []
        self._held: list[int] = []
        self._pause = SHORTEST
        os.makedirs(os.path.join(folder, "line"), mode=0o700, exist_ok=True)
        self._number, self._ticket = self._draw()

    def step(self, waiter: Waiter, until: float) -> bool:
        """Wait at most so long for one thing to change; True once the slots are held."""
        before = self._before()
        if before is not None:
            self._wait_behind(before, waiter, until)
        elif self._grab():
            self.leave()
            return True
        elif time.monotonic() < until:
            waiter.wait(min(until, time.monotonic() + self._pause))
            self._pause = min(2 * self._pause, LONGEST)
        return False

    def leave(self) -> None:
        """Let the next one come forward; slots that are held stay so."""
        os.unlink(self._path(self._number))
        os.close(self._ticket)

    def _draw(self) -> tuple[int, int]:
        with open(os.path.join(self._folder, "drawing"), "a") as drawing:
            fcntl.flock(drawing, fcntl.LOCK_EX)
            number = max(self._numbers(), default=0) + 1
            ticket = os.open(self._path(number), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(ticket, fcntl.LOCK_EX)
        return number, ticket

    def _numbers(self) -> list[int]:
        return [int(name) for name in os.listdir(os.path.join(self._folder, "line"))]

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, "line", f"{number:012d}")

    def _before(self) -> int | None:
        return max((number for number in self._numbers() if number < self._number), default=None)

    def _wait_behind(self, number: int, waiter: Waiter, until: float) -> None:
        """Until the ticket before this one is not held any more; it is removed here if its holder died with it."""
        with contextlib.suppress(FileNotFoundError):
            ticket = os.open(self._path(number), os.O_RDONLY)
            try:
                if waiter.wait_for(ticket, until):
                    os.unlink(self._path(number))  # still that one: new numbers are higher than all in the line
            finally:
                os.close(ticket)

    def _grab(self) -> bool:
        """Lock what is free of what is missing; the first in the line is alone in this, so it may keep a part."""
        if not self._slots:
            paths = [os.path.join(self._folder, str(number)) for number in range(self._total)]
            self._slots = [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for path in paths]
        for slot in self._slots:
            if len(self._held) < self._take and slot not in self._held:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._held.append(slot)
        return len(self._held) == self._take
