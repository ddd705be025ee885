"""The runtime as one file: it runs where nothing is installed, told by options, and is the same byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloudml import bundle

SCRIPT = """
import json, os, sys
import cloudml
cloudml.log_metric("auc", 0.93)
context = cloudml.context()
model = os.environ["CLOUDML_MODEL_DIR"]
said = {"argv": sys.argv[1:], "id": context.id, "name": context.name, "attempt": context.attempt}
said["from"] = cloudml.__file__
open(model + "/model.py", "w").write("def load(folder): ...")
open(model + "/said.json", "w").write(json.dumps(said))
"""


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    path = tmp_path / "runtime" / bundle.NAME
    path.parent.mkdir()
    path.write_bytes(bundle.read())
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.py").write_text(SCRIPT)
    return path


def run(runtime: Path, spec: Any, *more: str) -> subprocess.CompletedProcess[str]:
    """Runs a stored spec as a cloud does: isolated, in a folder that has nothing to do with it."""
    home = runtime.parent.parent
    (home / "spec.json").write_text(json.dumps({"kind": "job", "spec": spec}))
    options = ["--id", "tumor-train-1a2b3c4d-2", "--spec", str(home / "spec.json"), "--output", str(home / "out")]
    return subprocess.run(
        [sys.executable, "-I", str(runtime), "train", *options, *more],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_job_on_a_machine_without_cloudml(runtime: Path, tmp_path: Path) -> None:
    spec = {
        "command": "python train.py --lr {params.lr} {inputs.train}",
        "params": {"lr": 0.5},
        "inputs": {"train": "x"},
    }
    more = ["--source", str(tmp_path / "source"), "--input", "train=/data/a b.csv", "--model", str(tmp_path / "model")]
    done = run(runtime, spec, *more)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "model" / "said.json").read_text())
    assert said["argv"] == ["--lr", "0.5", "/data/a b.csv"]
    assert (said["id"], said["name"], said["attempt"]) == ("tumor-train-1a2b3c4d-2", "tumor-train", 2)
    assert said["from"].startswith(str(runtime))
    assert json.loads((tmp_path / "model" / "cloudml-model.json").read_text())["flavor"] == "python"
    assert json.loads((tmp_path / "out" / "metrics.jsonl").read_text())["value"] == 0.93
    assert not (tmp_path / "out" / "model").exists()


def test_a_failure_is_written_where_the_cloud_looks(runtime: Path, tmp_path: Path) -> None:
    done = run(
        runtime, {"command": ["python", "-c", "raise ValueError('no rows')"]}, "--failure", str(tmp_path / "why")
    )
    assert done.returncode == 1
    assert (tmp_path / "why").read_text() == "ValueError: no rows"
    assert json.loads((tmp_path / "out" / "failure.json").read_text())["attempt"] == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--input", "train"), "--input 'train' is not NAME=PATH"),
        (("--colour", "red"), "unrecognized arguments: --colour red"),
        (("--source", "/nowhere"), "the source /nowhere is not a folder"),
    ],
)
def test_options_that_are_wrong_are_named(runtime: Path, more: tuple[str, ...], said: str) -> None:
    done = run(runtime, {"command": "true"}, *more)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_same_file_for_the_same_version() -> None:
    first = bundle.read()
    bundle.read.cache_clear()
    assert bundle.read() == first
    assert bundle.key("shop-dev") == f"shop-dev/runtime/{bundle.digest()}/cloudml.pyz"
