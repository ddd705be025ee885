"""The real thing: processes of the command line over the provider ``local``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE = """\
version: 1
project: real
jobs:
  train: {source: src, command: "python train.py {params.depth}", params: {depth: 3}}
models:
  sum-of-rows: {from: jobs.train, sample_input: [[1, 2]], gates: ["depth >= 3"], alias: champion}
endpoints:
  sums: {model: sum-of-rows@champion}
environments:
  dev: {provider: local, home: state}
"""
TRAIN = """\
import os, pathlib, sys
model = pathlib.Path(os.environ["CLOUDML_MODEL_DIR"])
(model / "model.py").write_text('''
class Model:
    def __init__(self, folder): pass
    def predict(self, rows): return [sum(row) for row in rows]
''')
print("#cloudml.metric name=depth value=" + sys.argv[1])
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "cloudml", *arguments]
    return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    with start(folder, *arguments) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(TRAIN)
    (tmp_path / "cloudml.yaml").write_text(FILE)
    yield tmp_path
    for job in run(tmp_path, "jobs", "list", "-o", "name")[1].split():
        run(tmp_path, "jobs", "cancel", job, "-q")
    code, _, err = run(tmp_path, "destroy", "--all", "-y", "-q")
    assert (code, err) == (0, "")


def test_train_register_deploy_predict(folder: Path) -> None:
    code, out, err = run(folder, "apply")
    assert code == 0, err
    assert "endpoint sums" in out
    assert json.loads(run(folder, "predict", "sums", "-d", "[[1, 2], [3, 4]]", "-o", "json")[1])["predictions"] == [
        3,
        7,
    ]
    (folder / "rows.csv").write_text("1,2\n5,6\n")
    assert run(folder, "predict", "sums", "-d", "@rows.csv") == (0, "[3.0, 11.0]\n", "")
    [job] = run(folder, "jobs", "list", "-o", "name")[1].split()
    assert "name=depth value=3" in run(folder, "jobs", "logs", job)[1]
    refused = run(folder, "apply", "-f", "cloudml.yaml", "--rerun", "nothing")
    assert refused == (3, "", "error: --rerun nothing: the file has no such job\n")


def test_ctrl_c_leaves_the_job_running(folder: Path) -> None:
    process = start(folder, "train", "slow", "--command", "sleep 60")
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        assert process.stderr is not None
        first = next(line for line in process.stderr if line.endswith(": running\n"))
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    job = first.split()[1].rstrip(":")
    assert process.returncode == 130
    assert rest == (
        f"interrupted: job {job} goes on; "
        f"'cloudml jobs logs -f {job}' follows it, 'cloudml jobs cancel {job}' ends it\n"
    )
    assert json.loads(run(folder, "jobs", "get", job, "-o", "json")[1])["phase"] == "running"
    assert json.loads(run(folder, "jobs", "cancel", job, "-o", "json")[1])["phase"] == "cancelled"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    process = start(tmp_path, "providers")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(60) == 1
