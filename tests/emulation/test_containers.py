"""Containers on processes: what they find, how they end, and that nothing is left of them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import joblib
import pytest
from emulated_waiting import ended, processes, unlikely_sleep, until
from sklearn.linear_model import LogisticRegression
from tiny_cloud import Tiny

from cloudml.emulation import Container, running
from cloudml.emulation.processes import ProcessContainers
from cloudml.errors import AlreadyExists, NotFound, Unavailable

IMAGE = "framework:1"
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["SAID"].encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["BIND"])), Handler).serve_forever()
"""


def shell(line: str, id: str = "job", **more: object) -> Container:
    return Container(id, IMAGE, ("/bin/sh", "-c", line), **more)  # type: ignore[arg-type]


def output(containers: ProcessContainers, id: str = "job") -> str:
    return containers.logs(id)[0].decode()


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_a_job_finds_its_folders_and_leaves_its_results(containers: ProcessContainers, tmp_path: Path) -> None:
    tree, data = folder(tmp_path / "tree"), folder(tmp_path / "data")
    (data / "train.csv").write_text("1,2\n")
    line = 'cp "$IN/train.csv" /opt/ml/model.txt && python -c "import cloudml; print(cloudml.__name__)"'
    mounts = {"/opt/ml": tree, "/opt/ml/input/data/train": data}
    env = {"IN": "/opt/ml/input/data/train"}
    containers.start(shell(line, mounts=mounts, env=env, read_only=frozenset({"/opt/ml/input/data/train"})))
    assert ended(containers, "job").exit_code == 0, output(containers)
    assert (tree / "model.txt").read_text() == "1,2\n"
    assert output(containers) == "cloudml\n"
    assert not Path("/opt/ml").exists()


def test_how_a_job_failed_is_said(containers: ProcessContainers) -> None:
    containers.start(shell("echo sorry >&2; exit 3"))
    ran = ended(containers, "job")
    assert (ran.exit_code, ran.reason) == (3, "exit code 3")
    assert output(containers) == "sorry\n"


def test_a_command_that_is_not_there_is_127(containers: ProcessContainers) -> None:
    containers.start(Container("job", IMAGE, ("no-such-program",)))
    assert ended(containers, "job").exit_code == 127
    assert "no-such-program" in output(containers)


def test_an_id_is_taken_until_it_is_removed(containers: ProcessContainers) -> None:
    containers.start(shell("true"))
    with pytest.raises(AlreadyExists):
        containers.start(shell("true"))
    containers.remove("job")
    assert containers.look("job") is None
    containers.start(shell("exit 4"))
    assert ended(containers, "job").exit_code == 4


def test_stopping_is_asked_once_and_then_forced(containers: ProcessContainers) -> None:
    # print() may be interrupted, and then not be called again; os.write may.
    line = "import os,signal,time; signal.signal(15, lambda *_: os.write(1, b'asked\\n')); os.write(1, b'up\\n')"
    program = (sys.executable, "-c", line + "\nwhile True: time.sleep(1)")
    containers.start(Container("job", IMAGE, program, grace=3.0))
    until(lambda: "up" in output(containers), "it is up")
    containers.stop("job")
    assert ended(containers, "job").exit_code == 128 + signal.SIGKILL
    assert output(containers).count("asked") == 1


def test_a_time_limit_ends_a_job(containers: ProcessContainers) -> None:
    containers.start(shell("sleep 600", timeout=0.3, grace=5.0))
    assert "0.3 s" in str(ended(containers, "job").reason)


def test_what_a_job_left_running_ends_with_it(containers: ProcessContainers, tmp_path: Path) -> None:
    tree = folder(tmp_path / "tree")
    containers.start(shell("setsid nohup sleep 600 & cat /proc/self/ns/pid; echo done", mounts={"/opt/ml": tree}))
    ended(containers, "job")
    containers.remove("job")  # and what the session's conftest finds is a failure


def test_removing_ends_what_runs(containers: ProcessContainers) -> None:
    containers.start(shell("trap '' TERM; sleep 600", grace=600.0))
    containers.remove("job")
    assert containers.look("job") is None


def test_a_server_gets_a_port_and_is_reached(containers: ProcessContainers) -> None:
    env = {"BIND": "{port}", "SAID": "hello"}
    containers.start(Container("server", IMAGE, (sys.executable, "-c", SERVER), env=env, port=8080))
    ran = containers.look("server")
    assert ran
    assert ran.address

    def answers() -> bool:
        try:
            host, port = ran.address or ("", 0)
            with urllib.request.urlopen(f"http://{host}:{port}/", timeout=60) as answer:
                return bool(answer.read() == b"hello")
        except urllib.error.URLError:
            return False

    until(answers, f"the server answers; it said {output(containers, 'server')}")


