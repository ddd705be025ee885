"""What somebody is told who asks Azure ML for what cannot be: one line, the way out, the right exit code."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_account import Account, Emulated
from cli_told import SERVED, CommandLine

import cloudml
from cloudml.emulation.faults import Fault, Trouble
from cloudml.errors import Unauthenticated
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model

line = CommandLine("azureml")
told = line.told
TWO = "{deployments: {blue: {model: fraud}, green: {model: fraud}}, traffic: {blue: 50, green: %d}}"


@pytest.fixture
def here(emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a project of one's own, and a new subscription."""
    with emulation.environment(emulated.up.environment):
        subscription = str(uuid.uuid4())
        for variable in ("AZURE_SUBSCRIPTION_ID", "CLOUDML_AZUREML_SUBSCRIPTION"):
            monkeypatch.setenv(variable, subscription)
        monkeypatch.chdir(tmp_path)
        yield tmp_path


def test_no_subscription(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AZURE_SUBSCRIPTION_ID", "CLOUDML_AZUREML_SUBSCRIPTION"):
        monkeypatch.delenv(variable)
    said = told(3)
    assert "azureml needs the workspace's subscription" in said
    assert "CLOUDML_AZUREML_SUBSCRIPTION" in said


def test_no_credential(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(here))  # Microsoft's library makes a folder there
    said = told(4)
    assert "az login" in said
    assert len(said.splitlines()) == 2


def test_one_credential_alone_is_asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain would have found the variables; whoever names one credential gets its answer and no other's."""
    monkeypatch.setenv("PATH", str(here))
    said = told(4, credential="cli")
    assert "Azure CLI not found on path" in said
    assert len(said.splitlines()) == 2
    assert "must be 'default', 'environment', 'cli' or 'managed-identity'" in told(3, credential="password")


def test_the_environment_s_credential_is_enough(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = cloudml.connect("azureml", project="shop", credential="environment")
    assert client.jobs.list() == []
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    with pytest.raises(Unauthenticated, match="EnvironmentCredential"):
        cloudml.connect("azureml", project="shop", credential="environment").jobs.list()


def test_a_secret_that_is_wrong(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    said = told(4)
    assert "Invalid client secret" in said
    assert "AZURE_CLIENT_SECRET" in said


def test_a_tenant_that_is_another(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = str(uuid.uuid4())
    monkeypatch.setenv("AZURE_TENANT_ID", tenant)
    said = told(4)
    assert tenant in said
    assert "check your tenant name" in said
    assert "AZURE_TENANT_ID" in said.splitlines()[-1]
    assert len(said.splitlines()) == 2


def test_a_workspace_that_is_not_there(here: Path) -> None:
    assert "nobody-made-this" in told(5, workspace="nobody-made-this")


def test_a_compute_that_is_not_there(here: Path) -> None:
    assert "nobody-made-this" in told(3, compute="nobody-made-this")


def test_a_quota(here: Path, emulated: Emulated) -> None:
    emulated.faults.add(Fault(Trouble.QUOTA, "PUT jobs"))
    said = told(1)
    assert "quota" in said.lower()
    assert "ask for more in the portal under Quotas" in said
    assert not [*emulated.faults]


def test_no_machine_after_a_while(here: Path, emulated: Emulated) -> None:
    emulated.faults.add(Fault(Trouble.CAPACITY, "PUT jobs"))
    assert "capacity" in told(6).lower()


def test_a_model_folder_that_is_not_there(here: Path) -> None:
    assert "model" in told(3, file="models: {fraud: {path: model}}")


def test_a_server_that_never_gets_ready_says_its_last_words(here: Path) -> None:
    python_model(here / "model", "1", "raise RuntimeError('the tables are gone')")
    said = told(6, file=SERVED)
    assert "User container has crashed" in said
    assert "the tables are gone" in said


def test_a_name_that_somebody_else_has_in_the_region(here: Path, emulated: Emulated) -> None:
    me, other = Account(emulated, os.environ["AZURE_SUBSCRIPTION_ID"]), Account(emulated, str(uuid.uuid4()))
    emulated.azure.store.regions[other.subscription] = me.region
    python_model(here / "model", "1")
    (name,) = {
        call["target"].partition("/")[2]
        for step in json.loads(line.ended(0, "plan", "-o", "json", file=SERVED))["steps"]
        for call in step["calls"]
        if call["target"].startswith("onlineEndpoints/") and "deployments" not in call["target"]
    }
    other.endpoint(name)
    said = told(5, file=SERVED).splitlines()
    assert "endpoint shop-api" in said[-2]
    assert "Endpoint name needs to be unique within a region" in said[-2]
    assert '{"errors"' not in said[-2]
    assert said[-1] == f"  hint: somebody else may hold onlineEndpoints/{name}: choose another name"


def test_shares_of_traffic_that_are_not_all(here: Path) -> None:
    python_model(here / "model", "1")
    said = told(3, "plan", file=SERVED.replace("{model: fraud}", TWO % 40))
    assert "cloudml.yaml:4:13: endpoints.shop-api: traffic sums to 90, not 100; name every deployment's share" in said


def test_a_deployment_with_traffic_gives_it_up_before_it_goes(here: Path, emulated: Emulated) -> None:
    python_model(here / "model", "1")
    line.ended(0, file=SERVED.replace("{model: fraud}", TWO % 50))
    line.ended(0, file=SERVED)
    mine = f"/subscriptions/{os.environ['AZURE_SUBSCRIPTION_ID']}/"
    calls = emulated.up.clouds["azureml"].cloud.inspect()["calls"]
    asked = [re.search(r"^(PUT|DELETE) .*/shop-api-\w+(?:/deployments/(\w+)-\w+)? (\d+)$", call) for call in calls]
    writes = [found.groups() for found in asked if found and mine in found[0]]
    assert writes[-2:] == [("PUT", None, "200"), ("DELETE", "green", "202")]
    assert not [status for *_, status in writes if status >= "400"]
