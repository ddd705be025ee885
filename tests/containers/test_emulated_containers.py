"""An emulated cloud's containers on a real engine: the image itself, its network, and its end."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import DEADLINE, until

from cloudml.emulation import Cloud, Container, Emulator, Ran, Route, Site, running
from cloudml.emulation.dockers import DockerContainers
from cloudml.errors import AlreadyExists, NotFound
from cloudml.images import Built

IMAGE, UNIVERSAL = "vendor.example/framework:1", "registry.example/cloudml-serve:1"


def ended(containers: DockerContainers, id: str) -> Ran:
    """How a container ended, once it has."""

    def look() -> Ran | None:
        ran = containers.look(id)
        assert ran, f"there is no container {id}"
        return None if ran.running else ran

    found: Ran = until(look)
    return found


def answers(containers: DockerContainers, id: str, path: str = "/", body: bytes | None = None) -> bytes:
    """What a server answers, once it does."""

    def look() -> list[bytes]:
        ran = containers.look(id)
        assert ran
        assert ran.running, containers.logs(id)
        host, port = ran.address or ("", 0)
        request = urllib.request.Request(f"http://{host}:{port}{path}", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                return [answer.read()]
        except (urllib.error.URLError, ConnectionError):
            return []

    found: list[bytes] = until(look)
    return found[0]


@pytest.fixture
def containers(tmp_path: Path, base: str, plain: Built) -> Iterator[DockerContainers]:
    (tmp_path / "network" / "trust").mkdir(parents=True)
    with (tmp_path / "alive").open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        made = DockerContainers(tmp_path / "containers", tmp_path / "alive", {IMAGE: base, UNIVERSAL: plain.name})
        yield made
        made.close()


def shell(line: str, id: str = "job", **more: object) -> Container:
    return Container(id, IMAGE, ("sh", "-c", line), **more)  # type: ignore[arg-type]


def test_a_job_finds_its_folders_and_its_peers(containers: DockerContainers, tmp_path: Path) -> None:
    tree, data = tmp_path / "tree", tmp_path / "data"
    tree.mkdir()
    data.mkdir()
    mounts = {"/opt/ml": tree, "/opt/ml/input/data": data}
    line = "touch /opt/ml/made; touch /opt/ml/input/data/x 2>/dev/null; hostname; getent hosts algo-2; exit 3"
    read_only = frozenset({"/opt/ml/input/data"})
    containers.start(shell(line, mounts=mounts, read_only=read_only, host_name="algo-1", peers=("algo-2",)))
    assert ended(containers, "job").reason == "exit code 3"
    said = containers.logs("job")[0].decode().splitlines()
    assert "algo-1" in said
    assert said[-1].split() == ["127.0.0.1", "algo-2"]
    assert (tree / "made").exists()
    assert not (data / "x").exists()
    with pytest.raises(AlreadyExists):
        containers.start(shell("true"))
    containers.remove("job")
    assert containers.look("job") is None


def test_how_it_ended_is_said(containers: DockerContainers) -> None:
    containers.start(Container("missing", IMAGE, ("no-such-program",)))
    assert ended(containers, "missing").exit_code == 127
    containers.start(shell("sleep 600", "late", timeout=0.5, grace=1.0))
    assert ended(containers, "late").reason == "still running after 0.5 s"
    hungry = ("python3", "-c", "b'x' * 400_000_000")
    containers.start(Container("hungry", IMAGE, hungry, memory=100_000_000))
    assert ended(containers, "hungry").reason == "out of memory"


def test_an_image_that_nobody_has_is_not_there(containers: DockerContainers) -> None:
    with pytest.raises(NotFound, match=r"another\.example/image:1") as caught:
        containers.start(Container("job", "another.example/image:1", ("true",)))
    assert "--image another.example/image:1=LOCAL" in str(caught.value.hint)
    assert containers.look("job") is None


def test_a_server_is_reached_on_the_loopback(containers: DockerContainers) -> None:
    command = ("python3", "-m", "http.server", "8080")
    for id in ("one", "two"):  # both listen on the same port, each in a network of its own
        containers.start(Container(id, IMAGE, command, port=8080))

    for id in ("one", "two"):
        assert b"Directory listing" in answers(containers, id)


def test_the_universal_image_listens_where_it_is_told_and_to_this_machine_alone(
    containers: DockerContainers, model: Path, nonce: str
) -> None:
    env, mounts = {"CLOUDML_PORT": "{port}"}, {"/opt/ml/model": model}
    containers.start(Container("server", UNIVERSAL, env=env, mounts=mounts, read_only=frozenset(mounts), port=8080))
    said = json.loads(answers(containers, "server", "/invocations", b'{"instances": [[1, 2]]}'))
    assert said == {"predictions": [f"{nonce} 3"]}
    ran = containers.look("server")
    assert ran
    assert ran.address
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port = f"{ran.address[1]:04X}"
    assert {each[1] for each in sockets if each[1].endswith(f":{port}") and each[3] == "0A"} == {f"0100007F:{port}"}
    containers.stop("server")
    assert ended(containers, "server").exit_code == 0


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from the cloud, " + self.headers["Host"].encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_job_reaches_the_emulated_cloud(tmp_path: Path, base: str) -> None:
    sites: list[Site] = []

    def start(site: Site) -> Cloud:
        sites.append(site)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

        def close() -> None:
            server.shutdown()
            server.server_close()

        return Cloud([Route("api.tiny.example", server.server_port)], {}, close)

    line = "import urllib.request as r; print(r.urlopen('https://api.tiny.example/').read().decode())"
    with running.start([Emulator("tiny", start, dict)], tmp_path, engine="docker", images={IMAGE: base}) as emulation:
        containers = emulation.clouds["tiny"].containers
        assert isinstance(containers, DockerContainers)
        command = Container("job", IMAGE, ("python3", "-c", line), env=sites[0].environment(), cwd="/tmp")
        containers.start(command)
        ended(containers, "job")
        assert containers.logs("job")[0] == b"from the cloud, api.tiny.example\n"


def test_containers_go_with_their_owner(tmp_path: Path, base: str) -> None:
    program = f"""
import fcntl, os
from pathlib import Path
from cloudml.emulation import Container
from cloudml.emulation.dockers import DockerContainers
folder = Path({str(tmp_path)!r})
(folder / "network" / "trust").mkdir(parents=True)
owner = open(folder / "alive", "w")
fcntl.flock(owner, fcntl.LOCK_EX)
made = DockerContainers(folder / "containers", folder / "alive")
made.start(Container("job", {base!r}, ("sleep", "600")))
print(made.look("job").running, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stderr
    left = DockerContainers(tmp_path / "containers")
    until(lambda: left.look("job") is None)
    left.close()