def test_the_universal_image_is_the_runtime(containers: ProcessContainers, tmp_path: Path) -> None:
    model = folder(tmp_path / "model")
    joblib.dump(LogisticRegression().fit([[-1.0], [1.0]], [0, 1]), model / "model.joblib")
    env = {"CLOUDML_PORT": "{port}", "CLOUDML_ALLOW_PICKLE": "1"}
    mounts, read_only = {"/opt/ml/model": model}, frozenset({"/opt/ml/model"})
    image = "123.registry.example/cloudml-serve:1"
    containers.start(Container("server", image, env=env, mounts=mounts, read_only=read_only, port=8080))
    body = b'{"instances": [[5.0], [-5.0]]}'
    said: list[bytes] = []

    def answers() -> bool:
        ran = containers.look("server")
        assert ran
        assert ran.running, output(containers, "server")
        host, port = ran.address or ("", 0)
        request = urllib.request.Request(
            f"http://{host}:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                said.append(answer.read())
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    until(answers, f"it predicts; it said {output(containers, 'server')}")
    assert json.loads(said[0])["predictions"] == [1, 0]


def test_the_universal_image_without_a_model_says_so(containers: ProcessContainers) -> None:
    containers.start(Container("server", "cloudml-serve", port=8080))
    assert ended(containers, "server").exit_code == 3
    assert "there is no model" in output(containers, "server")


def test_another_image_needs_a_command(containers: ProcessContainers) -> None:
    with pytest.raises(NotFound, match="vendor/server:1") as caught:
        containers.start(Container("server", "vendor/server:1", port=8080))
    assert "--engine docker" in str(caught.value.hint)
    assert containers.look("server") is None


def test_what_is_read_only_cannot_be_written(boxes: ProcessContainers, tmp_path: Path) -> None:
    model = folder(tmp_path / "model")
    line = "touch /opt/ml/model/x; touch /usr/x; touch /opt/x; exit 0"
    boxes.start(shell(line, mounts={"/opt/ml/model": model}, read_only=frozenset({"/opt/ml/model"})))
    ended(boxes, "job")
    assert output(boxes).count("Read-only file system") == 2  # /opt was made for the box
    assert not list(model.iterdir())
    assert not Path("/opt/x").exists()


def test_nodes_know_each_other_by_name(boxes: ProcessContainers) -> None:
    line = "hostname; python -c \"import socket; print(socket.gethostbyname('algo-2'))\""
    boxes.start(shell(line, host_name="algo-1", peers=("algo-2",)))
    assert ended(boxes, "job").exit_code == 0, output(boxes)
    assert output(boxes) == "algo-1\n127.0.0.1\n"


def test_nodes_that_cannot_know_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="boxes"):
        ProcessContainers(tmp_path, boxed=False).start(shell("true", peers=("algo-2",)))


def test_data_beyond_the_memory_is_refused(containers: ProcessContainers) -> None:
    program = (sys.executable, "-c", "b'x' * 400_000_000")
    containers.start(Container("job", IMAGE, program, memory=200_000_000))
    assert ended(containers, "job").exit_code == 1
    assert "MemoryError" in output(containers)


@pytest.mark.parametrize("boxed", [True, False], ids=["boxes", "folders"])
def test_containers_die_with_their_owner(tmp_path: Path, boxed: bool) -> None:
    """An owner that is killed cannot clean up; its containers end all the same."""
    mark = unlikely_sleep()
    program = f"""
import fcntl, sys, time
from pathlib import Path
from cloudml.emulation import Container, running
from cloudml.emulation.processes import ProcessContainers
folder = Path({str(tmp_path)!r})
alive = open(folder / "alive", "w")
fcntl.flock(alive, fcntl.LOCK_EX)
containers = ProcessContainers(folder / "containers", folder / "alive", {boxed})
containers.start(Container("job", "x", ("/bin/sh", "-c", "setsid {mark} & {mark}; true")))
print("up", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"up\n"
        until(lambda: len(processes(mark)) >= 2, "both sleep")
        owner.kill()
    until(lambda: not processes(mark), "nobody sleeps any more")
    left = ProcessContainers(tmp_path / "containers", boxed=boxed)
    ended(left, "job")
    left.close()


def test_two_servers_never_share_a_port(containers: ProcessContainers) -> None:
    ports = set()
    for number in range(3):
        containers.start(shell("sleep 600", id=f"server-{number}", port=8080))
        ran = containers.look(f"server-{number}")
        assert ran
        assert ran.address
        ports.add(ran.address[1])
    assert len(ports) == 3


def test_a_job_that_is_alone_has_a_network_of_its_own(tmp_path: Path) -> None:
    """Clients that ignore proxies work in it too; a server, and jobs of several nodes, have the proxy's variables."""
    tiny = Tiny()
    line = "import urllib.request as r, sys; opener = r.build_opener(*[r.ProxyHandler({})][: int(sys.argv[1])])\n"
    line += "print(opener.open('https://api.tiny.example/job').status)"
    with running.start([tiny.emulator], tmp_path) as emulation:
        containers, env = emulation.clouds["tiny"].containers, tiny.sites[0].environment()
        assert isinstance(containers, ProcessContainers)
        for id, ignored, peers in (("alone", "1", ()), ("obedient", "0", ()), ("node", "0", ("other",))):
            command = ("python", "-c", line, ignored)
            containers.start(Container(id, IMAGE, command, env=env, peers=peers))
        for id in ("alone", "obedient", "node"):
            assert ended(containers, id).exit_code == 0, output(containers, id)
            assert output(containers, id) == "200\n"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            leak = f"import socket; socket.create_connection({listener.getsockname()!r}, 30)"
            containers.start(Container("leak", IMAGE, ("python", "-c", leak)))
            assert ended(containers, "leak").exit_code == 1
        assert "ConnectionRefusedError" in output(containers, "leak")
