"""The README is true: its Python runs as it is written, its commands exist, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_runs_as_it_is_written(tmp_path: Path) -> None:
    work = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples/quickstart", work, ignore=shutil.ignore_patterns("data", "__pycache__"))
    environment = {**os.environ, "CLOUDML_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "data.py"], cwd=work, check=True, timeout=60)
    (block,) = blocks("python")
    cleaned = (
        f'{block}\nfrom cloudml import plan\nplan.destroy(cloud, everything=True)\nprint("monitored", report.samples)\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", cleaned], cwd=work, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "284 tumours" in done.stdout
    assert "monitored" in done.stdout


def test_its_commands_exist() -> None:
    commands = {
        line.split()[1] for block in blocks("bash") for line in block.splitlines() if line.startswith("cloudml ")
    }
    assert len(commands) > 5
    for command in commands:
        asked = [sys.executable, "-m", "cloudml", command, "--help"]
        assert subprocess.run(asked, capture_output=True, timeout=60).returncode == 0, command


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
