"""Operations that end Failed or Canceled: what stays as it was, what is told, and that it can be repaired."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from azure_account import DEPLOYMENTS, ENDPOINTS, Account, Emulated
from cli_told import SERVED, CommandLine
from wire_bodies import JOB_SCHEDULE

from cloudml.emulation.faults import Fault, Trouble
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model

ARM = "https://management.azure.com"
SCHEDULES = "2023-06-01-preview"
ENDED = {Trouble.FAIL: ("Failed", "InternalServerError"), Trouble.CANCEL: ("Canceled", "OperationCanceled")}
line = CommandLine("azureml")


def body(kind: str, account: Account) -> Mapping[str, Any]:
    if kind == "schedules":
        return JOB_SCHEDULE
    if kind == "onlineEndpoints":
        return {"location": "eastus", "properties": {"authMode": "Key"}}
    script = {"codeId": account.code(score="def init(): pass\ndef run(raw): pass\n"), "scoringScript": "score.py"}
    properties = {"endpointComputeType": "Managed", "environmentId": account.environment(), "codeConfiguration": script}
    return {"location": "eastus", "properties": properties}


def ended(account: Account, method: str, path: str, version: str, sent: Mapping[str, Any] | None) -> dict[str, Any]:
    """The status that an operation ends with."""
    answer = account.send(method, path, version, sent)
    assert answer is not None
    assert answer.status in (200, 201, 202)
    place, _, query = answer.headers["Azure-AsyncOperation"].removeprefix(ARM).partition("?")
    while True:
        told: dict[str, Any] = account.ask("GET", place, query.removeprefix("api-version="))
        if told["status"] in ("Succeeded", "Failed", "Canceled"):
            return told


@pytest.mark.parametrize("trouble", ENDED)
@pytest.mark.parametrize(
    ("kind", "version"),
    [("onlineEndpoints", ENDPOINTS), ("onlineEndpoints/deployments", DEPLOYMENTS), ("schedules", SCHEDULES)],
)
def test_it_says_how_it_ended_and_can_be_sent_again(
    account: Account, kind: str, version: str, trouble: Trouble
) -> None:
    name = f"n-{uuid.uuid4().hex[:8]}"
    path, names = f"{kind}/{name}", name
    if kind.endswith("deployments"):
        account.endpoint(name)
        account.settled(f"onlineEndpoints/{name}")
        path, names = f"onlineEndpoints/{name}/deployments/blue", f"{name}/blue"
    status, code = ENDED[trouble]
    for method, sent in (("PUT", body(kind, account)), ("DELETE", None)):
        account.emulated.faults.add(Fault(trouble, f"{method} {kind}", names))
        told = ended(account, method, path, version, sent)
        assert (told["status"], told["error"]["code"]) == (status, code)
        assert told["endTime"]
        assert account.ask("GET", path, version)["properties"]["provisioningState"] == status
        assert ended(account, method, path, version, sent)["status"] == "Succeeded"
    assert account.refused("GET", path, version)[0] == 404


def test_what_serves_goes_on_behind_an_endpoint_whose_update_or_deletion_failed(account: Account) -> None:
    name = f"e-{uuid.uuid4().hex[:8]}"
    account.endpoint(name)
    account.settled(f"onlineEndpoints/{name}")
    for color in ("blue", "green"):
        account.deployed(name, color, f"def init(): pass\ndef run(raw): return {color!r}\n")
    account.endpoint(name, traffic={"blue": 100})
    account.settled(f"onlineEndpoints/{name}")
    account.emulated.faults.add(Fault(Trouble.FAIL, "PUT onlineEndpoints", name))
    account.endpoint(name, traffic={"green": 100})
    assert account.settled(f"onlineEndpoints/{name}") == "Failed"
    account.emulated.faults.add(Fault(Trouble.FAIL, "DELETE onlineEndpoints", name))
    assert ended(account, "DELETE", f"onlineEndpoints/{name}", ENDPOINTS, None)["status"] == "Failed"
    assert [account.score(name, 1).body for _ in range(5)] == [b'"blue"'] * 5
    account.endpoint(name, traffic={"green": 100})
    assert account.settled(f"onlineEndpoints/{name}") == "Succeeded"
    assert account.score(name, 1).body == b'"green"'


@pytest.fixture
def here(emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a model, and a new subscription."""
    with emulation.environment(emulated.up.environment):
        monkeypatch.setenv("CLOUDML_AZUREML_SUBSCRIPTION", str(uuid.uuid4()))
        monkeypatch.chdir(tmp_path)
        python_model(tmp_path / "model", "1")
        yield


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Trouble.FAIL, "An internal error occurred. Please try again. (InternalServerError)"),
        (Trouble.CANCEL, "The operation was canceled. (OperationCanceled)"),
    ],
)
def test_an_endpoint_that_could_not_be_made_or_deleted_is_told_and_repaired(
    emulated: Emulated, trouble: Trouble, reason: str
) -> None:
    emulated.faults.add(Fault(trouble, "PUT onlineEndpoints", "shop-api-*"))
    said = line.told(6, file=SERVED)
    assert f"error: endpoint shop-api failed: {reason}\n" in said
    line.ended(0, file=SERVED)
    line.ended(0, "plan", "--detailed-exitcode", file=SERVED)
    emulated.faults.add(Fault(trouble, "DELETE onlineEndpoints", "shop-api-*"))
    said = line.told(6, "destroy", "--all", "-y", file=SERVED)
    assert f"endpoint shop-api failed: {reason}\n" in said
    line.ended(0, "destroy", "--all", "-y", file=SERVED)
    account = Account(emulated, os.environ["CLOUDML_AZUREML_SUBSCRIPTION"])
    assert account.ask("GET", "onlineEndpoints", ENDPOINTS)["value"] == []
