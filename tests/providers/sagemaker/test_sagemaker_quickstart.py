"""The quickstart, unchanged, on an emulated AWS: in one command, and with nothing left at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
KINDS = ("jobs", "endpoints", "configs", "models", "groups")


def test_it_trains_registers_serves_watches_and_leaves_nothing(quickstart: Path) -> None:
    command = [sys.executable, "-m", "cloudml", "emulate", "sagemaker", "--", sys.executable]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CLOUDML_SAGEMAKER_"))}
    env["AWS_PROFILE"] = "of-a-real-account"  # neither the command nor the emulator looks for it
    done = subprocess.run(
        [*command, str(HERE / "quickstart_story.py")],
        cwd=quickstart,
        env=env,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    story = json.loads(done.stdout.splitlines()[-1])
    assert [len(story["between"][kind]) for kind in KINDS] == [1] * len(KINDS)
    assert story["between"]["endpoints"] == ["tumor-api"]
    assert set(story["predicted"]) == {0, 1}
    assert "no drift in 30 features" in story["report"]
    assert story["after"] == story["before"] == {kind: [] for kind in ("objects", *KINDS)}
