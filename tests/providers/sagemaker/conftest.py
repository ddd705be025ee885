"""An emulated AWS in this process, started once; each rig has an account of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from sagemaker_things import profile

from cloudml.emulation.running import Running
from cloudml.testing import emulated
from cloudml_sagemaker.plugin import Config


@pytest.fixture(scope="session")
def aws() -> Iterator[Running]:
    with emulated.start_named(["sagemaker"]) as running, emulated.environment(running.environment):
        yield running


@pytest.fixture
def account(aws: Running, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Mapping[str, str]]:
    """Makes an account with a role and a bucket; its variables."""

    def made() -> Mapping[str, str]:
        return aws.clouds["sagemaker"].cloud.account()

    return made


@pytest.fixture
def place(
    account: Callable[[], Mapping[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Config]:
    """The configuration of a new account, by a profile: several accounts are then in use at once."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in [name for name in os.environ if name.startswith("CLOUDML_SAGEMAKER_")]:
        monkeypatch.delenv(name)
    return lambda: profile(tmp_path / "credentials", account())
