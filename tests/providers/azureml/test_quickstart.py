"""The unchanged quickstart on the emulated Azure ML, by one line as in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_unchanged_quickstart(tmp_path: Path) -> None:
    """Trained, gated, served, nothing left to do, no drift, gone."""
    folder = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples" / "quickstart", folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    subprocess.run([sys.executable, "data.py"], cwd=folder, check=True, timeout=120)
    steps = (
        "cloudml apply -p azureml",
        "cloudml predict tumor-api -p azureml -d @data/typical.json > answer.json",
        "cloudml plan -p azureml --detailed-exitcode",
        "until cloudml monitors run tumor-api -p azureml --fail-on drift; do sleep 1; done",  # the collector is behind
        "cloudml destroy -p azureml --all -y",
    )
    command = [sys.executable, "-m", "cloudml", "emulate", "azureml", "--", "sh", "-ec", "\n".join(steps)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "OK: no drift in 30 features (150 rows)" in done.stdout
    assert (folder / "answer.json").read_text().count("1") > 10
