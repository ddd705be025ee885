"""A process engine whose tasks, and everything they started, are gone when the test ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudml.engines import TaskStatus
from cloudml.engines.process import ProcessEngine


def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.002)


def finish(engine: ProcessEngine, id: str) -> TaskStatus:
    """The status of a task once it ended."""
    until(lambda: status(engine, id).state.ended)
    return status(engine, id)


def status(engine: ProcessEngine, id: str) -> TaskStatus:
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


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ProcessEngine]:
    made = ProcessEngine(tmp_path / "tasks")
    yield made
    for task in made.list():
        made.stop(task.task.id)
    for task in made.list():
        finish(made, task.task.id)
        made.remove(task.task.id)
    try:
        until(lambda: not living_in(tmp_path), 5)
        assert not list((tmp_path / "tasks").glob("*"))
        assert not list((tmp_path / "tasks").glob(".*"))
    finally:
        for pid in living_in(tmp_path):
            os.kill(pid, signal.SIGKILL)
