"""What people get wrong, typed at the real command line: a clear line and the right exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

TRAIN = """
import os, pathlib
pathlib.Path(os.environ["CLOUDML_MODEL_DIR"], "model.py").write_text(
    "class Model:\\n"
    "    def __init__(self, folder): pass\\n"
    "    def predict(self, rows): return [sum(row) for row in rows]\\n"
)
print("#cloudml.metric name=auc value=0.8")
"""
BROKEN = TRAIN.replace("pass", "raise OSError('weights are missing')")
FILE = """\
version: 1
project: sums
jobs:
  train: {source: src, command: python train.py}
models:
  sum: {from: jobs.train, sample_input: sample.json, alias: champion}
endpoints:
  sum-api: {model: sum@champion}
"""


@dataclass(frozen=True)
class Shell:
    """A folder with a project, and a home of its own for what cloudml keeps."""

    folder: Path
    home: Path

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / {"yaml": "cloudml.yaml", "train": "src/train.py"}[name]
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CLOUDML_HOME": str(self.home), "NO_COLOR": "1"}
        return subprocess.run(
            [sys.executable, "-m", "cloudml", *words],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def fails(self, code: int, *words: str) -> str:
        """What is said on standard error by a command that ends with this code."""
        done = self.run(*words)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stderr

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path / "project", tmp_path / "home")
    made.folder.mkdir()
    (made.folder / "sample.json").write_text("[[1, 2]]")
    made.write(yaml=FILE, train=TRAIN)
    yield made
    made.write(yaml=FILE)
    made.ok("destroy", "--all", "-y")


@pytest.mark.parametrize(
    ("wrong", "where", "said"),
    [
        (("command:", "comand:"), "cloudml.yaml:4:24", "did you mean 'command'"),
        (("{source: src,", "{source: src, nodes: two,"), "cloudml.yaml:4:31", "number"),
        (("source: src", "source: scr"), "cloudml.yaml:4:19", "scr"),
        (("sum@champion", "sum@champoin"), "cloudml.yaml:8:20", "did you mean"),
        (("version: 1", "version: 7"), "cloudml.yaml:1:10", "version"),
        (("jobs.train", "jobs.trian"), "cloudml.yaml:6:15", "did you mean"),
    ],
    ids=["unknown key", "wrong type", "missing file", "unknown alias", "version", "unknown job"],
)
def test_a_wrong_file_is_refused_with_its_place(shell: Shell, wrong: tuple[str, str], where: str, said: str) -> None:
    shell.write(yaml=FILE.replace(*wrong))
    for command in (["validate"], ["plan"], ["apply"]):
        error = shell.fails(3, *command)
        assert where in error
        assert said in error
    assert not (shell.home / "runs").exists()


def test_what_a_provider_cannot_do_is_said_before_anything_happens(shell: Shell) -> None:
    shell.write(yaml=FILE.replace("{source: src,", "{source: src, nodes: 4, spot: true,"))
    error = shell.fails(8, "apply")
    assert "nodes" in error
    assert "spot" in error
    assert "cloudml providers" in error
    assert not (shell.home / "runs").exists()


def test_a_script_that_raises(shell: Shell) -> None:
    shell.write(train="raise KeyError('no such column: age')")
    error = shell.fails(6, "apply")
    assert "KeyError" in error
    assert "no such column: age" in error
    again = shell.fails(6, "apply")  # a failed run is never started again in silence
    assert "--rerun train" in again
    assert "sums-train-" in again
    (job,) = json.loads(shell.ok("jobs", "list", "-o", "json"))["jobs"]
    assert "KeyError" in shell.ok("jobs", "logs", job["name"])


def test_a_gate_that_fails_registers_nothing(shell: Shell) -> None:
    shell.write(yaml=FILE.replace("alias: champion", 'alias: champion, gates: ["auc >= 0.9"]'))
    error = shell.fails(7, "apply")
    assert "auc is 0.8" in error
    assert json.loads(shell.ok("models", "list", "-o", "json"))["models"] == []


def test_a_model_that_does_not_load_leaves_the_old_one_serving(shell: Shell) -> None:
    shell.ok("apply")
    assert json.loads(shell.ok("predict", "sum-api", "-d", "[[1, 2]]", "-o", "json"))["predictions"] == [3]
    shell.write(train=BROKEN)
    error = shell.fails(6, "apply")
    assert "weights are missing" in error
    assert json.loads(shell.ok("predict", "sum-api", "-d", "[[4, 5]]", "-o", "json"))["predictions"] == [9]
    shell.write(train=TRAIN)
    shell.ok("apply")  # and the good spec puts it right
    assert shell.ok("plan").strip().endswith("Plan: 0 to create, 0 to change, 0 to delete.")


def test_a_request_that_is_wrong(shell: Shell) -> None:
    shell.ok("apply")
    url = json.loads(shell.ok("endpoints", "get", "sum-api", "-o", "json"))["facts"]["url"]
    for body, said in ((b'{"instances": [[1, 2]', "JSON"), (b'{"instances": [[1, 2], [1]]}', "row 2 has 1")):
        status, answer = post(f"{url}/invocations", body)
        assert status == 400
        assert said in answer["error"]
    assert "2 features" in shell.fails(3, "predict", "sum-api", "-d", "[[1, 2, 3]]")
    shell.fails(5, "predict", "no-such-endpoint", "-d", "[[1, 2]]")
    shell.fails(2, "predict")


def post(url: str, body: bytes) -> tuple[int, Mapping[str, str]]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    with refused.value as answer:
        return answer.code, json.load(answer)
