"""Run one command as a child: its output passes through live, its signals reach all of it. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Callable

LONGEST_LINE = 1 << 16
PATIENCE = 0.1  # seconds that the end of a line is waited for: a print is often two writes
PR_SET_PDEATHSIG = 1
Seen = Callable[[bytes], None]


class Child:
    """Starts commands one after another; after SIGTERM or SIGINT it starts no more.

    A command gets a process group of its own; a signal is forwarded to the group, and what is left of it after
    ``grace`` seconds is killed.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._group: int | None = None
        self._timer: threading.Timer | None = None
        self.stopped_by: int | None = None

    @contextlib.contextmanager
    def forwarding(self) -> Iterator[None]:
        """While this is open, SIGTERM and SIGINT go to the child instead of ending this process."""
        before = {number: signal.signal(number, self._forward) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._timer is not None:
                self._timer.cancel()

    def run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], out: Seen, err: Seen, stdout: int = 1) -> int:
        """Run to the end; ``out`` and ``err`` see each line. Returns the code, negative for a signal.

        Raises OSError when the command cannot be started.
        """
        if self.stopped_by is not None:
            return -self.stopped_by
        process = subprocess.Popen(
            list(argv),
            cwd=str(cwd),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_own_group(),  # safe: no thread of ours runs yet
        )
        self._group = process.pid
        self._again()
        pumps = _pumps(process, stdout, out, err)
        code = process.wait()
        _join(pumps, 2.0)
        if any(pump.is_alive() for pump in pumps):  # something it left behind still holds the pipes
            self._kill()
            _join(pumps, 2.0)
        self._group = None
        return code

    def _forward(self, number: int, _frame: Any) -> None:
        self.stopped_by = number
        if self._group is None:
            return
        self._send(number)
        if self._timer is None:
            self._timer = threading.Timer(self._grace, self._kill)
            self._timer.daemon = True
            self._timer.start()

    def _again(self) -> None:
        if self.stopped_by is not None:  # the signal came between the check and the start
            self._forward(self.stopped_by, None)

    def _kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)


def _own_group() -> Callable[[], None]:
    """What the child does before it starts: leads a group, and on Linux dies when this process is killed."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def prepare() -> None:
        os.setpgid(0, 0)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare


def _join(threads: list[threading.Thread], seconds: float) -> None:
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))


class Outlet:
    """Where one stream goes, or both where they are one file: then no line of one is glued to a line of the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within: IO[bytes] | None = None  # the stream whose last line has not ended

    def write(self, source: IO[bytes], target: int, block: bytes) -> None:
        with self._lock:
            apart = self._within not in (None, source)
            _write(target, b"\n" + block if apart else block)
            self._within = None if block.endswith(b"\n") else source


def _pumps(process: subprocess.Popen[bytes], stdout: int, out: Seen, err: Seen) -> list[threading.Thread]:
    assert process.stdout is not None
    assert process.stderr is not None
    shared = Outlet()
    other = shared if _same(stdout, 2) else Outlet()
    copies = ((process.stdout, stdout, shared, out), (process.stderr, 2, other, err))
    threads = [threading.Thread(target=_copy, args=each, daemon=True) for each in copies]
    for thread in threads:
        thread.start()
    return threads


def _same(one: int, other: int) -> bool:
    """Whether two descriptors are one file; one that is closed is none."""
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _copy(source: IO[bytes], target: int, outlet: Outlet, seen: Seen) -> None:
    """Whole lines pass at once, what ends no line (a progress bar) after PATIENCE; ``seen`` is shown the lines."""
    pending, held, since = b"", b"", 0.0
    with source:
        while True:
            if held and not select.select([source], [], [], max(since + PATIENCE - time.monotonic(), 0))[0]:
                outlet.write(source, target, held)
                held = b""
            block = os.read(source.fileno(), 1 << 16)
            if not block:
                break
            end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
            since = time.monotonic() if end or not held else since
            ready, held = (held + block[:end], block[end:]) if end else (b"", held + block)
            if len(held) > LONGEST_LINE:
                ready, held = ready + held, b""
            if ready:
                outlet.write(source, target, ready)
            lines = (pending + block).split(b"\n")
            pending = lines.pop()[-LONGEST_LINE:]
            for line in lines:
                seen(line[:LONGEST_LINE])
        if held:
            outlet.write(source, target, held)
    if pending:
        seen(pending)


def _write(target: int, block: bytes) -> None:
    try:
        while block:
            block = block[os.write(target, block) :]
    except OSError:  # nobody reads any more: the job goes on, only its log ends
        return


class Tail:
    """The last lines of a stream, as text."""

    def __init__(self, lines: int = 400, width: int = 2000) -> None:
        self._lines: list[str] = []
        self._most = lines
        self._width = width

    def __call__(self, line: bytes) -> None:
        self._lines.append(line[: self._width].decode("utf-8", "replace").rstrip("\r"))
        del self._lines[: -self._most]

    def lines(self) -> list[str]:
        return list(self._lines)
