"""The Docker engine: what it adds to the process engine, and that nothing of it is left behind."""

from __future__ import annotations

import gc
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudml.engines import Container, Mount, Restart, Task, TaskState, TaskStatus, attached
from cloudml.engines.docker import DockerEngine, label
from cloudml.errors import AlreadyExists, Denied, NotFound, PreconditionFailed, Unavailable

BASE = os.environ.get("CLOUDML_IMAGE_BASE") or "cloudml-base:bookworm"
DEADLINE = 60.0  # seconds


def until(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not look():
        assert time.monotonic() < deadline, f"still not so after {DEADLINE:g} s: {what}"
        time.sleep(0.05)


class Used:
    """An engine, and what there is of it on Docker."""

    def __init__(self, folder: Path, docker: Any) -> None:
        self.folder = folder
        self.engine = DockerEngine(folder)
        self._docker = docker

    def containers(self) -> list[Any]:
        mine = f"{attached.ENGINE}={label(self.folder.absolute())}"
        found: list[Any] = self._docker.containers.list(all=True, filters={"label": mine}, ignore_removed=True)
        return found

    def start(self, line: str, id: str = "job", container: Container | None = None, **more: Any) -> TaskStatus:
        wanted = container or Container(BASE)
        more = {"grace": 1.0, **more}
        return self.engine.start(Task(id, ("sh", "-c", line), more.pop("env", {}), "/tmp", container=wanted, **more))

    def status(self, id: str = "job") -> TaskStatus:
        found = self.engine.status(id)
        assert found
        return found

    def ended(self, id: str = "job") -> TaskStatus:
        until(lambda: self.status(id).state.ended, f"{id} has ended")
        return self.status(id)

    def said(self, id: str = "job") -> str:
        return self.engine.logs(id)[0].decode()


@pytest.fixture
def used(tmp_path: Path, engine: Any, base: str) -> Iterator[Used]:
    made = Used(tmp_path / "engine", engine)
    yield made
    for status in list(made.engine.list()):
        made.engine.stop(status.task.id)
    for status in list(made.engine.list()):
        made.ended(status.task.id)
        made.engine.remove(status.task.id)
    assert not made.containers()


def test_a_container_is_a_task(used: Used, tmp_path: Path) -> None:
    """Output, exit code, environment, folder, mounts, and a name that people can read."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "x").write_text("from this machine")
    mounts = (Mount(str(data), read_only=True), Mount(str(tmp_path), inside="/out"))
    line = f"echo $NONCE; cat {data}/x; touch {data}/y 2>/dev/null || touch /out/made; sleep 0.5; exit 3"
    used.start(line, env={"NONCE": "n-17"}, labels={"cloudml-stack": "s"}, container=Container(BASE, mounts=mounts))
    until(lambda: used.status().state.ended or used.containers(), "there is a container")
    for found in used.containers():
        assert found.name.startswith("cloudml-job-")
        assert found.labels["cloudml-stack"] == "s"
    ended = used.ended()
    assert (ended.state, ended.exit_code, ended.reason) == (TaskState.FAILED, 3, "exit code 3")
    assert used.said().startswith("n-17")
    assert "from this machine" in used.said()
    assert (tmp_path / "made").exists()
    assert ended.task.argv[0] == "sh"
    assert ended.task.cwd == "/tmp"
    assert not used.containers()
    with pytest.raises(AlreadyExists):
        used.start("true")


def test_out_of_memory_is_said_with_the_limit(used: Used) -> None:
    hungry = Task("job", ("python3", "-c", "b'x' * 400_000_000"), {}, "/", container=Container(BASE, memory=100 << 20))
    used.engine.start(hungry)
    assert used.ended().reason == "out of memory: the limit is 100 MiB"


def test_limits_reach_the_container(used: Used) -> None:
    limits = Container(
        BASE, cpus=0.5, memory=64 << 20, shm=16 << 20, pids=64, user="4242:4343", read_only=True
    )  # fmt: skip
    line = "id -u; id -g; df -m /dev/shm | tail -1; touch /x 2>/dev/null || touch /tmp/x && echo made; sleep 600"
    used.start(line, container=limits)
    until(lambda: "made" in used.said(), "it has spoken")
    (found,) = used.containers()
    config = found.attrs["HostConfig"]
    assert (config["NanoCpus"], config["PidsLimit"]) == (500_000_000, 64)
    assert (config["Memory"], config["MemorySwap"]) == (64 << 20, 64 << 20)
    assert used.said().splitlines()[:2] == ["4242", "4343"]
    assert " 16 " in used.said()
    stats = used.engine.stats("job")
    assert 0 < stats["memory"] <= stats["limit"] == 64 << 20
    assert stats["pids"] >= 1


def test_a_gpu_that_is_not_there_is_the_reason(used: Used) -> None:
    used.start("true", container=Container(BASE, gpus=1))
    ended = used.ended()
    assert ended.exit_code == attached.REFUSED
    assert "no GPU to give" in str(ended.reason)


def test_who_ignores_sigterm_is_killed_after_its_grace(used: Used) -> None:
    used.start("trap '' TERM; echo begun; while :; do sleep 0.1; done", grace=1.0)
    until(lambda: "begun" in used.said(), "it runs")
    used.engine.stop("job")
    ended = used.ended()
    assert (ended.state, ended.exit_code) == (TaskState.CANCELLED, 137)
    assert not used.containers()


def test_sigterm_reaches_the_container(used: Used) -> None:
    used.start("trap 'echo asked; exit 7' TERM; echo begun; while :; do sleep 0.1; done", grace=30.0)
    until(lambda: "begun" in used.said(), "it runs")
    used.engine.stop("job")
    ended = used.ended()
    assert (ended.state, ended.exit_code) == (TaskState.CANCELLED, 7)
    assert "asked" in used.said()


def test_an_image_that_is_not_there(used: Used) -> None:
    with pytest.raises(NotFound, match="No such image") as caught:
        used.start("true", container=Container("nobody/has-this:1"))
    assert "cloudml image build" in str(caught.value.hint)
    assert used.engine.status("job") is None


def test_a_port_that_is_taken_is_the_reason(used: Used) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        used.start("sleep 600", container=Container(BASE, port=8080, host_port=port))
        ended = used.ended()
    assert ended.exit_code == attached.REFUSED
    assert str(port) in str(ended.reason)
    assert "end what listens there" in str(ended.reason)
    assert not used.containers()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # docker-py's own: it leaves the socket that found nobody
def test_no_engine_is_one_line(used: Used, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'none.sock'}")
    with pytest.raises(Unavailable, match="no Docker engine answers") as caught:
        used.start("true")
    assert "start Docker" in str(caught.value.hint)
    assert used.engine.status("job") is None
    del caught
    gc.collect()


def test_no_permission_on_the_socket(used: Used, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may do everything, so the words are those that docker-py has for others."""
    said = "Error while fetching server API version: ('Connection aborted.', PermissionError(13, 'Permission denied'))"

    def refuse(**_: object) -> None:
        raise errors.DockerException(said)

    errors = pytest.importorskip("docker.errors")
    monkeypatch.setattr("docker.from_env", refuse)
    with pytest.raises(Denied, match="socket may not be used") as caught:
        used.start("true")
    assert "group 'docker'" in str(caught.value.hint)


def test_what_listens_is_announced_and_started_again(used: Used, tmp_path: Path) -> None:
    """A killed container is another one on another port, and the file says so."""
    ready = tmp_path / "ready.json"
    server = Container(BASE, port=8080, announce=str(ready))
    used.start("exec python3 -m http.server 8080", container=server, restart=Restart(first=0.1))

    def answers() -> int:
        """The pid of the client whose container answers; 0 if none does."""
        told = attached.json.loads(ready.read_text()) if ready.exists() else {"port": 1, "pid": 0}
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{told['port']}/", timeout=5) as answer:
                return int(told["pid"]) if answer.status == 200 else 0
        except OSError:
            return 0

    until(answers, "it answers")
    first = answers()
    assert first == used.status().pid
    (found,) = used.containers()
    found.kill("SIGKILL")
    until(lambda: answers() not in (0, first), "another one answers")
    assert used.status().restarts == 1
    with pytest.raises(PreconditionFailed):
        used.engine.remove("job")


def test_a_killed_client_leaves_nothing_behind(used: Used) -> None:
    used.start("echo begun; sleep 600")
    until(lambda: "begun" in used.said(), "it runs")
    pid = used.status().pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert used.ended().reason == "killed by SIGKILL"
    until(lambda: not used.containers(), "its container is gone")


def test_a_killed_client_of_a_server_is_followed_by_another(used: Used) -> None:
    used.start("echo begun; sleep 600", restart=Restart(first=0.1))
    until(lambda: "begun" in used.said(), "it runs")
    pid = used.status().pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: used.said().count("begun") == 2, "it runs again")
    assert len(used.containers()) == 1


def test_a_secret_is_in_the_container_alone(used: Used) -> None:
    """Not in its labels, its command, the client's command or environment, nor in what is said."""
    used.start("echo begun; sleep 600", env={"TOKEN": "s3cr3t-value"})
    until(lambda: "begun" in used.said(), "it runs")
    (found,) = used.containers()
    assert "TOKEN=s3cr3t-value" in found.attrs["Config"]["Env"]
    visible = [str(found.labels), str(found.attrs["Config"]["Cmd"]), found.name, used.said(), repr(used.status())]
    pid = used.status().pid
    visible += [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ")]
    assert not [text for text in visible if "s3cr3t-value" in text]
    assert (used.folder / "job" / "task.json").stat().st_mode & 0o077 == 0
