"""An emulated AWS in this process, started once; each rig has an account of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from sagemaker_things import profile

from cloudml.client import Client, connect_plugin
from cloudml.emulation.faults import Faults
from cloudml.emulation.running import Running
from cloudml.testing import emulated
from cloudml_sagemaker.plugin import Config, plugin


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


@pytest.fixture
def own(place: Callable[[], Config]) -> Config:
    """The account of a test."""
    return place()


@pytest.fixture
def connected(own: Config, aws: Running) -> Callable[..., Client]:
    """A client in the test's own account, with settings that are other than the account's."""
    aws.clouds["sagemaker"].faults.clear()

    def client(**settings: object) -> Client:
        given = {**own.model_dump(exclude_none=True), **settings}
        return connect_plugin(replace(plugin, pace=0.1), "shop-test", [], given)

    return client


@pytest.fixture
def faults(aws: Running) -> Faults:
    return aws.clouds["sagemaker"].faults
