"""The words of the engine tests: make a task, wait for it, look for its processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cloudml.engines import Engine, Task, TaskStatus

PATH = {"PATH": os.environ["PATH"]}


def shell(tmp_path: Path, script: str, id: str = "t", timeout: float | None = None, grace: float = 0.1) -> Task:
    return Task(id, ("sh", "-c", script), PATH, str(tmp_path), timeout=timeout, grace=grace)


def output(engine: Engine, id: str = "t") -> bytes:
    said, (chunk, cursor) = b"", engine.logs(id)
    while chunk:
        said += chunk
        chunk, cursor = engine.logs(id, cursor)
    return said


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.002)


def finish(engine: Engine, id: str) -> TaskStatus:
    """The status of a task once it ended."""
    until(lambda: status(engine, id).state.ended)
    return status(engine, id)


def status(engine: Engine, id: str) -> TaskStatus:
    found = engine.status(id)
    assert found is not None
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that init has not reaped yet does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(shown.strip()) and not shown.startswith("Z")


def living_in(folder: Path) -> list[int]:
    """Processes that work in a folder, or that have it in their command line."""
    if sys.platform != "linux":
        listed = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
        return [int(line.split()[0]) for line in listed.stdout.splitlines() if str(folder) in line]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked, or it is another user's
            command = (process / "cmdline").read_bytes()
            if os.fsencode(folder) in command or os.readlink(process / "cwd").startswith(str(folder)):
                found.append(int(process.name))
    return found
