"""The provider `docker`: the contracts of jobs and models that every provider keeps, and the quickstart unchanged."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudml.client import connect_plugin
from cloudml.engines import attached
from cloudml.engines.docker import label
from cloudml.errors import RunFailed
from cloudml.runtime.manifest import write_manifest
from cloudml.specs import TrainingJob
from cloudml.testing.conformance.capabilities import CapabilitiesContract
from cloudml.testing.conformance.jobs import JobsContract
from cloudml.testing.conformance.rig import Rig, rig_of
from cloudml_local.docker import Config, plugin

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
TRAIN = "open('{model_dir}/model.py', 'w').write('class Model: pass'); print('trained')"
STACK, TIMEOUT = "tests-docker", 120.0


def left(engine: Any, home: Path) -> list[str]:
    """The containers of a home."""
    marks = [f"{attached.ENGINE}={label(home.absolute() / place)}" for place in ("jobs", "servers")]
    return [each.name for mark in marks for each in engine.containers.list(all=True, filters={"label": mark})]


def model(folder: Path, answer: str, top: str = "") -> Path:
    folder.mkdir()
    code = f"{top}\nclass Model:\n    def __init__(self, folder): pass\n"
    (folder / "model.py").write_text(f"{code}    def predict(self, rows): return [{answer} for row in rows]\n")
    write_manifest(folder)
    return folder


@pytest.fixture
def rig(tmp_path: Path, engine: Any, base: str) -> Iterator[Rig]:
    numbers, made = itertools.count(), []

    def empty() -> Config:
        made.append(tmp_path / f"home-{next(numbers)}")
        return Config(home=made[-1], base=base)

    yield rig_of(
        plugin,
        empty,
        job=TrainingJob(command=("python3", "-c", TRAIN)),
        failing=TrainingJob(command=("python3", "-c", "raise SystemExit(1)")),
        slow=TrainingJob(command=("python3", "-c", "import time; print('begun', flush=True); time.sleep(1)")),
        models=(model(tmp_path / "one", "1"), model(tmp_path / "two", "2")),
        broken=model(tmp_path / "broken", "0", "raise RuntimeError('it does not load')"),
        request=b'{"instances": [[1, 2]]}',
        timeout=TIMEOUT,
    )
    for home in made:
        client = connect_plugin(plugin, STACK, [], {"home": str(home), "base": base})
        for state in list(client.session.provider.jobs.list(None)):
            client.session.pursue(client.session.absent(client.session.provider.jobs, state.key), TIMEOUT, adopt=True)
        assert not left(engine, home)


class TestJobs(JobsContract):
    pass


class TestCapabilities(CapabilitiesContract):
    pass


def test_memory_is_enforced_and_the_limit_is_said(tmp_path: Path, engine: Any, base: str) -> None:
    home = tmp_path / "home"
    client = connect_plugin(plugin, STACK, [], {"home": str(home), "base": base})
    hungry = TrainingJob.model_validate(
        {"command": ["python3", "-c", "b'x' * 600_000_000"], "resources": {"memory": "200Mi"}}
    )
    pursuit = client.session.job("hungry", hungry)
    with pytest.raises(RunFailed, match="out of memory: the limit is 200 MiB"):
        client.session.pursue(pursuit, TIMEOUT)
    jobs = client.session.provider.jobs
    client.session.pursue(client.session.absent(jobs, pursuit.goal.key), TIMEOUT, adopt=True)
    assert not left(engine, home)


def test_the_quickstart_in_containers(tmp_path: Path, engine: Any, base: str) -> None:
    """Unchanged: trained, registered, served, monitored, destroyed; nothing is left, not even a container."""
    project = tmp_path / "quickstart"
    shutil.copytree(QUICKSTART, project, ignore=shutil.ignore_patterns("data", ".cloudml", "__pycache__"))
    home = tmp_path / "home"
    env = {**os.environ, "CLOUDML_HOME": str(home), "CLOUDML_IMAGE_BASE": base}

    def run(*words: str, expect: int = 0) -> str:
        done = subprocess.run(words, cwd=project, env=env, capture_output=True, text=True, timeout=400)
        assert done.returncode == expect, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def cloudml(*words: str) -> str:
        return run(sys.executable, "-m", "cloudml", *words, "-p", "docker")

    run(sys.executable, "-c", "from data import write; from pathlib import Path; write(Path('data'))")
    try:
        assert "BuildImage" in cloudml("plan")
        cloudml("apply")
        assert json.loads(cloudml("predict", "tumor-api", "-d", "@data/sample.json")) == [1]
        served = left(engine, home / "docker")
        assert len(served) == 1
        assert served[0].startswith("cloudml-tumor-api.blue.")
        assert "1 rows" in cloudml("monitors", "run", "tumor-api")
    finally:
        cloudml("destroy", "--all", "-y")
    assert not left(engine, home / "docker")
    kept = {path.name for path in (home / "docker" / "store").rglob("*") if path.is_file()}
    assert not kept
