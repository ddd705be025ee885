"""An emulated AWS in which LocalStack answers for S3, IAM, STS, CloudWatch, Logs, SNS and SQS; an account per test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudml.emulation.running import Running, start
from cloudml_sagemaker.emulator import emulator
from cloudml_sagemaker.emulator.localstack import VARIABLE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sagemaker" / "emulator"))

from aws_account import Account

PYTHON = os.environ.get(VARIABLE)  # now: other tests of this session have a clean environment


@pytest.fixture(scope="session")
def localstack() -> Iterator[str]:
    """The Python that has it; it is named in the environment."""
    if PYTHON is None:
        pytest.skip("nox -s localstack makes the environment of LocalStack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, PYTHON)
        yield PYTHON


@pytest.fixture(scope="session")
def running(localstack: str) -> Iterator[Running]:
    with start([emulator]) as up:
        yield up


@pytest.fixture
def aws(running: Running) -> Iterator[Account]:
    running.clouds["sagemaker"].faults.clear()
    account = Account(running)
    yield account
    account.close()
