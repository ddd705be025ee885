"""The command line over this machine for real: two at once, and after everything was switched off."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_things import connected

FILE = """\
version: 1
project: twice
jobs:
  train: {source: src, command: "python train.py"}
models:
  sums: {from: jobs.train}
endpoints:
  sums: {model: sums}
environments:
  dev: {provider: local, home: state}
"""
TRAIN = """\
import os, pathlib
pathlib.Path(os.environ["CLOUDML_MODEL_DIR"], "model.py").write_text('''
class Model:
    def __init__(self, folder): pass
    def predict(self, rows): return [sum(row) for row in rows]
''')
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-m", "cloudml", *arguments], subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def run(folder: Path, *arguments: str) -> str:
    with start(folder, *arguments) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(TRAIN)
    (tmp_path / "cloudml.yaml").write_text(FILE)
    yield tmp_path
    run(tmp_path, "destroy", "--all", "-y", "-q")


def everything(folder: Path) -> dict[str, list[str]]:
    kinds = ("jobs", "models", "endpoints")
    return {kind: run(folder, kind, "list", "-o", "name").split() for kind in kinds}


def switch_off(folder: Path) -> None:
    """End every process that works below a folder, such that none sees another one end."""

    def found() -> list[int]:
        below = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                named = os.fsencode(folder) in (process / "cmdline").read_bytes()
                if named or os.readlink(process / "cwd").startswith(str(folder)):
                    below.append(int(process.name))
        return below

    while pids := found():
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


def test_two_applies_at_once_are_one(folder: Path) -> None:
    both = [start(folder, "apply") for _ in range(2)]
    ended = [(process.communicate(timeout=60), process.returncode) for process in both]
    assert [code for _, code in ended] == [0, 0], ended
    there = everything(folder)
    assert [len(names) for names in there.values()] == [1, 1, 1], there
    [model] = connected(folder / "state", "twice-dev").models.list()
    assert len(model.of("version")) == 1
    assert json.loads(run(folder, "predict", "sums", "-d", "[[1, 2]]", "-o", "json"))["predictions"] == [3]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_after_a_reboot_status_tells_and_apply_goes_on(folder: Path) -> None:
    run(folder, "apply", "-q")
    before = everything(folder)
    switch_off(folder)
    assert "succeeded" in run(folder, "status")
    run(folder, "apply", "-q")
    assert everything(folder) == before
    assert json.loads(run(folder, "predict", "sums", "-d", "[[1, 2]]", "-o", "json"))["predictions"] == [3]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_job_that_a_reboot_ended_failed_and_runs_again(folder: Path) -> None:
    file = folder / "cloudml.yaml"
    file.write_text(FILE.replace("python train.py", "until [ -e ../../../go ]; do sleep 0.02; done; python train.py"))
    with start(folder, "apply") as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "running" in line)
        switch_off(folder)
    with start(folder, "apply") as again:
        out, err = again.communicate(timeout=60)
    assert (again.returncode, out) == (6, "")
    assert "its supervisor was killed" in err
    (folder / "state" / "go").touch()
    run(folder, "apply", "-q", "--rerun", "train")
    jobs = everything(folder)["jobs"]
    assert [name.rpartition("-")[2] for name in jobs] == ["1", "2"]
