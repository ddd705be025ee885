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


class Work:
    """What ``task.json`` says to run."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.argv: list[str] = document["argv"]
        self.env: dict[str, str] = document["env"]
        self.cwd: str = document["cwd"]
        self.timeout: float | None = document["timeout"]
        self.grace: float = document["grace"]


def write(status: dict[str, object]) -> None:
    """Replace ``status.json`` in one step, so that a reader sees the old or the new one."""
    draft = f"status.json.{os.getpid()}"
    with open(draft, "w") as file:
        json.dump(status, file)
    os.replace(draft, "status.json")


def birth(pid: int) -> str | None:
    """What tells a process from a later one with the same number: boot and start time. None where /proc is missing."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat") as stat:
            return f"{boot.read().strip()}:{stat.read().rpartition(')')[2].split()[19]}"
    except OSError:
        return None


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group (0 only looks); False once nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so when only zombies are left
        return False
    return True


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

    The command writes its pid to that pipe before it is executed, the supervisor ``done`` when it is through.
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
        end_orphan(int(said[0]) if said else None)
    os._exit(0)


def end_orphan(group: int | None) -> None:
    """What is left to do for a supervisor that was killed: end the group, then write it down."""
    if group is not None:
        signal_group(group, signal.SIGKILL)
    with open("status.json") as file:
        status = json.load(file)
    if status["state"] in ("pending", "running"):
        write(status | {"state": "failed", "ended": time.time(), "reason": "its supervisor was killed"})


def spawn(work: Work, guarded: int) -> tuple[int, str | None]:
    """Start the command in a session of its own; answers its pid, and why it could not be executed."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            os.write(guarded, b"%d\n" % os.getpid())
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would pass that on
                signal.signal(number, signal.SIG_DFL)
            os.chdir(work.cwd)
            os.execvpe(work.argv[0], work.argv, work.env)
        except BaseException as error:  # noqa: BLE001  # whatever it is: no second supervisor may come out of here
            os.write(write_end, refusal(work, error).encode("utf-8", "replace")[:4096])
        finally:
            os._exit(127)
    os.close(write_end)
    refused = b"".join(iter(lambda: os.read(read_end, 4096), b"")).decode("utf-8", "replace")
    os.close(read_end)
    return pid, refused or None


def refusal(work: Work, error: BaseException) -> str:
    """One line on why the command was not executed."""
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    if error.filename == work.cwd:
        return f"no such folder: {work.cwd}" if error.errno == errno.ENOENT else f"{error.strerror}: {work.cwd}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"command not found: {work.argv[0]}"
    return f"{error.strerror}: {work.argv[0]}"


def supervise(pid: int, work: Work, bell: Bell) -> tuple[int, str | None]:
    """Wait for the command and end its group; answers its wait status, and the state that cut it short."""
    deadline = NEVER if work.timeout is None else time.monotonic() + work.timeout
    code: int | None = None
    cut: str | None = None
    while True:
        code = reap(pid).get(pid, code)
        if code is not None and cut is None:
            signal_group(pid, signal.SIGKILL)  # what it left behind; the number is ours while anybody is in the group
            return code, None
        if code is not None and (deadline == NEVER or not signal_group(pid, 0)):
            return code, cut
        if cut is None:
            cut = "cancelled" if bell.stop_asked() else "timed-out" if time.monotonic() >= deadline else None
            if cut:
                adopt_orphans()
                signal_group(pid, signal.SIGTERM)
                deadline = time.monotonic() + work.grace
        elif time.monotonic() >= deadline:
            signal_group(pid, signal.SIGKILL)
            deadline = NEVER
            continue
        bell.wait(min(deadline, time.monotonic() + (STOP_EVERY if code is None else LOOK_EVERY)))


def reap(group: int) -> dict[int, int]:
    """The wait statuses of the children that ended in a process group, by pid."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-group, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    return ended


def adopt_orphans() -> None:
    """On Linux, become the parent of those whose parent ends: an init that reaps late would keep the group alive."""
    if sys.platform == "linux":
        with contextlib.suppress(ImportError):
            import ctypes  # only a task that is cut short pays for it

            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def verdict(code: int, cut: str | None, work: Work) -> dict[str, object]:
    """The end of a task as ``status.json`` has it."""
    number = os.waitstatus_to_exitcode(code)
    how = f"killed by {signal_name(-number)}" if number < 0 else f"exit code {number}"
    reasons = {"cancelled": STOPPED, "timed-out": f"still running after {work.timeout:g} s" if work.timeout else None}
    return {
        "state": cut or ("failed" if number else "succeeded"),
        "exit_code": 128 - number if number < 0 else number,
        "ended": time.time(),
        "reason": reasons[cut] if cut else how if number else None,
    }


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones have no name
        return f"signal {number}"


def run(work: Work, bell: Bell, guarded: int, report: int) -> None:
    """From a published folder to the last ``status.json``."""
    if bell.stop_asked():
        write({"state": "cancelled", "ended": time.time(), "reason": STOPPED})
        return tell(report, b"ready")
    pid, refused = spawn(work, guarded)
    if refused:
        os.waitpid(pid, 0)
        write({"state": "failed", "ended": time.time(), "reason": refused})
        return tell(report, b"ready")
    status = {"state": "running", "pid": pid, "started": time.time(), "birth": birth(pid)}
    write(status)
    tell(report, b"ready")
    code, cut = supervise(pid, work, bell)
    write(status | verdict(code, cut, work))


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
    os.write(alive, f"{os.getpid()} {birth(os.getpid())}".encode())
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
    run(work, bell, guarded, report)
    os.write(guarded, b"done\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
