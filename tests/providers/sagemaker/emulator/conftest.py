"""An emulated AWS for all tests of a session, and an account of its own for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_account import Account

from cloudml.emulation.running import Running, start
from cloudml_sagemaker.emulator import emulator


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with start([emulator]) as up:
        yield up


@pytest.fixture
def aws(running: Running) -> Iterator[Account]:
    running.clouds["sagemaker"].faults.clear()
    account = Account(running)
    yield account
    account.close()
