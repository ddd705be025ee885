"""The look at every answer, which the fixture ``answers_fit`` makes of each test: what it sees, and what it finds."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure_account import DEPLOYMENTS, ENDPOINTS, Account
from azure_answers import CHECKED, MISFITS, look
from wire_bodies import JOB_SCHEDULE

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Request
from cloudml_azureml.emulator.schemas import MODELS

W = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
WITHOUT_ANSWERS = {"pendingUpload", "regenerateKeys", "getLogs"}  # bodies of requests
ENDPOINT: dict[str, Any] = {
    "location": "eastus",
    "properties": {"authMode": "Key", "provisioningState": "Succeeded"},
}


def test_an_answer_of_every_kind_and_version_is_looked_at(account: Account) -> None:
    before = dict(CHECKED)
    name = f"e-{uuid.uuid4().hex[:8]}"
    account.job("j", "true")
    account.seen("j")
    account.endpoint(name)
    account.settled(f"onlineEndpoints/{name}")
    account.deployed(name, "blue", "def init(): pass\ndef run(raw): return raw\n")
    for path in (f"onlineEndpoints/{name}", f"onlineEndpoints/{name}/deployments", "onlineEndpoints"):
        account.ask("GET", path, ENDPOINTS)
    place = account.put("rows/rows.csv", "1")
    account.ask("PUT", "data/d/versions/1", DEPLOYMENTS, {"properties": {"dataUri": place, "dataType": "uri_file"}})
    account.ask("PUT", "models/m/versions/1", "2023-08-01-preview", {"properties": {"modelUri": place}})
    account.ask("PUT", "schedules/s", "2023-06-01-preview", JOB_SCHEDULE)
    for kind, version in (("data", DEPLOYMENTS), ("environments", DEPLOYMENTS), ("models", "2023-08-01-preview")):
        account.ask("GET", kind, version)
    seen = {looked for looked, number in CHECKED.items() if number > before.get(looked, 0)}
    known = {(kind, version) for kind, versions in MODELS.items() for version in versions}
    assert {each for each in known if each[0] not in WITHOUT_ANSWERS} == seen


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"location": None}, "location: The field is required."),
        ({"color": "blue"}, "color: could not find member 'color' on object"),
        ({"properties": {"authMode": "None"}}, "properties.authMode: 'None' is not one of"),
        ({"properties": {"authMode": "Key", "provisioningState": "Ready"}}, "provisioningState: 'Ready' is not one of"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_an_answer_that_does_not_fit_is_found(change: dict[str, Any], said: str, listed: bool) -> None:
    path = f"{W}/onlineEndpoints" + ("" if listed else "/e")
    request = Request("GET", f"{path}?api-version={ENDPOINTS}", {"host": "management.azure.com"})
    look(request, Answer(200, {"value": [ENDPOINT]} if listed else ENDPOINT))
    assert MISFITS == []
    strange = {**ENDPOINT, **change}
    look(request, Answer(200, {"value": [ENDPOINT, strange]} if listed else strange))
    found = MISFITS.copy()
    MISFITS.clear()
    assert len(found) == 1
    assert said in found[0]
