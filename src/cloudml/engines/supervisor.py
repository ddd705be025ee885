"""The program beside every task of the process engine: starts the command, watches it, and writes down how it ended.

Run as ``python -I -S supervisor.py FOLDER ID REPORT``: FOLDER holds ``task.json``, and is renamed to ID once it is
watched; REPORT is a file descriptor that is told ``taken`` (the id exists), or ``ready`` (``status.json`` says how it
went). stdin, stdout and stderr are those of the command. Every task waits for this program, so it is started by path
and imports little, never cloudml.

    launcher --forks--> supervisor --forks--> guard      holds the lock too, and ends the group if the supervisor dies
       ends at once         |
                            +------forks--> command      a session and process group of its own
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import sys
import time

NEVER = float("inf")
LOOK_EVERY = 0.02  # seconds: nobody is told when a grandchild ends, so the last ones of a stopped group are looked for
STOP_EVERY = 0.5  # seconds: a stop from another pid namespace can only be found
STOPPED = "stopped on request"
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if TYPE_CHECKING or __package__:
    from cloudml.engines import groups
else:  # run by path and isolated: only its own folder is known
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import groups


class Work:
    """What ``task.json`` says to run."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.argv: list[str] = document["argv"]
        self.env: dict[str, str] = document["env"]
        self.cwd: str = document["cwd"]
        self.timeout: float | None = document["timeout"]
        self.grace: float = document["grace"]
        self.restart: dict[str, Any] | None = document["restart"]
        self.retries: int = document["retries"]


def write(status: dict[str, object]) -> None:
    """Replace ``status.json`` in one step, so that a reader sees the old or the new one."""
    draft = f"status.json.{os.getpid()}"
    with open(draft, "w") as file:
        json.dump(status, file)
    os.replace(draft, "status.json")


