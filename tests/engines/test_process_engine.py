"""What a task does and how it ends."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import threading
import time
from pathlib import Path

import pytest
from engine_tasks import PATH, alive, finish, output, shell, status, until

from cloudml.engines import LOG_CHUNK, Task, TaskState
from cloudml.engines.process import ProcessEngine
from cloudml.errors import AlreadyExists, Invalid, NotFound, PreconditionFailed


def test_success(engine: ProcessEngine, tmp_path: Path) -> None:
    task = shell(tmp_path, "pwd")
    before = time.time()
    assert engine.start(task).pid is not None
    done = finish(engine, "t")
    assert (done.task, done.state, done.exit_code, done.reason) == (task, TaskState.SUCCEEDED, 0, None)
    assert done.started is not None
    assert done.ended is not None
    assert before <= done.started <= done.ended <= time.time()
    assert output(engine) == f"{os.path.realpath(tmp_path)}\n".encode()


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("exit 3", 3, "exit code 3"),
        ("kill -KILL $$", 137, "killed by SIGKILL"),
        ("kill -TERM $$", 143, "killed by SIGTERM"),
    ],
)
def test_failure(engine: ProcessEngine, tmp_path: Path, script: str, code: int, reason: str) -> None:
    engine.start(shell(tmp_path, script))
    done = finish(engine, "t")
    assert (done.state, done.exit_code, done.reason) == (TaskState.FAILED, code, reason)


def test_a_command_that_cannot_run_fails_at_once(engine: ProcessEngine, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    cases = {
        "missing": (("no-such-command", "x"), tmp_path, "command not found: no-such-command"),
        "plain": ((str(plain),), tmp_path, f"Permission denied: {plain}"),
        "nowhere": (("true",), tmp_path / "nowhere", f"no such folder: {tmp_path / 'nowhere'}"),
    }
    for id, (argv, cwd, reason) in cases.items():
        done = engine.start(Task(id, argv, PATH, str(cwd)))
        assert (done.state, done.exit_code, done.pid, done.reason) == (TaskState.FAILED, None, None, reason)


@pytest.mark.parametrize(
    "task",
    [
        Task("t", (), {}, "/"),
        Task("t", ("a\0b",), {}, "/"),
        Task("t", ("a",), {"A=B": "c"}, "/"),
        Task("t", ("a",), {}, "/", timeout=0),
        Task("../t", ("a",), {}, "/"),
        Task(".t", ("a",), {}, "/"),
    ],
)
def test_what_could_never_run_is_refused(engine: ProcessEngine, task: Task) -> None:
    with pytest.raises(Invalid):
        engine.start(task)
    assert list(engine.list()) == []


def test_the_command_gets_its_environment_and_nothing_else(engine: ProcessEngine, tmp_path: Path) -> None:
    env = shutil.which("env")
    assert env
    engine.start(Task("t", (env,), {"TOKEN": "s3 cret", "É": "\udcff"}, str(tmp_path)))
    finish(engine, "t")
    assert sorted(output(engine).splitlines()) == [b"TOKEN=s3 cret", "É=".encode() + b"\xff"]


def test_the_command_gets_the_default_signals(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "yes | head -n 1; trap"))  # `yes` complains if SIGPIPE is ignored
    finish(engine, "t")
    assert output(engine) == b"y\n"


def test_secrets_stay_private(engine: ProcessEngine, tmp_path: Path) -> None:
    done = engine.start(Task("t", ("true",), PATH | {"TOKEN": "s3cret"}, str(tmp_path)))
    finish(engine, "t")
    assert "s3cret" not in repr(done)
    for path, mode in {"": 0o700, "t": 0o700, "t/task.json": 0o600, "t/log": 0o600}.items():
        assert stat.S_IMODE((tmp_path / "tasks" / path).stat().st_mode) == mode


def test_binary_output_of_both_streams(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, r"printf '\000\377'; printf 'err\r\n' >&2"))
    finish(engine, "t")
    assert output(engine) == b"\x00\xfferr\r\n"


def test_five_megabytes_in_pieces(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, r"head -c 5000000 /dev/zero | tr '\000' '\377'"))
    finish(engine, "t")
    first, cursor = engine.logs("t")
    assert (len(first), cursor) == (LOG_CHUNK, LOG_CHUNK)
    assert output(engine) == b"\xff" * 5_000_000
    assert engine.logs("t", 5_000_000) == (b"", 5_000_000)


def test_output_is_there_while_it_runs(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "echo here; exec sleep 600"))
    until(lambda: engine.logs("t")[0] == b"here\n")
    assert status(engine, "t").state is TaskState.RUNNING


def test_timeout(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "exec sleep 600", timeout=0.1))
    done = finish(engine, "t")
    assert (done.state, done.reason) == (TaskState.TIMED_OUT, "still running after 0.1 s")
    assert done.started is not None
    assert done.ended is not None
    assert done.ended - done.started >= 0.1


def test_stop_kills_what_ignores_it(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "trap '' TERM; echo up; while :; do sleep 600; done", grace=2.0))
    until(lambda: engine.logs("t")[0] == b"up\n")
    asked = time.time()
    engine.stop("t")
    engine.stop("t")
    assert time.time() - asked < 2.0  # it asks, it does not wait
    done = finish(engine, "t")
    assert (done.state, done.exit_code, done.reason) == (TaskState.CANCELLED, 137, "stopped on request")
    assert done.ended is not None
    assert done.ended - asked >= 2.0
    engine.stop("t")


def test_stop_lets_the_whole_group_finish_within_the_grace(engine: ProcessEngine, tmp_path: Path) -> None:
    """A shell dies of SIGTERM at once; the program under it may still be writing its checkpoint."""
    inner = (
        "trap 'until [ -e go ]; do sleep 0.01; done; echo saved; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    )
    (tmp_path / "inner.sh").write_text(inner)
    engine.start(shell(tmp_path, "sh inner.sh; true", grace=10))
    until(lambda: engine.logs("t")[0] == b"up\n")
    outer = status(engine, "t").pid
    assert outer
    engine.stop("t")
    until(lambda: not alive(outer))
    assert status(engine, "t").state is TaskState.RUNNING
    (tmp_path / "go").touch()
    done = finish(engine, "t")
    assert done.state is TaskState.CANCELLED
    assert output(engine).endswith(b"saved\n")


@pytest.mark.parametrize("end", ["exit 0", "kill -KILL $$", "wait"])
def test_what_the_command_left_behind_ends_with_it(engine: ProcessEngine, tmp_path: Path, end: str) -> None:
    engine.start(shell(tmp_path, f"trap '' TERM; sleep 600 & echo $!; {end}", timeout=2.0))
    finish(engine, "t")
    left = int(output(engine))
    until(lambda: not alive(left))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody becomes the parent of orphans")
@pytest.mark.parametrize("end", ["exit 3", "exec sleep 600"])
def test_daemons_that_fled_the_group_end_too(engine: ProcessEngine, tmp_path: Path, end: str) -> None:
    """Each in a session of its own, deaf to signals, talking without end."""
    (tmp_path / "deaf.sh").write_text("trap '' TERM HUP INT; (while :; do echo x; done) & echo $$ $! >> pids; wait")
    script = "setsid sh deaf.sh & setsid setsid sh deaf.sh & "
    script += f'until [ -e pids ] && [ "$(wc -l < pids)" = 2 ]; do sleep 0.01; done; {end}'
    engine.start(shell(tmp_path, script, timeout=60 if "3" in end else 3.0))
    assert finish(engine, "t").state is (TaskState.FAILED if "3" in end else TaskState.TIMED_OUT)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 4
    assert not [pid for pid in pids if alive(pid)]


def test_an_id_is_taken_once(engine: ProcessEngine, tmp_path: Path) -> None:
    task = shell(tmp_path, "echo one")
    taken: list[AlreadyExists] = []

    def start() -> None:
        try:
            engine.start(task)
        except AlreadyExists as error:
            taken.append(error)

    starters = [threading.Thread(target=start) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert len(taken) == 3
    finish(engine, "t")
    with pytest.raises(AlreadyExists):
        engine.start(task)
    assert output(engine) == b"one\n"


def test_remove(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "exec sleep 600"))
    with pytest.raises(PreconditionFailed):
        engine.remove("t")
    engine.stop("t")
    finish(engine, "t")
    engine.remove("t")
    assert engine.status("t") is None
    assert list(engine.list()) == []
    for call in (engine.remove, engine.stop, engine.logs):
        with pytest.raises(NotFound):
            call("t")
    engine.start(shell(tmp_path, "true"))  # the id is free again
    assert finish(engine, "t").state is TaskState.SUCCEEDED


def test_list_is_in_order_and_skips_what_is_no_task(engine: ProcessEngine, tmp_path: Path) -> None:
    assert list(engine.list()) == []
    for id in ("b", "a"):
        engine.start(shell(tmp_path, "true", id))
    stranger = tmp_path / "tasks" / "stranger"
    stranger.touch()
    assert [one.task.id for one in engine.list()] == ["a", "b"]
    stranger.unlink()
