"""Who outlives whom: starters, supervisors and commands that are killed, and looks taken in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from engine_tasks import alive, finish, living_in, output, shell, status, until

from cloudml.engines import TaskState, groups, process, supervisor
from cloudml.engines.process import ProcessEngine
from cloudml.errors import NotFound

ORDER = [TaskState.PENDING, TaskState.RUNNING, TaskState.SUCCEEDED]


def supervisor_of(tmp_path: Path, id: str = "t") -> int:
    return int((tmp_path / "tasks" / id / "alive").read_text().split()[0])


def rewrite(tmp_path: Path, **record: object) -> None:
    (tmp_path / "tasks" / "t" / "status.json").write_text(json.dumps(record))


def test_the_task_outlives_its_starter(engine: ProcessEngine, tmp_path: Path) -> None:
    starter = f"""
import os, signal
from pathlib import Path
from cloudml.engines import Task
from cloudml.engines.process import ProcessEngine
task = Task("t", ("sh", "-c", "until [ -e go ]; do sleep 0.01; done; echo went"), dict(os.environ), {str(tmp_path)!r})
ProcessEngine(Path({str(tmp_path / "tasks")!r})).start(task)
os.killpg(0, signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", starter], start_new_session=True, check=False, env=source_path())
    assert ended.returncode == -signal.SIGKILL
    assert status(engine, "t").state is TaskState.RUNNING
    (tmp_path / "go").touch()
    assert finish(engine, "t").state is TaskState.SUCCEEDED
    assert output(engine) == b"went\n"


def source_path() -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_nothing_is_left_for_the_starter_to_reap(engine: ProcessEngine, tmp_path: Path) -> None:
    children = subprocess.run(["ps", "-axo", "ppid=,stat="], capture_output=True, text=True, check=True).stdout
    engine.start(shell(tmp_path, "true"))
    finish(engine, "t")
    until(lambda: not living_in(tmp_path))
    after = subprocess.run(["ps", "-axo", "ppid=,stat="], capture_output=True, text=True, check=True).stdout
    mine = [sum(line.split()[0] == str(os.getpid()) for line in text.splitlines()) for text in (children, after)]
    assert mine[0] == mine[1]


def test_a_killed_supervisor_takes_its_command_along(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "trap '' TERM; sleep 600 & echo $!; wait"))
    until(lambda: engine.logs("t")[0].endswith(b"\n"))
    running = status(engine, "t")
    os.kill(supervisor_of(tmp_path), signal.SIGKILL)
    done = finish(engine, "t")
    assert (done.state, done.reason) == (TaskState.FAILED, "its supervisor was killed")
    assert done.ended is not None
    assert running.pid
    for pid in (running.pid, int(output(engine))):
        until(lambda pid=pid: not alive(pid))  # type: ignore[misc]


@pytest.mark.skipif(sys.platform != "linux", reason="where there is no /proc, only the first group is known")
def test_a_killed_supervisor_takes_along_what_has_a_group_of_its_own(engine: ProcessEngine, tmp_path: Path) -> None:
    """As what a job's runtime starts has."""
    script = (
        "import subprocess as s; p = s.Popen(['sleep', '600'], process_group=0); print(p.pid, flush=True); p.wait()"
    )
    engine.start(shell(tmp_path, f'exec {sys.executable} -c "{script}"'))
    until(lambda: engine.logs("t")[0].endswith(b"\n"))
    inner = int(output(engine))
    os.kill(supervisor_of(tmp_path), signal.SIGKILL)
    assert finish(engine, "t").state is TaskState.FAILED
    until(lambda: not alive(inner))


@pytest.mark.skipif(
    sys.platform != "linux", reason="where there is no /proc, nothing proves that the pid is still ours"
)
def test_the_next_look_ends_a_command_that_nobody_guards(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "exec sleep 600"))
    command = status(engine, "t").pid
    assert command
    guards = [pid for pid in living_in(tmp_path) if pid not in (command, supervisor_of(tmp_path))]
    for pid in (*guards, supervisor_of(tmp_path)):
        os.kill(pid, signal.SIGKILL)
    assert alive(command)
    done = finish(engine, "t")
    assert (done.state, done.reason) == (TaskState.FAILED, "its supervisor was killed")
    until(lambda: not alive(command))


@pytest.mark.parametrize("birth", ["another boot:1", None])
def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(
    engine: ProcessEngine, tmp_path: Path, birth: str | None
) -> None:
    engine.start(shell(tmp_path, "true"))
    finish(engine, "t")
    until(lambda: not living_in(tmp_path))
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        rewrite(tmp_path, state="running", pid=stranger.pid, birth=birth)
        assert status(engine, "t").state is TaskState.FAILED
        assert stranger.poll() is None
        assert alive(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_pending_task_that_nobody_watches_failed(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "true"))
    finish(engine, "t")
    until(lambda: not living_in(tmp_path))
    for text in ('{"state": "pending"}', ""):  # a power cut may leave an empty file
        (tmp_path / "tasks" / "t" / "status.json").write_text(text)
        done = status(engine, "t")
        assert (done.state, done.reason) == (TaskState.FAILED, "its supervisor never came up")


