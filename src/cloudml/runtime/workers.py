"""Several processes on one port by SO_REUSEPORT; one that dies is started again.

The kernel spreads connections over the workers that listen. The endpoint is ready when each of them has been; one that
is started again listens only when its model is loaded. Any worker's ``/metrics`` counts for all of them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from cloudml.errors import ConfigError
from cloudml.runtime.board import Board
from cloudml.runtime.supervising import fork

LAST = 25.0  # seconds from SIGTERM; a worker that has not ended by itself then is killed
SOON, LATER = 0.1, 5.0  # seconds before a worker is started again: the first time, and at most
LIVED = 10.0  # seconds, after which a worker's end counts as the first again
LOAD_FAILED = 3


@dataclass(frozen=True)
class Seat:
    """One worker's place. ``again``: it takes the place of one that died."""

    index: int
    board: Board
    again: bool = False


Work = Callable[[socket.socket, Seat], int]


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket that does not listen yet; ``shared`` lets others bind the same port. Raises ConfigError."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return sock


class Crew:
    """The workers of one port, and the process that looks after them."""

    def __init__(self, host: str, port: int, workers: int, work: Work) -> None:
        """Raises ConfigError when the port is taken, also by another crew."""
        if not hasattr(socket, "SO_REUSEPORT"):
            raise ConfigError("this system has no SO_REUSEPORT: only one worker can serve a port")
        with bind(host, port, shared=False) as probe:
            port = probe.getsockname()[1]
        self._host = host
        self._held = bind(host, port, shared=True)  # keeps the port while no worker has it
        self._board = Board(workers)
        self._work = work
        self._running: dict[int, tuple[int, float]] = {}  # by process: its index, and since when
        self._due: dict[int, float] = {}  # by index: when it starts again
        self._delays: dict[int, float] = {}

    def run(self) -> int:
        """Serve until a signal comes. Returns the exit code: 0 after a signal, a worker's own when none can load."""
        awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        try:
            for index in range(self._board.workers):
                self._start(index, before)
            code = None
            while code is None:
                code = self._next(awaited, before)
            self._stop(awaited)
            return code
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._held.close()

    def _start(self, index: int, before: set[signal.Signals | int]) -> None:
        again = index in self._delays
        port = self._held.getsockname()[1]

        def work() -> int:
            self._held.close()
            return self._work(bind(self._host, port, shared=True), Seat(index, self._board, again))

        self._running[fork(work, before)] = index, time.monotonic()

    def _next(self, awaited: set[signal.Signals], before: set[signal.Signals | int]) -> int | None:
        """Wait for what happens next, and do what it needs. Returns the exit code when this is the end."""
        wait = min(self._due.values(), default=time.monotonic() + 3600.0) - time.monotonic()
        came = signal.sigtimedwait(awaited, max(0.0, wait))
        if came is not None and came.si_signo != signal.SIGCHLD:
            return 0
        for index, code, lived in self._ended():
            if code == LOAD_FAILED:
                return code
            delay = SOON if lived > LIVED else min(2 * self._delays.get(index, SOON / 2), LATER)
            self._delays[index] = delay
            self._due[index] = time.monotonic() + delay
            sys.stderr.write(f"cloudml: worker {index} ended with exit code {code}; it is started again\n")
        for index, due in list(self._due.items()):
            if due <= time.monotonic():
                del self._due[index]
                self._start(index, before)
        return None

    def _ended(self) -> list[tuple[int, int, float]]:
        """The workers that have ended since: index, exit code (or minus the signal's number), seconds that it lived."""
        found = []
        for pid, (index, since) in list(self._running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._running[pid]
                found.append((index, os.waitstatus_to_exitcode(status), time.monotonic() - since))
        return found

    def _stop(self, awaited: set[signal.Signals]) -> None:
        """End all workers: each drains, and is killed if it does not end."""
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + LAST
        while self._running and time.monotonic() < end:
            self._ended()
            if self._running:
                signal.sigtimedwait(awaited, min(0.5, max(0.0, end - time.monotonic())))
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
