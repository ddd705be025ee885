"""Commands that are started again: servers that are to run until they are stopped, and attempts of a job."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from engine_tasks import alive, finish, output, shell, status, until

from cloudml.engines import Restart, Task, TaskState
from cloudml.engines.process import ProcessEngine
from cloudml.errors import Invalid

QUICK = Restart(first=0.01, longest=0.05, healthy=30)


@pytest.mark.parametrize(("script", "reason"), [("exit 3", "exit code 3"), ("true", "exit code 0")])
def test_a_command_that_ends_is_started_again_until_it_is_stopped(
    engine: ProcessEngine, tmp_path: Path, script: str, reason: str
) -> None:
    engine.start(replace(shell(tmp_path, f"echo up; {script}"), restart=QUICK))
    until(lambda: output(engine).count(b"up\n") >= 4)
    found = status(engine, "t")
    assert (found.state, found.reason, found.exit_code) == (TaskState.RUNNING, reason, None)
    assert found.restarts >= 3
    engine.stop("t")
    assert (finish(engine, "t").state, status(engine, "t").reason) == (TaskState.CANCELLED, "stopped on request")


def test_an_exit_code_that_is_final_ends_it(engine: ProcessEngine, tmp_path: Path) -> None:
    script = "[ -e again ] && exit 3; touch again; exit 1"
    engine.start(replace(shell(tmp_path, script), restart=replace(QUICK, final=(2, 3))))
    found = finish(engine, "t")
    assert (found.state, found.exit_code, found.reason, found.restarts) == (TaskState.FAILED, 3, "exit code 3", 1)
    assert found.task.restart == replace(QUICK, final=(2, 3))


def test_a_killed_command_comes_back_with_another_pid(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(replace(shell(tmp_path, "exec sleep 600"), restart=QUICK))
    first = status(engine, "t")
    assert (first.restarts, first.reason) == (0, None)
    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: status(engine, "t").pid not in (first.pid, None))
    second = status(engine, "t")
    assert (second.state, second.restarts, second.reason) == (TaskState.RUNNING, 1, "killed by SIGKILL")
    assert second.started == first.started


def test_the_pauses_grow_to_the_longest_and_begin_again_after_health(engine: ProcessEngine, tmp_path: Path) -> None:
    script = "date +%s.%N; [ $(wc -l < starts) -ne 5 ] || sleep 3.2"
    (tmp_path / "starts").touch()
    engine.start(replace(shell(tmp_path, f"echo >> starts; {script}"), restart=Restart(0.04, 0.16, 3.0)))
    until(lambda: (tmp_path / "starts").read_text().count("\n") >= 7)
    engine.stop("t")
    finish(engine, "t")
    said = [line for line in output(engine).decode().splitlines() if line.startswith("cloudml: ")]
    pauses = [line.rpartition(" in ")[2] for line in said[:6]]
    assert pauses == ["0.04 s", "0.08 s", "0.16 s", "0.16 s", "0.04 s", "0.08 s"]
    times = [float(line) for line in output(engine).decode().splitlines() if not line.startswith("cloudml: ")]
    assert times[3] - times[2] >= 0.16


def test_a_stop_during_the_pause_is_at_once(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(replace(shell(tmp_path, "exit 3"), restart=Restart(600, 600, 600)))
    until(lambda: status(engine, "t").restarts == 1)
    assert status(engine, "t").pid is None
    engine.stop("t")
    assert finish(engine, "t").state is TaskState.CANCELLED


def test_a_program_that_is_not_there_is_not_tried_again(engine: ProcessEngine, tmp_path: Path) -> None:
    task = Task("t", ("no-such-command",), {}, str(tmp_path), restart=QUICK)
    found = engine.start(task)
    assert (found.state, found.restarts) == (TaskState.FAILED, 0)


def test_retries_end_with_the_first_success(engine: ProcessEngine, tmp_path: Path) -> None:
    script = "echo attempt $CLOUDML_ATTEMPT; exit $((3 - CLOUDML_ATTEMPT))"
    task = replace(shell(tmp_path, script), retries=5)
    engine.start(task)
    done = finish(engine, "t")
    assert (done.state, done.exit_code, done.restarts, done.task) == (TaskState.SUCCEEDED, 0, 2, task)
    assert output(engine) == (
        b"attempt 1\ncloudml: exit code 2; attempt 2 of 6\nattempt 2\ncloudml: exit code 1; attempt 3 of 6\nattempt 3\n"
    )


def test_retries_run_out(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(replace(shell(tmp_path, "exit 3"), retries=2))
    done = finish(engine, "t")
    assert (done.state, done.exit_code, done.restarts) == (TaskState.FAILED, 3, 2)
    assert done.reason == "exit code 3 (attempt 3 of 3)"


def test_the_time_limit_counts_for_all_attempts(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(replace(shell(tmp_path, "sleep 0.5; exit 3", timeout=2.5), retries=30))
    done = finish(engine, "t")
    assert done.state is TaskState.TIMED_OUT
    assert 1 <= done.restarts <= 5


def test_a_killed_supervisor_takes_the_latest_command_along(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(replace(shell(tmp_path, '[ "$CLOUDML_ATTEMPT" = 2 ] || exit 3; exec sleep 600'), retries=1))
    until(lambda: status(engine, "t").restarts == 1 and status(engine, "t").pid)
    second = status(engine, "t").pid
    assert second
    os.kill(int((tmp_path / "tasks" / "t" / "alive").read_text().split()[0]), signal.SIGKILL)
    assert finish(engine, "t").state is TaskState.FAILED
    until(lambda: not alive(second))


def test_both_ways_at_once_are_refused(engine: ProcessEngine, tmp_path: Path) -> None:
    for wrong in ({"retries": -1}, {"retries": 1, "restart": QUICK}, {"restart": Restart(first=-1)}):
        with pytest.raises(Invalid):
            engine.start(replace(shell(tmp_path, "true"), **wrong))  # type: ignore[arg-type]
