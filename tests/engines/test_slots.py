"""Tasks that wait until the machine has room for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine_tasks import alive, finish, shell, status, until

from cloudml.engines import Slots, Task, TaskState, TaskStatus
from cloudml.engines.process import ProcessEngine
from cloudml.errors import Invalid

Begin = Callable[..., TaskStatus]


@pytest.fixture
def begin(engine: ProcessEngine, tmp_path: Path) -> Begin:
    """Starts a task that takes so many of two slots, and runs until a file with its name is there."""

    def start(id: str, take: int = 1, total: int = 2, timeout: float | None = None, script: str = "") -> TaskStatus:
        script = script or f"echo {id} >> order; until [ -e {id} ]; do sleep 0.005; done"
        task = shell(tmp_path, script, id)
        return engine.start(replace(task, slots=Slots(str(tmp_path / "slots"), total, take, timeout)))

    return start


def order(tmp_path: Path) -> list[str]:
    return (tmp_path / "order").read_text().split()


def test_a_task_runs_at_once_where_there_is_room(engine: ProcessEngine, begin: Begin, tmp_path: Path) -> None:
    assert begin("a").state is TaskState.RUNNING
    assert begin("b").state is TaskState.RUNNING
    waiting = begin("c", take=2)
    assert (waiting.state, waiting.reason, waiting.pid) == (TaskState.PENDING, "waiting for 2 of 2 CPUs", None)
    (tmp_path / "a").touch()
    finish(engine, "a")
    time.sleep(0.1)  # one slot is free, and held for c: it must not run with one
    assert status(engine, "c").state is TaskState.PENDING
    (tmp_path / "b").touch()
    until(lambda: status(engine, "c").state is TaskState.RUNNING)
    assert status(engine, "c").reason is None
    (tmp_path / "c").touch()
    assert finish(engine, "c").state is TaskState.SUCCEEDED
    assert list((tmp_path / "slots" / "line").iterdir()) == []


def test_who_asked_first_runs_first(engine: ProcessEngine, begin: Begin, tmp_path: Path) -> None:
    """Small ones do not pass a large one, or it would never run."""
    begin("a", take=2)
    ids = ["f", "b", "e", "c", "d"]
    for id in ids:
        begin(id, take=2 if id == "e" else 1)
    for id in ["a", *ids]:
        until(lambda id=id: id in order(tmp_path))  # type: ignore[misc]
        (tmp_path / id).touch()
    for id in ids:
        assert finish(engine, id).state is TaskState.SUCCEEDED
    assert order(tmp_path)[0] == "a"
    assert set(order(tmp_path)[1:3]) == {"f", "b"}
    assert order(tmp_path)[3] == "e"


def test_never_more_at_once_than_there_are_slots(engine: ProcessEngine, begin: Begin, tmp_path: Path) -> None:
    script = "mkdir -p now; mkdir now/$$; ls now | wc -l >> seen; sleep 0.05; rmdir now/$$"
    ids = [f"t{number}" for number in range(8)]
    begin("a", take=2)  # until all are there
    for id in ids:
        begin(id, script=script)
    (tmp_path / "a").touch()
    for id in ids:
        assert finish(engine, id).state is TaskState.SUCCEEDED
    seen = [int(line) for line in (tmp_path / "seen").read_text().split()]
    assert len(seen) == 8
    assert max(seen) == 2


def test_a_stop_in_the_line_cancels_and_lets_the_next_one_come(
    engine: ProcessEngine, begin: Begin, tmp_path: Path
) -> None:
    begin("a", take=2)
    for id in ("b", "c", "d"):
        begin(id, take=2)
    for id in ("c", "b"):  # one in the middle, and the first
        engine.stop(id)
        done = finish(engine, id)
        assert (done.state, done.exit_code, done.pid) == (TaskState.CANCELLED, None, None)
    assert status(engine, "a").state is TaskState.RUNNING, "nobody had to wait for what runs"
    (tmp_path / "a").touch()
    until(lambda: status(engine, "d").state is TaskState.RUNNING)
    until(lambda: order(tmp_path) == ["a", "d"])


def test_patience_ends(engine: ProcessEngine, begin: Begin) -> None:
    begin("a", take=2)
    begin("b", timeout=0.15)  # the first of the line looks by itself
    begin("c", timeout=0.1)  # who stands behind is woken
    for id, seconds in (("b", "0.15"), ("c", "0.1")):
        done = finish(engine, id)
        assert (done.state, done.started) == (TaskState.FAILED, None)
        assert done.reason == f"waited {seconds} s for 1 of 2 CPUs"


def test_the_dead_give_back_what_they_held(engine: ProcessEngine, begin: Begin, tmp_path: Path) -> None:
    begin("a", take=2)
    for id in ("b", "c", "d"):
        begin(id, take=2)
    command = status(engine, "a").pid
    assert command
    for id in ("c", "b", "a"):  # in the line, its first, and one that runs
        os.kill(int((tmp_path / "tasks" / id / "alive").read_text().split()[0]), signal.SIGKILL)
    for id in ("a", "b", "c"):
        assert (finish(engine, id).state, status(engine, id).reason) == (TaskState.FAILED, "its supervisor was killed")
    until(lambda: status(engine, "d").state is TaskState.RUNNING)
    until(lambda: not alive(command))
    until(lambda: order(tmp_path) == ["a", "d"])
    assert list((tmp_path / "slots" / "line").iterdir()) == []


def test_the_time_limit_does_not_count_in_the_line(engine: ProcessEngine, begin: Begin, tmp_path: Path) -> None:
    begin("a", take=2)
    slots = Slots(str(tmp_path / "slots"), 2, 2)
    engine.start(replace(shell(tmp_path, "true", "b", timeout=0.2), slots=slots))
    time.sleep(0.4)
    assert status(engine, "b").state is TaskState.PENDING, "for twice its limit"
    (tmp_path / "a").touch()
    assert finish(engine, "b").started is not None


def test_waiting_costs_next_to_nothing(engine: ProcessEngine, begin: Begin, tmp_path: Path) -> None:
    begin("a", take=2)
    waiting = [f"w{number}" for number in range(4)]
    for id in waiting:
        begin(id)

    def ticks() -> int:
        stats = [(tmp_path / "tasks" / id / "alive").read_text().split()[0] for id in waiting]
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in stats]
        return sum(int(each[11]) + int(each[12]) for each in fields)

    before = [-1, ticks()]
    until(lambda: before[-1] == before[-2] or (time.sleep(0.1), before.append(ticks()))[1])  # they have come up
    time.sleep(0.5)
    assert ticks() - before[-1] <= 2, "hundredths of a second, of four that wait for half a second"


def test_what_the_machine_does_not_have_is_refused(engine: ProcessEngine, begin: Begin) -> None:
    for take in (0, 3):
        with pytest.raises(Invalid, match=f"asks for {take} slots, and there are 2"):
            begin("a", take=take)
    assert engine.status("a") is None


def test_a_task_without_slots_waits_for_nobody(engine: ProcessEngine, begin: Begin, tmp_path: Path) -> None:
    begin("a", take=2)
    assert engine.start(Task("t", ("true",), {}, str(tmp_path))).state is not TaskState.PENDING


def test_a_signal_just_before_the_kernel_waits_is_not_lost(tmp_path: Path) -> None:
    """Timers so short that many of them go off between Python's last look and the kernel's wait."""
    program = """
import fcntl, os, sys, time
from cloudml.engines.bell import Bell
held, wanted = (os.open(sys.argv[1], os.O_RDWR | os.O_CREAT) for _ in range(2))
fcntl.flock(held, fcntl.LOCK_EX)
bell = Bell()
for number in range(1000):
    assert not bell.wait_for(wanted, time.monotonic() + 1e-6 * (1 + number % 30))
fcntl.flock(held, fcntl.LOCK_UN)
assert bell.wait_for(wanted, time.monotonic() + 30)
"""
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "lock")], check=True, timeout=60, env=env)