class Bell:
    """Wakes the supervisor when a child ends or somebody asks it to stop."""

    def __init__(self) -> None:
        self.asked = False
        self._read, write_end = os.pipe()
        for end in (self._read, write_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        # Handlers and not SIG_IGN: exec gives the command the defaults back.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _ask(self, *_: object) -> None:
        self.asked = True

    def stop_asked(self) -> bool:
        return self.asked or os.path.exists("stop")

    def wait(self, until: float) -> None:
        if select.select([self._read], [], [], max(0.0, until - time.monotonic()))[0]:
            os.read(self._read, 4096)


def guard() -> int:
    """Fork the process that ends the command's group if the supervisor dies; returns the pipe that it reads.

    A command writes its pid to that pipe before it is executed, the supervisor ``-`` when that has ended, and ``done``
    when it is through.
    """
    read_end, write_end = os.pipe()
    if os.fork():
        os.close(read_end)
        return write_end
    os.setsid()  # a signal to the supervisor's group must not reach it
    os.close(write_end)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    said = b"".join(iter(lambda: os.read(read_end, 4096), b"")).split()
    if b"done" not in said:
        end_orphan(int(said[-1]) if said and said[-1] != b"-" else None)
    os._exit(0)


def end_orphan(group: int | None) -> None:
    """What is left to do for a supervisor that was killed: end the group, then write it down."""
    if group is not None:
        groups.send(group, signal.SIGKILL)
    with open("status.json") as file:
        status = json.load(file)
    if status["state"] in ("pending", "running"):
        write(status | {"state": "failed", "ended": time.time(), "reason": "its supervisor was killed"})


class End:
    """How the command ended: its exit code as shells count it, what cut its life short, and the reason in words."""

    def __init__(self, code: int | None, cut: str | None, reason: str | None) -> None:
        self.code, self.cut, self.reason = code, cut, reason


class Pauses:
    """How long to wait before the command is started again."""

    def __init__(self, work: Work) -> None:
        self._restart, self._left = work.restart, work.retries
        self._next = self._restart["first"] if self._restart else 0.0

    def after(self, end: End, lived: float) -> float | None:
        """After an end that came so many seconds after the start; None if it is not started again."""
        if end.cut:
            return None
        if self._restart is None:
            self._left -= 1
            return 0.0 if end.code and self._left >= 0 else None
        if end.code in self._restart["final"]:
            return None
        if lived >= self._restart["healthy"]:
            self._next = self._restart["first"]
        pause: float = min(self._next, self._restart["longest"])
        self._next = 2 * pause
        return pause


class Life:
    """One task, from a published folder to the last ``status.json``."""

    def __init__(self, work: Work, bell: Bell, guarded: int, report: int) -> None:
        self._work, self._bell, self._guarded = work, bell, guarded
        self._report: int | None = report
        self._deadline = NEVER
        self._restarts = 0
        self._shown: dict[str, Any] = {}  # in every status.json

    def run(self) -> None:
        """To the last end of the command."""
        self._deadline = NEVER if self._work.timeout is None else time.monotonic() + self._work.timeout
        pauses = Pauses(self._work)
        while True:
            began = time.monotonic()
            end = self._once()
            pause = pauses.after(end, time.monotonic() - began)
            if pause is None:
                break
            self._again(end, pause)
            if cut := self._rest(pause):
                end = End(None, cut, None)
                break
        write(self._shown | self._verdict(end))
        self._tell()

    def _once(self) -> End:
        """Start the command and wait for its end."""
        work = self._work
        if self._bell.stop_asked():
            return End(None, "cancelled", None)
        env = work.env | {"CLOUDML_ATTEMPT": str(self._restarts + 1)} if work.retries else work.env
        pid, refused = groups.spawn(work.argv, env, work.cwd, self._guarded)
        if refused:
            return End(None, None if self._restarts else "failed", refused)
        self._shown = {"started": time.time()} | self._shown
        write(self._shown | {"state": "running", "pid": pid, "birth": groups.birth(pid)})
        self._tell()
        status, cut = self._watch(pid)
        os.write(self._guarded, b"-\n")
        self._shown |= {"pid": pid}
        number = os.waitstatus_to_exitcode(status)
        return End(128 - number if number < 0 else number, cut, groups.how(number) if number else None)

    def _watch(self, pid: int) -> tuple[int, str | None]:
        """Wait for the command and end its group; answers its wait status, and what cut it short."""
        deadline = self._deadline
        code: int | None = None
        cut: str | None = None
        while True:
            code = groups.reap(pid).get(pid, code)
            if code is not None and cut is None:
                groups.send(pid, signal.SIGKILL)  # what it left behind; the number is ours while anybody is in it
                return code, None
            if code is not None and (deadline == NEVER or not groups.send(pid, 0)):
                return code, cut
            if cut is None:
                cut = self._cut()
                if cut:
                    groups.adopt_orphans()
                    groups.send(pid, signal.SIGTERM)
                    deadline = time.monotonic() + self._work.grace
            elif time.monotonic() >= deadline:
                groups.send(pid, signal.SIGKILL)
                deadline = NEVER
                continue
            self._bell.wait(min(deadline, time.monotonic() + (STOP_EVERY if code is None else LOOK_EVERY)))

    def _cut(self) -> str | None:
        if self._bell.stop_asked():
            return "cancelled"
        return "timed-out" if time.monotonic() >= self._deadline else None

    def _again(self, end: End, pause: float) -> None:
        """Say that the command is about to be started again, in the status and in the log."""
        self._restarts += 1
        reason = end.reason or "exit code 0"
        self._shown |= {"restarts": self._restarts, "reason": reason, "pid": None}
        write(self._shown | {"state": "running"})
        if self._work.retries:
            said = f"attempt {self._restarts + 1} of {self._work.retries + 1}"
        else:
            said = f"it is started again in {pause:g} s"
        os.write(2, f"cloudml: {reason}; {said}\n".encode())

    def _rest(self, seconds: float) -> str | None:
        """Wait before the next start; what cut that short."""
        until = time.monotonic() + seconds
        while not (cut := self._cut()) and (now := time.monotonic()) < until:
            self._bell.wait(min(until, self._deadline, now + STOP_EVERY))
        return cut

    def _verdict(self, end: End) -> dict[str, object]:
        """The end of the task as ``status.json`` has it."""
        limit = f"still running after {self._work.timeout:g} s" if self._work.timeout else None
        tried = f" (attempt {self._restarts + 1} of {self._work.retries + 1})" if self._work.retries else ""
        return {
            "state": end.cut or ("failed" if end.reason else "succeeded"),
            "exit_code": end.code,
            "ended": time.time(),
            "reason": {"cancelled": STOPPED, "timed-out": limit}.get(end.cut or "", end.reason and end.reason + tried),
        }

    def _tell(self) -> None:
        """Say to whoever started this that the status tells how it went."""
        if self._report is not None:
            tell(self._report, b"ready")
        self._report = None


def tell(report: int, word: bytes) -> None:
    """Say one word to whoever started this, if it still listens."""
    with contextlib.suppress(BrokenPipeError):
        os.write(report, word)
    os.close(report)


def main(folder: str, id: str, report: int) -> None:
    if os.fork():
        os._exit(0)  # the starter reaps this one at once; the supervisor is nobody's child
    os.set_inheritable(report, False)
    os.chdir(folder)
    alive = os.open("alive", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    os.write(alive, f"{os.getpid()} {groups.birth(os.getpid())}".encode())
    with open("task.json") as file:
        work = Work(json.load(file))
    bell = Bell()
    try:
        os.rename(folder, os.path.join(os.path.dirname(folder), id))
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        return tell(report, b"taken")
    guarded = guard()
    Life(work, bell, guarded, report).run()
    os.write(guarded, b"done\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
