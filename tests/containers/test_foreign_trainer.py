"""The sagemaker SDK's ModelTrainer, unmodified, on an emulated AWS whose jobs are real containers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "foreign" / "aws" / "with_model_trainer.py"
FRAMEWORK = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312"
ROLE = 'exec "$0" "$@" "$CLOUDML_SAGEMAKER_ROLE"'  # what the emulated account has


def sdk() -> str:
    """The Python of the environment that the nox session makes."""
    made = ROOT / ".nox" / "containers-sagemaker_train" / "bin" / "python"
    found = Path(os.environ.get("CLOUDML_SAGEMAKER_TRAIN", made))
    if not found.exists():
        pytest.skip("nox -s containers makes the environment of sagemaker-train")
    return str(found)


def test_a_local_source_folder_is_trained_in_the_image_that_stands_for_a_framework_s(
    engine: Any, base: str, nonce: str, tmp_path: Path
) -> None:
    emulate = (sys.executable, "-m", "cloudml", "emulate", "sagemaker", "--engine", "docker")
    program = ("sh", "-c", ROLE, sdk(), "-W", "ignore", str(PROGRAM), nonce, FRAMEWORK)
    command = (*emulate, "--image", f"{FRAMEWORK}={base}", "--", *program)
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    assert "job Completed 3\n" in ended.stdout
    assert f"left {nonce} 3 ['fit.py'] bookworm True algo-1\n" in ended.stdout
    assert "also tried to reach" not in ended.stderr
    left = [each.name for each in engine.containers.list(all=True) if "foreign-trainer" in each.name]
    assert not left
