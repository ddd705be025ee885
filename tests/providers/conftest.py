"""The quickstart of the documentation, for the emulated clouds that it runs on unchanged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart"
WATCHED = "cloudml monitors run tumor-api -p {provider} --fail-on drift"


@pytest.fixture
def quickstart(tmp_path: Path) -> Path:
    """Its folder, as whoever has cloned the project sees it after the first command."""
    folder = tmp_path / "quickstart"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    subprocess.run([sys.executable, "data.py"], cwd=folder, check=True, timeout=120)
    return folder


@pytest.fixture
def followed(quickstart: Path) -> Callable[..., str]:
    """Follows it by one line, as in CI: trained, gated, served, nothing left to do, no drift, gone; what was said.

    ``behind`` says that the provider writes captured requests some moments after their answers.
    """

    def follow(provider: str, behind: bool = False) -> str:
        watched = WATCHED.format(provider=provider)
        steps = (
            f"cloudml apply -p {provider}",
            f"cloudml predict tumor-api -p {provider} -d @data/typical.json > answer.json",
            f"cloudml plan -p {provider} --detailed-exitcode",
            f"until {watched}; do sleep 1; done" if behind else watched,
            f"cloudml destroy -p {provider} --all -y",
            "cloudml emulate log",
        )
        command = [sys.executable, "-m", "cloudml", "emulate", provider, "--", "sh", "-ec", "\n".join(steps)]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(command, cwd=quickstart, env=environment, capture_output=True, text=True, timeout=480)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "OK: no drift in 30 features (150 rows)" in done.stdout
        assert (quickstart / "answer.json").read_text().count("1") > 10
        return done.stdout

    return follow
