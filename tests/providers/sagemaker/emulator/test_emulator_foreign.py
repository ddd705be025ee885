"""Clients that nobody here wrote, unmodified: they find the emulated AWS at its real host names."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from aws_account import Account

from cloudml.emulation.running import Running

ROOT = Path(__file__).parents[4]
FOREIGN = ROOT / "tests" / "foreign" / "aws"
FORBIDDEN = ("endpoint_url", "endpoint-url", "127.0.0.1", "localhost", "patch", "mock", "cloudml")
Run = Callable[..., str]


def python_of(name: str) -> Path:
    """The Python of an environment that the nox session makes."""
    made = ROOT / ".nox" / f"sagemaker-{name}" / "bin" / "python"
    found = Path(os.environ.get(f"CLOUDML_{name.upper()}", made))
    if not found.exists():
        pytest.skip(f"nox -s sagemaker makes the environment of {name}")
    return found


@pytest.fixture
def run(aws: Account, running: Running, tmp_path: Path) -> Run:
    """Runs a program of that folder with a clean environment and the nonce, image, role and bucket; its output."""

    def done(*command: str, path: str = "") -> str:
        keep = {word: os.environ[word] for word in ("PATH", "HOME", "CLOUDML_TESTS") if word in os.environ}
        environment = {**keep, "TMPDIR": str(tmp_path), **aws.environment}
        environment["PATH"] = f"{path}:{environment['PATH']}" if path else environment["PATH"]
        asked = [*command, NONCE, aws.image, aws.role, aws.bucket]
        earlier = running.network.refused  # to other tests of this session
        ended = subprocess.run(asked, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        refused = [each for each in running.network.refused if each not in earlier]
        assert not refused, refused
        return ended.stdout

    return done


NONCE = uuid.uuid4().hex


def test_boto3(run: Run) -> None:
    lines = run(sys.executable, str(FOREIGN / "with_boto3.py")).splitlines()
    assert lines == ["job Completed 0.75", f"predictions ['{NONCE}', '{NONCE}']", "left 0 0"]


def test_the_aws_command_line(run: Run, aws: Account) -> None:
    output = run("sh", str(FOREIGN / "with_cli.sh"), path=str(python_of("awscli").parent))
    assert f"arn:aws:sts::{aws.id}:" in output or f"arn:aws:iam::{aws.id}:" in output
    for line in ("job Completed", f"nonce {NONCE} accuracy=0.75;", "endpoint InService"):
        assert line in output
    assert f'"predictions": ["{NONCE}"]' in output.replace('":["', '": ["')


def test_the_resources_of_sagemaker_core(run: Run) -> None:
    output = run(str(python_of("sagemaker_core")), "-W", "ignore", str(FOREIGN / "with_sagemaker_core.py"))
    assert "job Completed" in output
    assert f"predictions ['{NONCE}']" in output
    assert "found ['foreign-core'] ['foreign-core']" in output


def test_nothing_is_patched_there() -> None:
    programs = sorted([*FOREIGN.rglob("*.py"), *FOREIGN.rglob("*.sh")])
    assert len(programs) >= 6
    for path in programs:
        found = [word for word in FORBIDDEN if word in path.read_text()]
        assert not found, (path.name, found)
