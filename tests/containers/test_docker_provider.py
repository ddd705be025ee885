"""The provider `docker`: limits that containers keep, bad luck, and the quickstart unchanged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from docker_things import TIMEOUT, connected, destroy, left

from cloudml.errors import RunFailed
from cloudml.specs import TrainingJob

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"


def test_memory_is_enforced_and_the_limit_is_said(tmp_path: Path, engine: Any, base: str) -> None:
    home = tmp_path / "home"
    client = connected(home, base)
    hungry = TrainingJob.model_validate(
        {"command": ["python3", "-c", "b'x' * 600_000_000"], "resources": {"memory": "200Mi"}}
    )
    pursuit = client.session.job("hungry", hungry)
    with pytest.raises(RunFailed, match="out of memory: the limit is 200 MiB"):
        client.session.pursue(pursuit, TIMEOUT)
    destroy(client)
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
