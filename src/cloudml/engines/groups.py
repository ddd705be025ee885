"""Commands as process groups: started, signalled and reaped. Part of the supervisor's program, so it imports little."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time

SWEEP = 2.0  # seconds: a process that the kernel does not let die is left to it


def birth(pid: int) -> str | None:
    """What tells a process from a later one with the same number: boot and start time. None where /proc is missing."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat") as stat:
            return f"{boot.read().strip()}:{stat.read().rpartition(')')[2].split()[19]}"
    except OSError:
        return None


def spawn(argv: list[str], env: dict[str, str], cwd: str, guarded: int, output: int) -> tuple[int, str | None]:
    """Start a command in a session of its own; answers its pid, and why it could not be executed.

    Its pid is written to the pipe ``guarded`` before it is executed; stdout and stderr go to ``output``.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            os.write(guarded, b"%d\n" % os.getpid())
            os.dup2(output, 1)
            os.dup2(output, 2)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would pass that on
                signal.signal(number, signal.SIG_DFL)
            os.chdir(cwd)
            os.execvpe(argv[0], argv, env)
        except BaseException as error:  # noqa: BLE001  # whatever it is: no second supervisor may come out of here
            os.write(write_end, refusal(argv[0], cwd, error).encode("utf-8", "replace")[:4096])
        finally:
            os._exit(127)
    os.close(write_end)
    refused = b"".join(iter(lambda: os.read(read_end, 4096), b"")).decode("utf-8", "replace")
    os.close(read_end)
    if refused:
        os.waitpid(pid, 0)
    return pid, refused or None


def refusal(program: str, cwd: str, error: BaseException) -> str:
    """One line on why the command was not executed."""
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    if error.filename == cwd:
        return f"no such folder: {cwd}" if error.errno == errno.ENOENT else f"{error.strerror}: {cwd}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"command not found: {program}"
    return f"{error.strerror}: {program}"


def send(group: int, number: int) -> bool:
    """Send a signal to a process group (0 only looks); False once nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so when only zombies are left
        return False
    return True


def reap() -> dict[int, int]:
    """The wait statuses of the children that ended, by pid."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    return ended


def adopt_orphans() -> None:
    """On Linux, become the parent of those whose parent ends, so that nobody who was started here gets lost."""
    if sys.platform == "linux":
        with contextlib.suppress(ImportError):
            import ctypes

            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def sweep(group: int, spared: int) -> None:
    """End what a command left behind: its group, and on Linux every descendant of this process but one.

    Whose parent is killed becomes a child of this process, so they come up one generation after the other.
    """
    send(group, signal.SIGKILL)
    over = time.monotonic() + SWEEP
    while (left := children() - {spared}) and time.monotonic() < over:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
        reap()


def children() -> set[int]:
    """The processes whose parent is this one; nothing where the kernel does not list them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as listed:
            return {int(pid) for pid in listed.read().split()}
    except OSError:
        return set()


def end_session(session: int) -> None:
    """End everything in a session, whatever its group; where there is no /proc, the first group of it."""
    send(session, signal.SIGKILL)
    for name in filter(str.isdecimal, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat") as stat:
                found = int(stat.read().rpartition(")")[2].split()[3])
            if found == session:
                os.kill(int(name), signal.SIGKILL)


def how(number: int) -> str:
    """How a command ended, in words; a negative number is a signal."""
    return f"killed by {signal_name(-number)}" if number < 0 else f"exit code {number}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones have no name
        return f"signal {number}"
