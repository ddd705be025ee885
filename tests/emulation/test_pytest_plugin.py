"""The fixture ``emulated_cloud``: a test per provider, in this process, in an account of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import os
import requests

ACCOUNTS = set()

def test_the_real_host_answers(emulated_cloud):
    assert emulated_cloud.provider == "tiny"
    assert requests.get("https://api.tiny.example/in-process").json()["path"] == "/in-process"
    assert "/in-process" in emulated_cloud.inspect()["seen"]
    assert os.environ["TINY_REGION"] == "here"
    assert "AWS_PROFILE" not in os.environ

def test_an_account(emulated_cloud):
    ACCOUNTS.add(os.environ["TINY_ACCOUNT"])

def test_another_account(emulated_cloud):
    assert os.environ["TINY_ACCOUNT"] not in ACCOUNTS

def test_a_fault_is_not_left_to_the_next_one(emulated_cloud):
    from cloudml.emulation.faults import Fault, Trouble
    emulated_cloud.faults.add(Fault(Trouble.THROTTLE))

def test_no_fault(emulated_cloud):
    assert list(emulated_cloud.faults) == []
"""
AFTER = """
import os
import pytest

@pytest.fixture(scope="session", autouse=True)
def outside():
    yield
    assert os.environ["AWS_PROFILE"] == "real"
    assert "TINY_REGION" not in os.environ
"""


def pytest_runs(env: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS)
    (folder / "conftest.py").write_text(AFTER)
    command = [sys.executable, "-m", "pytest", "-p", "cloudml.testing.pytest_plugin", "-p", "no:cacheprovider", "-q"]
    return subprocess.run([*command, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_tests_run_against_the_clouds_that_are_asked_for(installed: dict[str, str], tmp_path: Path) -> None:
    done = pytest_runs(installed | {"AWS_PROFILE": "real"}, tmp_path, "--cloud", "tiny", "-vv")
    assert done.returncode == 0, done.stdout
    assert "test_the_real_host_answers[tiny] PASSED" in done.stdout
    assert "5 passed" in done.stdout


def test_the_ini_file_may_name_them(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ncloudml_clouds = tiny\n")
    done = pytest_runs(installed | {"AWS_PROFILE": "real"}, tmp_path)
    assert "5 passed" in done.stdout


def test_one_that_cannot_be_emulated_is_an_error(installed: dict[str, str], tmp_path: Path) -> None:
    done = pytest_runs(installed | {"AWS_PROFILE": "real"}, tmp_path, "--cloud", "local")
    assert done.returncode == 1
    assert "provider 'local' has no emulator" in done.stdout
    assert os.environ.get("TINY_REGION") is None
