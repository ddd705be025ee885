"""The quickstart, unchanged, with LocalStack's S3, IAM, STS, CloudWatch and logs: nothing is left at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

STORY = Path(__file__).resolve().parents[1] / "sagemaker" / "quickstart_story.py"
KINDS = ("jobs", "endpoints", "configs", "models", "groups")


def test_it_trains_registers_serves_watches_and_leaves_nothing(quickstart: Path, localstack: str) -> None:
    command = [sys.executable, "-m", "cloudml", "emulate", "sagemaker", "--", sys.executable, str(STORY)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CLOUDML_SAGEMAKER_"))}
    done = subprocess.run(command, cwd=quickstart, env=env, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stdout + done.stderr
    story = json.loads(done.stdout.splitlines()[-1])
    assert [len(story["between"][kind]) for kind in KINDS] == [1] * len(KINDS)
    assert set(story["predicted"]) == {0, 1}
    assert "no drift in 30 features" in story["report"]
    assert story["after"] == story["before"] == {kind: [] for kind in ("objects", *KINDS)}
    assert "also tried to reach" not in done.stderr
