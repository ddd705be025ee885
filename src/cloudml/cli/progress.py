"""Progress on stderr: a line per change; on a terminal the running line is rewritten with its seconds."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from cloudml.events import Event, Happened
from cloudml.states import Key

CONTENT = "artifact"  # uploads: many, small, and named by digests
CALLS = frozenset({Happened.SENDING, Happened.SENT, Happened.REFUSED, Happened.LOST, Happened.RETRYING})
CLEAR = "\r\x1b[K"


class Progress:
    """A listener for events.

    ``quiet`` only listens; without ``verbose`` the phases, the ends and the notes are written, with it each call too.
    ``now`` is in seconds; ``busy`` is what was last heard of and is not done, for whoever is interrupted.
    """

    def __init__(
        self,
        verbose: bool = False,
        quiet: bool = False,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verbose = verbose
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._now = now
        self._terminal = self._stream.isatty()
        self._last: dict[Key | None, str] = {}
        self._since = now()
        self._running = self._shown = ""
        self.busy: Key | None = None

    def __call__(self, event: Event) -> None:
        if event.key is not None and event.key.kind != CONTENT:
            self.busy = event.key if event.what is not Happened.DONE else None
        if self._quiet:
            return
        if not self._verbose and (event.what in CALLS or (event.key is not None and event.key.kind == CONTENT)):
            return
        line = self._line(event)
        if event.what is Happened.WAITING and line == self._running and self._terminal:
            self._rewrite(f"{line} {self._now() - self._since:.0f} s")
        elif self._last.get(event.key) != line:
            self._last[event.key] = line
            self._write(line, stays=event.what is not Happened.WAITING)

    def close(self) -> None:
        """Ends the line that is being rewritten."""
        if self._running and self._terminal:
            self._stream.write("\n")
        self._running = ""

    def _line(self, event: Event) -> str:
        text = event.text
        if event.what is Happened.DONE:
            text = event.state.phase.value if event.state else "removed"
        elif event.what is Happened.WAITING and event.state is not None and event.state.phase.settled:
            busy = [
                f"{part.kind} {part.name} {part.phase.value}" for part in event.state.parts if not part.phase.settled
            ]
            text = ", ".join(busy) or text
        mark = "" if event.what not in CALLS or event.what is Happened.SENDING else f" {event.what.value}"
        return f"{event.key}:{mark} {text}" if event.key is not None else text

    def _write(self, line: str, stays: bool) -> None:
        self.close()
        self._stream.write(line if self._terminal and not stays else f"{line}\n")
        self._stream.flush()
        self._running, self._since = ("", self._now()) if stays else (line, self._now())

    def _rewrite(self, line: str) -> None:
        if line != self._shown:
            self._shown = line
            room = shutil.get_terminal_size().columns - 1  # a line that wraps could not be rewritten
            self._stream.write(f"{CLEAR}{line[:room]}")
            self._stream.flush()
