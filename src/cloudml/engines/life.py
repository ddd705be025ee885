"""The life of one task: in the line, started, watched, started again, and how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if TYPE_CHECKING or __package__:
    from cloudml.engines import bell, groups, logs, records, slots
else:
    import bell
    import groups
    import logs
    import records
    import slots

NEVER = float("inf")
LOOK_EVERY = 0.02  # seconds: nobody is told when a grandchild ends, so the last ones of a stopped group are looked for
STOP_EVERY = 0.5  # seconds: a stop from another pid namespace can only be found
QUEUED_EVERY = 2.0  # seconds: the same, where hundreds may wait
ALMOST = 1 << 20  # bytes
STOPPED = "stopped on request"


class End:
    """How the command ended: its exit code as shells count it, what cut its life short, and the reason in words."""

    def __init__(self, code: int | None, cut: str | None, reason: str | None) -> None:
        self.code, self.cut, self.reason = code, cut, reason


class Pauses:
    """How long to wait before the command is started again."""

    def __init__(self, work: records.Work) -> None:
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


def full(folder: str) -> bool:
    """Whether next to nothing can be written there; False if that cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    room = min(ALMOST, found.f_blocks * found.f_frsize // 100)
    return found.f_bavail * found.f_frsize <= room or (found.f_files > 0 and found.f_favail == 0)


class Life:
    """One task, from a published folder to the last ``status.json``."""

    def __init__(self, work: records.Work, doorbell: bell.Bell, guard: tuple[int, int], report: int) -> None:
        self._work, self._bell = work, doorbell
        self._guard, self._guarded = guard  # its pid, and the pipe to it
        self._report: int | None = report
        self._log = logs.Log(work.log_limit)
        self._deadline = NEVER
        self._restarts = 0
        self._shown: dict[str, Any] = {}  # in every status.json

    def run(self) -> None:
        """From the line to the last end of the command."""
        end = self._queue() or self._live()
        records.write(self._shown | self._verdict(end), last=True)
        self._tell()

    def _queue(self) -> End | None:
        """Wait for the slots that the task needs; how it ended if it did not get that far."""
        if self._work.slots is None:
            return None
        folder, total, take, timeout = (self._work.slots[name] for name in ("folder", "total", "take", "timeout"))
        what = f"{take} of {total} CPUs"
        over = NEVER if timeout is None else time.monotonic() + timeout
        line = slots.Line(folder, total, take)
        while not line.step(self._bell, min(over, time.monotonic() + QUEUED_EVERY if self._shown else 0)):
            stopped = self._bell.stop_asked()
            if stopped or time.monotonic() >= over:
                line.leave()
                return End(None, *(("cancelled", None) if stopped else ("failed", f"waited {timeout:g} s for {what}")))
            if not self._shown:
                self._shown = {"reason": f"waiting for {what}"}
                records.write(self._shown | {"state": "pending"})
                self._tell()
        self._shown = {}
        return None

    def _live(self) -> End:
        """Start the command, as often as it is to be started."""
        pauses = Pauses(self._work)
        while True:
            began = time.monotonic()
            end = self._once()
            pause = pauses.after(end, time.monotonic() - began)
            if pause is None:
                return end
            self._again(end, pause)
            if cut := self._rest(pause):
                return End(None, cut, None)

    def _once(self) -> End:
        """Start the command and wait for its end."""
        work = self._work
        if self._bell.stop_asked():
            return End(None, "cancelled", None)
        env = work.env | {"CLOUDML_ATTEMPT": str(self._restarts + 1)} if work.retries else work.env
        pid, refused = groups.spawn(work.argv, env, work.cwd, self._guarded, self._log.sink)
        if refused:
            return End(None, None if self._restarts else "failed", refused)
        if work.timeout is not None and not self._restarts:
            self._deadline = time.monotonic() + work.timeout
        self._shown = {"started": time.time()} | self._shown
        records.write(self._shown | {"state": "running", "pid": pid, "birth": groups.birth(pid)})
        self._tell()
        status, cut = self._watch(pid)
        groups.sweep(pid, self._guard)
        self._log.pass_on()  # once, which is all that the pipe holds: what has fled the group may go on for ever
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
            more = self._log.pass_on()
            code = groups.reap().get(pid, code)
            if code is not None and cut is None:
                return code, None
            if code is not None and (deadline == NEVER or not groups.send(pid, 0)):
                return code, cut
            if cut is None:
                cut = self._cut()
                if cut:
                    groups.send(pid, signal.SIGTERM)
                    deadline = time.monotonic() + self._work.grace
            elif time.monotonic() >= deadline:
                groups.send(pid, signal.SIGKILL)
                deadline = NEVER
                continue
            pause = 0.0 if more else STOP_EVERY if code is None else LOOK_EVERY
            self._bell.wait(min(deadline, time.monotonic() + pause), self._log.source)

    def _cut(self) -> str | None:
        if self._bell.stop_asked():
            return "cancelled"
        return "timed-out" if time.monotonic() >= self._deadline else None

    def _again(self, end: End, pause: float) -> None:
        """Say that the command is about to be started again, in the status and in the log."""
        self._restarts += 1
        reason = end.reason or "exit code 0"
        self._shown |= {"restarts": self._restarts, "reason": reason, "pid": None}
        records.write(self._shown | {"state": "running"})
        if self._work.retries:
            said = f"attempt {self._restarts + 1} of {self._work.retries + 1}"
        else:
            said = f"it is started again in {pause:g} s"
        self._log.put(f"cloudml: {reason}; {said}\n".encode())

    def _rest(self, seconds: float) -> str | None:
        """Wait before the next start; what cut that short."""
        until = time.monotonic() + seconds
        while not (cut := self._cut()) and (now := time.monotonic()) < until:
            self._bell.wait(min(until, self._deadline, now + STOP_EVERY))
        return cut

    def _verdict(self, end: End) -> dict[str, object]:
        """The end of the task as ``status.json`` has it."""
        limit = f"still running after {self._work.timeout:g} s" if self._work.timeout else None
        reason = end.reason and end.reason + self._full(end)
        tried = f" (attempt {self._restarts + 1} of {self._work.retries + 1})" if self._work.retries else ""
        return {
            "state": end.cut or ("failed" if end.reason else "succeeded"),
            "exit_code": end.code,
            "ended": time.time(),
            "reason": {"cancelled": STOPPED, "timed-out": limit}.get(end.cut or "", reason and reason + tried),
        }

    def _full(self, end: End) -> str:
        """What a command that failed may have failed of, whether it says so itself or not."""
        if not end.code:
            return ""
        for folder in (self._work.cwd, "."):
            if full(folder):
                return f"; the disk of {os.path.abspath(folder)} is full"
        return f"; its output could not be kept: {self._log.full}" if self._log.full else ""

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
