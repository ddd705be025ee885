"""Endpoints of the adapter on the emulated Azure ML: what changes in place, and what an endpoint leaves behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_account import Account, Emulated

import cloudml
from cloudml.client import Client
from cloudml.errors import Invalid, ModelError
from cloudml.spi import Window
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model
from cloudml_azureml import instances, wire
from cloudml_azureml.emulator import machines

SIZE = "Standard_D3s_v9"


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


def test_a_size_that_there_is_not_is_refused_at_once(client: Client, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="the VM size 'Standard_D3s_v9' is not known"):
        client.train("train", command="true", options={"azureml": {"compute": "serverless", "instance_type": SIZE}})
    client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
    with pytest.raises(Invalid, match="the VM size 'Standard_D2s_v3' is not known, or not supported here"):
        client.deploy("fraud-api", "fraud", options={"azureml": {"instance_type": "Standard_D2s_v3"}})


def test_a_cluster_has_its_own_size(account: Account) -> None:
    """What its job says of machines is not looked at, as in the service."""
    resources = {"resources": {"instanceType": SIZE}, "computeId": f"{account.id}/computes/cpu-cluster"}
    account.job("on-a-cluster", "true", **resources)
    assert account.finished("on-a-cluster")["status"] == "Completed"


def test_the_sizes_that_the_adapter_chooses_are_known_to_the_emulator() -> None:
    """Two tables, each by its own reading of the documentation."""
    chosen = {row.name.lower() for row in (*instances.TRAINING, *instances.ACCELERATED)}
    assert chosen <= machines.FOR_JOBS
    assert {row.name.lower() for row in (*instances.SERVING, *instances.ACCELERATED)} <= machines.FOR_ENDPOINTS


def test_requests_errors_and_latency_are_azure_monitor_s(client: Client, tmp_path: Path) -> None:
    client.models.register("fraud", str(python_model(tmp_path / "one", "len(rows[0])")))
    endpoint = client.deploy("fraud-api", "fraud")
    telemetry = client.session.provider.telemetry
    assert list(telemetry.metrics(endpoint.state, Window())) == []
    for _ in range(3):
        endpoint.predict([[1.0]])
    with pytest.raises(ModelError):
        endpoint.invoke(b"no JSON")
    samples = list(telemetry.metrics(endpoint.state, Window()))
    totals = {name: sum(each.value for each in samples if each.name == name) for name in ("requests", "errors")}
    assert totals == {"requests": 4, "errors": 1}
    latencies = [each for each in samples if each.name == "latency"]
    assert all(0 < each.value < 60_000 for each in latencies)
    assert {each.labels["deployment"] for each in samples} == {"blue"}
    past = Window(start=samples[0].time - 7200, end=samples[0].time - 3600)
    assert list(telemetry.metrics(endpoint.state, past)) == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"metricnames": "Requests"}, "Failed to find metric configuration"),
        ({"timespan": "yesterday"}, "is not START/END"),
        ({"interval": "PT90S"}, "whole number of minutes"),
        ({"$filter": "color eq '*'"}, "is not one of the metric's dimensions"),
    ],
)
def test_what_azure_monitor_cannot_tell_is_refused(account: Account, query: dict[str, str], said: str) -> None:
    account.endpoint("asked")
    place = "onlineEndpoints/asked/providers/microsoft.insights/metrics"
    answer = account.send("GET", place, "2018-01-01", **query)
    assert answer is not None
    assert (answer.status, said in answer.body["error"]["message"]) == (400, True)
    assert account.ask("GET", place, "2018-01-01")["value"][0]["timeseries"] == []


@pytest.mark.parametrize(("said", "after"), [("200", 0.2), ("0", 0.05), ("soon", None), (None, None)])
def test_an_operation_says_when_it_wants_to_be_asked_again(said: str | None, after: float | None) -> None:
    assert wire.after({"x-ms-retry-after-ms": said} if said else {}) == after