@pytest.mark.parametrize(("python", "said"), [("/nowhere/python", "No such file"), ("/usr/bin/false", "did not start")])
def test_a_supervisor_that_does_not_start_is_a_failed_task(
    engine: ProcessEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, said: str
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    done = engine.start(shell(tmp_path, "true"))
    assert done.state is TaskState.FAILED
    assert done.reason
    assert said in done.reason
    assert finish(engine, "t") == done


def test_a_stop_before_the_command_started(
    engine: ProcessEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = process._launch

    def stopped_first(draft: Path, id: str) -> bytes:
        (draft / "stop").touch()
        return launch(draft, id)

    monkeypatch.setattr(process, "_launch", stopped_first)
    done = engine.start(shell(tmp_path, "echo ran"))
    assert (done.state, done.pid, done.reason) == (TaskState.CANCELLED, None, "stopped on request")
    assert output(engine) == b""


def test_a_stop_at_any_moment_of_the_start(engine: ProcessEngine, tmp_path: Path) -> None:
    def stop(id: str) -> None:
        def found() -> bool:
            try:
                engine.stop(id)
            except NotFound:
                return False
            return True

        until(found)

    for id in map(str, range(6)):
        stopper = threading.Thread(target=stop, args=(id,))
        stopper.start()
        engine.start(shell(tmp_path, "exec sleep 600", id))
        stopper.join()
        assert finish(engine, id).state is TaskState.CANCELLED


def test_the_supervisor_stops_on_its_own_sigterm(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "exec sleep 600"))
    os.kill(supervisor_of(tmp_path), signal.SIGTERM)
    assert finish(engine, "t").state is TaskState.CANCELLED


def test_a_stop_whose_signal_is_lost_is_found(
    engine: ProcessEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a container, where the supervisor has another pid or none."""
    engine.start(shell(tmp_path, "exec sleep 600"))
    monkeypatch.setattr(groups, "birth", lambda pid: "of another namespace")
    engine.stop("t")
    assert finish(engine, "t").state is TaskState.CANCELLED


def test_a_stop_whose_file_cannot_be_seen_is_told_by_signal(
    engine: ProcessEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.start(shell(tmp_path, "exec sleep 600"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", lambda path: None)
        engine.stop("t")
    assert finish(engine, "t").state is TaskState.CANCELLED


def test_a_task_that_ends_between_two_looks_is_not_lost(
    engine: ProcessEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.start(shell(tmp_path, "until [ -e go ]; do sleep 0.01; done"))

    def ends_now(path: Path) -> bool:
        (tmp_path / "go").touch()
        until(lambda: not living_in(tmp_path))
        return False

    monkeypatch.setattr(process, "_watched", ends_now)
    assert status(engine, "t").state is TaskState.SUCCEEDED


def test_no_look_sees_a_torn_or_a_wrong_state(engine: ProcessEngine, tmp_path: Path) -> None:
    seen: list[dict[str, list[TaskState]]] = [{}, {}]
    over = threading.Event()

    def watch(mine: dict[str, list[TaskState]]) -> None:
        while not over.is_set():
            for one in engine.list():
                mine.setdefault(one.task.id, []).append(one.state)

    watchers = [threading.Thread(target=watch, args=(mine,)) for mine in seen]
    for watcher in watchers:
        watcher.start()
    try:
        for id in map(str, range(12)):
            engine.start(shell(tmp_path, "true", id))
            finish(engine, id)
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()
    looks = [states for mine in seen for states in mine.values()]
    assert sum(map(len, looks)) > 50
    for states in looks:
        assert set(states) <= set(ORDER)
        assert states == sorted(states, key=ORDER.index)


def test_the_supervisor_is_light() -> None:
    """What it loads is waited for by every task."""
    look = "import sys; sys.path.append(sys.argv[1]); import supervisor; print(' '.join(sys.modules))"
    folder = str(Path(supervisor.__file__).parent)
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look, folder], capture_output=True, text=True, check=True
    )
    assert not {"subprocess", "typing", "dataclasses", "logging", "cloudml", "site"} & set(loaded.stdout.split())


def test_a_task_whose_folder_was_removed_ends(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(shell(tmp_path, "sleep 600"))
    pid = status(engine, "t").pid
    assert pid is not None
    watcher = supervisor_of(tmp_path)
    shutil.rmtree(tmp_path / "tasks")
    until(lambda: not alive(pid) and not alive(watcher))
