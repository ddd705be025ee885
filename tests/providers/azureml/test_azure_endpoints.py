"""Endpoints of the adapter on the emulated Azure ML: what changes in place, and what an endpoint leaves behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_account import Emulated

import cloudml
from cloudml.client import Client
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model


@pytest.fixture
def client(emulated: Emulated) -> Iterator[Client]:
    with emulation.environment({**emulated.up.environment, "CLOUDML_AZUREML_SUBSCRIPTION": str(uuid.uuid4())}):
        yield cloudml.connect("azureml", project="shop", env="test")


def test_servers_and_labels_change_in_place(client: Client, tmp_path: Path) -> None:
    client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
    (before,) = client.deploy("fraud-api", "fraud").state.of("deployment")
    blue = {"model": "fraud", "scale": {"min": 2, "max": 2}, "labels": {"team": "risk"}}
    endpoint = client.deploy("fraud-api", deployments={"blue": blue})
    (after,) = endpoint.state.of("deployment")
    assert after.id == before.id
    assert (before.facts["servers"], after.facts["servers"]) == (1, 2)
    assert after.facts["labels"]["team"] == "risk"
    assert endpoint.predict([[1.0]]) == [1]
