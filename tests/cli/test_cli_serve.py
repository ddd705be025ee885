"""``cloudml serve`` as a process of its own, asked over HTTP and ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

pytest.importorskip("httptools")

from cloudml.content import MANIFEST
from cloudml.runtime.manifest import write_manifest

DEADLINE = 60.0
MODEL = """
import time
class Model:
    def __init__(self, folder): pass
    def predict(self, rows):
        time.sleep(max(row[0] for row in rows))
        return [sum(row) for row in rows]
"""
FILE = """\
version: 1
project: real
models:
  sums: {path: model, sample_input: [{"wait": 0.0, "n": 2.0}], alias: champion}
environments:
  dev: {provider: local, home: state}
"""


class Server:
    """A process of the command, what it says, and where it listens."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "cloudml", "serve", *arguments, "--port", "0"]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        null, pipe = subprocess.DEVNULL, subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdin=null, stdout=null, stderr=pipe, text=True)
        assert self.process.stderr is not None
        self.first = self.process.stderr.readline()
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)$", self.first)
        self.port = int(found[1]) if found else 0

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=DEADLINE) as answer:
            return json.loads(answer.read())

    def predict(self, rows: Any) -> Any:
        body = json.dumps({"instances": rows}).encode()
        url = f"http://127.0.0.1:{self.port}/invocations"
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.loads(answer.read())["predictions"]

    def ready(self) -> None:
        end = time.monotonic() + DEADLINE
        while True:
            try:
                self.get("/readyz")
                return
            except OSError:
                assert self.process.poll() is None, self.first
                assert time.monotonic() < end
                time.sleep(0.01)


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Server]:
    """A server that is ready; it must end with 0 at Ctrl-C and have said no more than one line."""
    server = Server(folder, *arguments)
    try:
        server.ready()
        yield server
        server.process.send_signal(signal.SIGINT)
        _, said = server.process.communicate(timeout=DEADLINE)
        assert (server.process.returncode, said) == (0, "")
    finally:
        server.process.kill()
        server.process.communicate()


def refused(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "cloudml", "serve", *arguments]
    found = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return found.returncode, found.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose ``model`` is a bare model.py."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.py").write_text(MODEL)
    return tmp_path


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    joblib = pytest.importorskip("joblib")
    linear_model = pytest.importorskip("sklearn.linear_model")
    folder = tmp_path / "pickled"
    folder.mkdir()
    joblib.dump(linear_model.LogisticRegression().fit([[-1.0], [1.0]], [0, 1]), folder / "clf.joblib")
    return folder


def test_a_bare_folder_and_its_file(folder: Path) -> None:
    for model in ("model", "model/model.py"):
        with served(folder, model) as server:
            assert server.first.count("\n") == 1
            assert server.predict([[0, 1], [0, 5]]) == [1, 5]
    assert not (folder / "model" / MANIFEST).exists(), "nothing is written beside the model"
    assert not (folder / "model" / "__pycache__").exists(), "nothing is written beside the model"


def test_a_packaged_folder_further_down(folder: Path) -> None:
    write_manifest(folder / "model")
    with served(folder, ".") as server:
        assert server.predict([[0, 2]]) == [2]


def test_a_pickle_of_unknown_origin_only_when_told_so(pickled: Path) -> None:
    for model in ("pickled", "pickled/clf.joblib"):
        code, said = refused(pickled.parent, model)
        assert code == 3
        assert "is a pickle, which can run any code" in said
        assert "--allow-pickle" in said
        assert "listening" not in said
        with served(pickled.parent, model, "--allow-pickle") as server:
            assert server.predict([[-2.0], [2.0]]) == [0, 1]


def test_a_manifest_does_not_make_a_pickle_known(pickled: Path) -> None:
    (pickled / "clf.joblib").rename(pickled / "model.joblib")
    write_manifest(pickled)
    assert refused(pickled.parent, "pickled")[0] == 3
    with served(pickled.parent, "pickled", "--allow-pickle") as server:
        assert server.predict([[-2.0], [2.0]]) == [0, 1]


def test_a_registered_version_by_alias_and_number(folder: Path, pickled: Path) -> None:
    (folder / "cloudml.yaml").write_text(FILE)
    for arguments in (["apply", "-q"], ["models", "register", "clf", "pickled", "-q"]):
        subprocess.run([sys.executable, "-m", "cloudml", *arguments], cwd=folder, check=True, capture_output=True)
    for reference in ("sums@champion", "sums:1", "sums"):
        with served(folder, reference) as server:
            assert server.predict([{"n": 3, "wait": 0}]) == [3], "the signature names the features"
            assert server.get("/v2/models/sums")["versions"] == ["1"]
    with served(folder, "clf") as server:
        assert server.predict([[2.0]]) == [1]
    code, said = refused(folder, "sums@challenger")
    assert code == 5, said
    assert "there is no model sums@challenger" in said


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("./nowhere", "there is no file or folder ./nowhere"),
        ("empty", "no model in"),
        ("notes.txt", "does not say what it is: its name must end with .joblib"),
    ],
)
def test_what_cannot_be_served_is_one_error(tmp_path: Path, model: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    code, said = refused(tmp_path, model)
    assert code == 3
    assert says in said
    assert "Traceback" not in said


def test_a_port_that_is_taken(folder: Path) -> None:
    with served(folder, "model") as server:
        code, said = refused(folder, "model", "--port", str(server.port))
    assert code == 3
    assert f"cannot listen on 127.0.0.1:{server.port}" in said


def test_a_model_that_does_not_load_ends_it(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("raise RuntimeError('no weights')")
    code, said = refused(tmp_path, ".", "--port", "0")
    assert code == 3
    assert "the model does not load: RuntimeError: no weights" in said


def test_ctrl_c_drains(folder: Path) -> None:
    with served(folder, "model") as server:
        found: list[Any] = []
        asking = threading.Thread(target=lambda: found.append(server.predict([[0.5, 1]])))
        before = server_batches(server)
        asking.start()
        end = time.monotonic() + DEADLINE
        while server_batches(server) == before:
            assert time.monotonic() < end
        server.process.send_signal(signal.SIGINT)
        asking.join(DEADLINE)
        assert found == [[1.5]]


def server_batches(server: Server) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=DEADLINE) as answer:
        return next(line for line in answer.read().decode().splitlines() if line.startswith("cloudml_batches_total"))


def test_a_version_that_lies_in_a_cloud(one_shell: Shell) -> None:
    one_shell.ok("apply")
    result = one_shell("serve", "fraud@champion")
    assert result.exit_code == 3
    assert "not on this machine" in result.output
