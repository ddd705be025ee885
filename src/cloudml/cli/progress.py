"""Progress on stderr: a line per change; on a terminal the running line is rewritten with its seconds."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from cloudml.cli.columns import short
from cloudml.events import Event, Happened
from cloudml.states import Key

CONTENT = "artifact"  # uploads: many, small, and named by digests
CALLS = frozenset({Happened.SENDING, Happened.SENT, Happened.REFUSED, Happened.LOST, Happened.RETRYING})
CLEAR = "\r\x1b[K"
WORTH_TELLING = 1 << 20  # bytes of an upload


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
        if event.what is Happened.PROGRESS:
            return self._count(f"{event.key}: {event.text}")
        if event.what is Happened.RETRYING and not self._verbose:
            return self._count(event.text)
        if event.key is not None and event.key.kind == CONTENT and self._upload(event):
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

    def _count(self, line: str) -> None:
        """How far something has come, or why it takes long: a line that is rewritten; nothing without a terminal."""
        if self._terminal:
            if not self._running:
                self._write(line, stays=False)
            self._rewrite(line)

    def _upload(self, event: Event) -> bool:
        """Tells of an upload that takes its time, with its size and how long it took; whether it did."""
        size = event.call.document.get("bytes") if event.call else None
        if not isinstance(size, int) or size < WORTH_TELLING or event.what not in (Happened.SENDING, Happened.SENT):
            return False
        name = "/".join(short(part) for part in event.call.target.split("/")[-2:]) if event.call else ""
        if event.what is Happened.SENDING:
            self._write(f"uploading {name}, {sized(size)}", stays=not self._terminal)
            return True
        passed = max(self._now() - self._since, 1e-3)
        if self._running and self._terminal:
            self._stream.write(CLEAR)
            self._running = ""
        self._write(f"uploaded {name}, {sized(size)} in {passed:.1f} s", stays=True)
        return True

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


def sized(size: int) -> str:
    """Bytes in their largest unit."""
    return f"{size / 2**30:.1f} GiB" if size >= 1 << 30 else f"{size / 2**20:.1f} MiB"
