"""The first process of a container: it forwards signals to the one that does the work, and reaps what is orphaned.

Platforms start the image's own entrypoint as PID 1 (SageMaker forbids an init in front of it), and the kernel gives
PID 1 every orphan and no default action for signals. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from typing import Callable

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FORWARDED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2})


def supervise(work: Callable[[], int]) -> int:
    """Do the work in a child and return its exit code here, 128 + n after signal n; the child never returns.

    Signals wait, blocked, until this process takes them: none is lost before the child exists, and none is ignored for
    having no handler in PID 1.
    """
    awaited = FORWARDED | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    _adopt_orphans()
    child = fork(work, before)
    try:
        return _until_it_ends(child, awaited)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork(work: Callable[[], int], mask: Iterable[int]) -> int:
    """Do the work in a child, with this mask of signals; the child ends with it or with us. Returns its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        _die_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _finish(work)
    return child


def _finish(work: Callable[[], int]) -> None:
    """Never returns: ``sys.exit`` runs what the interpreter does at its end, and nothing of the parent's stack."""
    try:
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # the child's last frame: whatever it is, it is shown and is its end
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _until_it_ends(child: int, awaited: frozenset[signal.Signals]) -> int:
    while True:
        number = signal.sigwait(awaited)
        if number != signal.SIGCHLD:
            os.kill(child, number)  # not reaped yet, so the number is still its own
            continue
        status = _reap(child)
        if status is not None:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _reap(child: int) -> int | None:
    """Takes every child that has ended, orphans too; the status of ``child`` if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _adopt_orphans() -> None:
    if sys.platform == "linux" and os.getpid() != 1:  # PID 1 gets them anyway
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _die_with(parent: int) -> None:
    """The work does not outlive its supervisor, should that be killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)
