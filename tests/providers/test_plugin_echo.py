"""A provider that somebody else wrote: installed as a distribution, kept to the contracts, used like any other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "plugin-echo"
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
TAKEN = re.compile(r"^```python\n# (examples/\S+|tests/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = """\
version: 1
project: real
jobs:
  train:
    source: src
    command: python train.py {params.depth} {inputs.words} {model_dir}
    params: {depth: 3}
    inputs: {words: words.txt}
    env: {GREETING: "${secret:env:ECHO_GREETING}"}
models:
  parrot: {from: jobs.train, gates: ["depth >= 3"], alias: champion}
endpoints:
  parrots: {model: parrot@champion, capture: 1.0}
environments:
  echo: {provider: echo, folder: cloud}
"""
TRAIN = """\
import os, pathlib, sys
depth, words, model = sys.argv[1:]
pathlib.Path(model, "weights.txt").write_text(os.environ["GREETING"] + pathlib.Path(words).read_text())
print("#cloudml.metric name=depth value=" + depth)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installs the example: offline, with what is here to build it."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", str(target)]
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *options, str(EXAMPLE)]
    home = {"HOME": str(tmp_path_factory.mktemp("home"))}  # pip asks rustc for its version, and that writes to it
    done = subprocess.run(pip, env={**os.environ, **home}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return target


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m …`` in a folder, with the installed plugin and without writing to the checkout."""
    path = os.pathsep.join(str(each) for each in (installed, *filter(None, sys.path)))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "ECHO_GREETING": "hello "}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=240)


def cloudml(installed: Path, folder: Path, *arguments: str) -> str:
    done = run(installed, folder, "cloudml", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_keeps_the_contracts(installed: Path, tmp_path: Path) -> None:
    """Its own tests, as whoever wrote it runs them."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp", str(tmp_path / "pytest")]
    done = run(installed, tmp_path, "pytest", str(EXAMPLE / "tests"), "-c", str(EXAMPLE / "pyproject.toml"), *options)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed in", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 100
    assert "skipped" not in done.stdout


def test_it_is_found_by_its_entry_point(installed: Path, tmp_path: Path) -> None:
    matrix = cloudml(installed, tmp_path, "providers")
    assert "echo" in matrix
    assert "local" in matrix


def test_a_project_is_applied_asked_and_destroyed(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(TRAIN)
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "cloudml.yaml").write_text(FILE)
    planned = cloudml(installed, tmp_path, "plan", "-p", "echo")
    assert "START" in planned
    assert "hello" not in planned, "a secret is shown as its reference"
    cloudml(installed, tmp_path, "apply", "-p", "echo")
    again = run(installed, tmp_path, "cloudml", "plan", "-p", "echo", "--detailed-exitcode")
    assert again.returncode == 0, again.stdout
    answer = cloudml(installed, tmp_path, "predict", "parrots", "-p", "echo", "-d", "[[1, 2], [3, 4]]")
    assert json.loads(answer) == [[1, 2], [3, 4]]
    (weights,) = (tmp_path / "cloud" / "artifacts").rglob("runs/*/model/weights.txt")
    assert weights.read_text() == "hello words"
    cloudml(installed, tmp_path, "destroy", "--all", "-y", "-p", "echo")
    left = [path.name for path in (tmp_path / "cloud").rglob("*") if path.is_file()]
    assert left == ["lock"]


def blocks() -> Sequence[tuple[str, str]]:
    return [(match[1], match[2]) for match in TAKEN.finditer(GUIDE)]


@pytest.mark.parametrize(("file", "text"), blocks(), ids=lambda value: value.split("\n")[0][:40])
def test_a_block_of_the_guide_is_in_the_example(file: str, text: str) -> None:
    """``...`` alone on its line stands for what is left out."""
    source, at = (ROOT / file).read_text(), 0
    for piece in re.split(r"^\s*\.\.\.\n", text, flags=re.MULTILINE):
        at = source.find(piece.rstrip(), at)
        assert at >= 0, f"not in {file}, or in another order:\n{piece}"


def test_every_python_block_of_the_guide_is_taken_from_a_file() -> None:
    assert GUIDE.count("```python\n") == len(blocks()) > 5


def test_the_guide_s_pyproject_is_the_example_s() -> None:
    (written,) = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shown = tomllib.loads(written)["project"]
    assert shown == {name: project[name] for name in shown}


@pytest.mark.parametrize("name", re.findall(r"`(test_\w+)`", GUIDE))
def test_a_test_that_the_guide_names_exists(name: str) -> None:
    contracts = ROOT / "src" / "cloudml" / "testing" / "conformance"
    assert any(f"def {name}(" in file.read_text() for file in contracts.glob("*.py"))


def test_every_session_that_the_guide_names_exists() -> None:
    named = re.findall(r"^python3 noxfile\.py (.+?)(?: +#.*)?$", GUIDE, re.MULTILINE)
    sessions = set(
        re.findall(r"^@nox\.session.*\n(?:@.*\n)*def (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    )
    assert named
    assert {word for line in named for word in line.partition(" -")[0].split()} <= sessions | {"pins"}
