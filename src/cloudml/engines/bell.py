"""What wakes a supervisor: a child that ended, somebody who asks it to stop, something to read, a lock that is free."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time

AGAIN = 0.1  # seconds


class _Woken(Exception):  # a signal, not an error
    """A signal came while a lock was waited for."""


class Bell:
    """Waits for all of that at once; signals only set a flag, or end the wait for a lock."""

    def __init__(self) -> None:
        self.asked = False
        self._locking = False
        self._read, write_end = os.pipe()
        for end in (self._read, write_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        # Handlers and not SIG_IGN: exec gives the command the defaults back.
        for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ring)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _ring(self, number: int, _: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.asked = True
        if self._locking:
            self._locking = False
            raise _Woken

    def stop_asked(self) -> bool:
        return self.asked or os.path.exists("stop") or not os.path.exists("task.json")  # or its folder is gone

    def wait(self, until: float, also: int | None = None) -> None:
        """Until a time, a signal, or something to read from ``also``."""
        sources = [self._read] if also is None else [self._read, also]
        if self._read in select.select(sources, [], [], max(0.0, until - time.monotonic()))[0]:
            os.read(self._read, 4096)

    def wait_for(self, lock: int, until: float) -> bool:
        """Until nobody holds a lock: True, and it is shared then. False if a time or a signal came first."""
        seconds = until - time.monotonic()
        if seconds <= 0:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True
        try:
            self._locking = True
            if self.asked:  # before this: the signal has come and gone
                return False
            # Again and again: a signal that comes just before the kernel begins to wait does not end that wait.
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            fcntl.flock(lock, fcntl.LOCK_SH)
            self._locking = False  # still in here, where a signal does no harm
        except _Woken:
            return False
        finally:
            self._locking = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        return True
