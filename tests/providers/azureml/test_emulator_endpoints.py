"""Endpoints that serve: probes, timeouts, queues, errors of the model, traffic, replacement, capture."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure_account import DEPLOYMENTS, ENDPOINTS, Account, until

from cloudml.runtime.manifest import write_manifest
from cloudml_azureml.emulator.answers import Refused
from cloudml_azureml.emulator.serving import Served

ECHO = "import os\ndef init(): print('up', flush=True)\ndef run(raw): return os.environ.get('COLOR', raw)\n"
MORTAL = """
import os, time
def init(): globals()["born"] = time.time_ns()
def run(raw): return os._exit(1) if raw == "1" else born
"""
SLOW = "import time\ndef init(): pass\ndef run(raw):\n    time.sleep(float(raw))\n    return 'done'\n"


@pytest.fixture
def name(account: Account) -> Iterator[str]:
    """An endpoint that is ready; its instances end with the test."""
    made = f"ep-{uuid.uuid4().hex[:10]}"
    account.endpoint(made)
    assert account.settled(f"onlineEndpoints/{made}") == "Succeeded"
    yield made
    account.send("DELETE", f"onlineEndpoints/{made}", ENDPOINTS)
    until(lambda: account.send("GET", f"onlineEndpoints/{made}", ENDPOINTS), lambda answer: answer.status == 404)


def failure(account: Account, endpoint: str, deployment: str, **properties: Any) -> tuple[str, str]:
    """PUTs a deployment that must fail; the operation's code and message."""
    path = f"onlineEndpoints/{endpoint}/deployments/{deployment}"
    said = {"endpointComputeType": "Managed", "environmentId": account.environment(), **properties}
    answer = account.send("PUT", path, DEPLOYMENTS, {"location": "eastus", "properties": said})
    assert answer is not None
    assert answer.status in (200, 201), answer
    assert account.settled(path) == "Failed"
    place = answer.headers["Azure-AsyncOperation"].removeprefix("https://management.azure.com").split("?")[0]
    error = account.ask("GET", place, DEPLOYMENTS)["error"]
    return error["code"], error["message"]


def scripted(account: Account, text: str) -> dict[str, str]:
    return {"codeId": account.code(score=text), "scoringScript": "score.py"}


def logs(account: Account, endpoint: str, deployment: str) -> str:
    path = f"onlineEndpoints/{endpoint}/deployments/{deployment}/getLogs"
    return str(account.ask("POST", path, DEPLOYMENTS, {"containerType": "InferenceServer"})["content"])


def traffic(account: Account, endpoint: str, **shares: int) -> None:
    account.endpoint(endpoint, traffic=shares)
    assert account.settled(f"onlineEndpoints/{endpoint}") == "Succeeded"


def test_without_traffic_nobody_answers_unless_asked_by_name(account: Account, name: str) -> None:
    assert account.score(name, 1).status == 404
    assert account.deployed(name, "blue", ECHO, environmentVariables={"COLOR": "blue"}) == "Succeeded"
    assert account.score(name, 1).status == 404
    answer = account.score(name, 1, azureml_model_deployment="blue")
    assert (answer.status, json.loads(answer.body)) == (200, "blue")
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert account.score(name, 1, azureml_model_deployment="red").status == 404
    traffic(account, name, blue=100)
    assert account.score(name, 1).status == 200
    assert account.score(name, 1, authorization="Bearer wrong").status == 401
    until(lambda: logs(account, name, "blue"), lambda said: "up" in said)


def test_what_the_service_fills_in(account: Account, name: str) -> None:
    account.deployed(name, "blue", ECHO, requestSettings=None)
    made = account.ask("GET", f"onlineEndpoints/{name}/deployments/blue", DEPLOYMENTS)
    settings = made["properties"]["requestSettings"]
    assert settings == {"maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0S", "requestTimeout": "PT5S"}
    assert made["properties"]["livenessProbe"]["failureThreshold"] == 30
    assert made["properties"]["scaleSettings"] == {"scaleType": "Default"}
    assert made["sku"] == {"name": "Default", "tier": "Standard", "capacity": 1}


def test_a_slow_model_is_408(account: Account, name: str) -> None:
    account.deployed(name, "blue", SLOW, requestSettings={"requestTimeout": "PT1S"})
    traffic(account, name, blue=100)
    answer = account.score(name, 1000)
    assert (answer.status, answer.body["error"]["code"]) == (408, "RequestTimeout")


def test_of_too_many_requests_some_wait_and_the_rest_are_429(account: Account, name: str, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    waiting = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    script = f"import os, time\ndef init(): pass\ndef run(raw):\n    {waiting}\n"
    account.deployed(name, "blue", script)
    traffic(account, name, blue=100)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(account.score(name, 0).status)) for _ in range(5)]
    for thread in threads:
        thread.start()
    until(lambda: answers, lambda answers: answers == [429, 429, 429])  # one runs, one waits
    gate.touch()
    for thread in threads:
        thread.join()
    assert answers[3:] == [200, 200]


def test_a_place_is_free_as_soon_as_one_has_left() -> None:
    served, later = Served(), time.monotonic() + 60
    entered = threading.Event()

    def third() -> None:
        with served.place(2, later):
            entered.set()

    with ExitStack() as first, ExitStack() as second:
        first.enter_context(served.place(2, later))
        second.enter_context(served.place(2, later))
        thread = threading.Thread(target=third)
        thread.start()
        until(lambda: served.pending, lambda pending: pending == 3)
        assert not entered.is_set()
        with pytest.raises(Refused, match="waited longer"), served.place(2, time.monotonic()):
            pass
        first.close()
        assert entered.wait(60)
        thread.join()
    assert (served.pending, served.running) == (0, 0)


def test_a_delete_waits_for_the_requests_on_their_way_and_nobody_waits_for_it(
    account: Account, name: str, tmp_path: Path
) -> None:
    gate, inside = tmp_path / "open", tmp_path / "inside"
    waiting = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    entered = f"open({str(inside)!r}, 'w').close()"
    script = f"import os, time\ndef init(): pass\ndef run(raw):\n    {entered}\n    {waiting}\n"
    account.deployed(name, "blue", script)
    answers: list[int] = []
    asked = threading.Thread(
        target=lambda: answers.append(account.score(name, 0, azureml_model_deployment="blue").status)
    )
    asked.start()
    until(inside.exists, bool)
    path = f"onlineEndpoints/{name}/deployments/blue"
    account.ask("DELETE", path, DEPLOYMENTS)
    assert account.state(path) == "Deleting"
    assert account.score(name, 0, azureml_model_deployment="blue").status == 404
    assert answers == []
    gate.touch()
    asked.join()
    assert answers == [200]
    until(lambda: account.send("GET", path, DEPLOYMENTS), lambda answer: answer.status == 404)


def test_a_model_s_error_is_424_with_its_own_status(account: Account, name: str) -> None:
    account.deployed(name, "blue", "def init(): pass\ndef run(raw): raise ValueError('no ' + raw)\n")
    traffic(account, name, blue=100)
    answer = account.score(name, "rows")
    assert answer.status == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.body == b'no "rows"'
    until(lambda: logs(account, name, "blue"), lambda said: "ValueError" in said)


def test_a_model_that_dies_is_started_again(account: Account, name: str) -> None:
    account.deployed(
        name,
        "blue",
        MORTAL,
    )
    traffic(account, name, blue=100)
    before = account.score(name, 0).body
    assert account.score(name, 1).status == 502
    after = until(lambda: account.score(name, 0), lambda answer: answer.status == 200)
    assert after.body != before


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("def init(): raise RuntimeError('no weights')\ndef run(raw): pass\n", "no weights"),
        ("def init(): pass\n", "no function run()"),
        ("def (:", "SyntaxError"),
    ],
)
def test_a_script_that_cannot_serve_fails_and_its_last_lines_can_be_read(
    account: Account, name: str, script: str, said: str
) -> None:
    code, message = failure(account, name, "blue", codeConfiguration=scripted(account, script))
    assert code == "ResourceNotReady"
    assert "User container has crashed or terminated" in message
    assert said in logs(account, name, "blue")


def test_a_probe_that_is_never_answered_is_given_up(account: Account, name: str) -> None:
    probe = {"initialDelay": "PT0S", "period": "PT1S", "failureThreshold": 2, "timeout": "PT1S"}
    script = "import time\ndef init(): time.sleep(1000)\ndef run(raw): pass\n"
    code, message = failure(account, name, "blue", codeConfiguration=scripted(account, script), readinessProbe=probe)
    assert (code, "Readiness probe failed 2 times" in message) == ("ResourceNotReady", True)


def test_an_image_that_cannot_run_here_is_told(account: Account, name: str) -> None:
    route = {"port": 8501, "path": "/v1"}
    routes = {"livenessRoute": route, "readinessRoute": route, "scoringRoute": route}
    environment = account.environment("tf", image="tensorflow/serving", inferenceConfig=routes)
    code, message = failure(account, name, "blue", environmentId=environment)
    assert code == "BadArgument"
    assert "tensorflow/serving" in message


def test_what_serves_goes_on_when_its_successor_fails(account: Account, name: str) -> None:
    account.deployed(name, "blue", ECHO, environmentVariables={"COLOR": "old"})
    traffic(account, name, blue=100)
    failure(account, name, "blue", codeConfiguration=scripted(account, "def init(): 1 / 0\ndef run(raw): pass\n"))
    assert json.loads(account.score(name, 1).body) == "old"


def test_a_successor_takes_over_without_a_gap(account: Account, name: str) -> None:
    code = scripted(account, ECHO)
    settings = {"maxConcurrentRequestsPerInstance": 10, "requestTimeout": "PT60S"}
    account.deployed(
        name, "blue", "", codeConfiguration=code, requestSettings=settings, environmentVariables={"COLOR": "old"}
    )
    traffic(account, name, blue=100)
    seen: list[tuple[int, Any]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answer = account.score(name, 1)
            seen.append((answer.status, answer.body))

    thread = threading.Thread(target=ask)
    thread.start()
    account.deployed(
        name, "blue", "", codeConfiguration=code, requestSettings=settings, environmentVariables={"COLOR": "new"}
    )
    until(lambda: seen[-1:], lambda last: last == [(200, b'"new"')])
    over.set()
    thread.join()
    assert {status for status, _ in seen} == {200}
    assert seen[0] == (200, b'"old"')


def test_settings_change_without_a_restart_and_instances_are_added(account: Account, name: str) -> None:
    code = scripted(account, "import time\ndef init(): globals()['born'] = time.time_ns()\ndef run(raw): return born\n")
    account.deployed(name, "blue", "", codeConfiguration=code)
    traffic(account, name, blue=100)
    born = account.score(name, 1).body
    account.deployed(name, "blue", "", codeConfiguration=code, requestSettings={"requestTimeout": "PT20S"})
    assert account.score(name, 1).body == born
    account.deployed(name, "blue", "", capacity=2, codeConfiguration=code)
    assert len({account.score(name, 1).body for _ in range(4)}) == 2
    account.deployed(name, "blue", "", capacity=1, codeConfiguration=code)
    assert {account.score(name, 1).body for _ in range(4)} == {born}


@pytest.mark.parametrize(
    ("shares", "mirror", "said"),
    [
        ({"blue": 50}, {}, "add up to 0 or 100"),
        ({"red": 100}, {}, "'red' was not found"),
        ({"blue": 100}, {"green": 51}, "up to 50"),
        ({"blue": 100}, {"blue": 10}, "has live traffic"),
        ({}, {"red": 10}, "'red' was not found"),
    ],
)
def test_traffic_that_makes_no_sense(
    account: Account, name: str, shares: dict[str, int], mirror: dict[str, int], said: str
) -> None:
    for deployment in ("blue", "green"):
        account.deployed(name, deployment, ECHO)
    body = {"location": "eastus", "properties": {"authMode": "Key", "traffic": shares, "mirrorTraffic": mirror}}
    status, error = account.refused("PUT", f"onlineEndpoints/{name}", ENDPOINTS, body)
    assert status == 400
    assert any(said in detail["message"] for detail in error["details"]), error


def test_a_deployment_with_traffic_cannot_be_deleted(account: Account, name: str) -> None:
    account.deployed(name, "blue", ECHO)
    traffic(account, name, blue=100)
    path = f"onlineEndpoints/{name}/deployments/blue"
    status, error = account.refused("DELETE", path, DEPLOYMENTS)
    assert status == 400
    said = "Deployment blue has traffic; set its traffic to 0 first."
    assert [(each["code"], each["message"]) for each in error["details"]] == [("DeploymentHasTraffic", said)]
    assert account.score(name, 1).status == 200
    traffic(account, name)
    account.ask("DELETE", path, DEPLOYMENTS)
    until(lambda: account.send("GET", path, DEPLOYMENTS), lambda answer: answer.status == 404)


def test_a_name_is_taken_in_the_whole_region(account: Account, name: str) -> None:
    elsewhere = replace(account, subscription=str(uuid.uuid4()))
    assert elsewhere.region != account.region
    body = {"location": "eastus", "properties": {"authMode": "Key"}}
    elsewhere.ask("PUT", f"onlineEndpoints/{name}", ENDPOINTS, body)
    other = replace(account, subscription=str(uuid.uuid4()))
    account.emulated.azure.store.regions[other.subscription] = account.region
    status, error = other.refused("PUT", f"onlineEndpoints/{name}", ENDPOINTS, body)
    assert status == 400
    assert "unique within a region" in error["details"][0]["message"]
    for bad in ("ab", "1abc", "a" * 33, "a_b", "abc-"):
        assert other.refused("PUT", f"onlineEndpoints/{bad}", ENDPOINTS, body)[0] == 400


def test_keys_change_and_tokens_need_their_mode(account: Account, name: str) -> None:
    keys = account.ask("POST", f"onlineEndpoints/{name}/listKeys", ENDPOINTS)
    account.ask("POST", f"onlineEndpoints/{name}/regenerateKeys", ENDPOINTS, {"keyType": "primary"})
    until(
        lambda: account.ask("POST", f"onlineEndpoints/{name}/listKeys", ENDPOINTS),
        lambda now: now["primaryKey"] != keys["primaryKey"],
    )
    assert account.ask("POST", f"onlineEndpoints/{name}/listKeys", ENDPOINTS)["secondaryKey"] == keys["secondaryKey"]
    assert account.refused("POST", f"onlineEndpoints/{name}/token", ENDPOINTS)[0] == 400
    account.endpoint(name, authMode="AADToken")
    assert account.refused("POST", f"onlineEndpoints/{name}/listKeys", ENDPOINTS)[0] == 400
    assert account.ask("POST", f"onlineEndpoints/{name}/token", ENDPOINTS)["accessToken"].count(".") == 2


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"codeConfiguration": None}, "codeConfiguration"),
        ({"environmentId": None}, "no-code"),
        ({"endpointComputeType": "Kubernetes"}, "not supported"),
        ({"requestSettings": {"requestTimeout": "5s"}}, "ISO 8601"),
        ({"requestSettings": {"requestTimeout": "PT181S"}}, "at most 180"),
        ({"requestSettings": {"maxConcurrentRequestsPerInstance": 0}}, "at least 1"),
    ],
)
def test_a_deployment_that_cannot_be_is_refused_at_once(
    account: Account, name: str, properties: dict[str, Any], said: str
) -> None:
    good = {
        "endpointComputeType": "Managed",
        "environmentId": account.environment(),
        "codeConfiguration": scripted(account, ECHO),
    }
    body = {"location": "eastus", "properties": {**good, **properties}}
    status, error = account.refused("PUT", f"onlineEndpoints/{name}/deployments/blue", DEPLOYMENTS, body)
    assert status == 400
    assert any(said in detail["message"] for detail in error["details"]), error


def test_what_is_collected_goes_to_an_asset_that_is_there(account: Account, name: str) -> None:
    wanted = {"dataCollectionMode": "Enabled", "dataId": f"{account.id}/data/captured/versions/1"}
    properties = {"endpointComputeType": "Managed", "environmentId": account.environment()}
    properties |= {"codeConfiguration": scripted(account, ECHO), "dataCollector": {"collections": {"request": wanted}}}
    path, body = f"onlineEndpoints/{name}/deployments/blue", {"location": "eastus", "properties": properties}
    assert account.refused("PUT", path, DEPLOYMENTS, body)[0] == 404
    asset = {"dataUri": "azureml://datastores/workspaceblobstore/paths/captured", "dataType": "uri_folder"}
    account.ask("PUT", "data/captured/versions/1", DEPLOYMENTS, {"properties": asset})
    account.ask("PUT", path, DEPLOYMENTS, body)
    assert account.settled(path) == "Succeeded"
    assert account.score(name, "kept", azureml_model_deployment="blue").status == 200
    azure = account.emulated.azure
    box = f"azureml-blobstore-{azure.store.workspace(account.subscription, 'cloudml', 'cloudml').guid}"
    until(lambda: [*azure.storage.names(box, "captured/")], lambda found: len(found) == 1)


def test_requests_and_answers_are_collected_as_lines(account: Account, name: str) -> None:
    wanted = {"dataCollectionMode": "enabled", "samplingRate": 1.0}
    collected = {"collections": {"request": wanted, "response": wanted}}
    account.deployed(
        name,
        "blue",
        "import json\ndef init(): pass\ndef run(raw): return {'sum': sum(json.loads(raw))}\n",
        dataCollector=collected,
    )
    traffic(account, name, blue=100)
    for row in ([1, 2], [3, 4]):
        assert account.score(name, row).status == 200
    azure = account.emulated.azure
    box = f"azureml-blobstore-{azure.store.workspace(account.subscription, 'cloudml', 'cloudml').guid}"

    def lines(side: str) -> list[Any]:
        found = azure.storage.names(box, f"modelDataCollector/{name}/blue/{side}/")
        return [json.loads(line) for blob in found for line in (azure.storage.read(box, blob) or b"").splitlines()]

    answers = until(lambda: lines("response"), lambda found: len(found) == 2)
    asked = until(lambda: lines("request"), lambda found: len(found) == 2)
    assert [line["data"] for line in asked] == [[1, 2], [3, 4]]
    assert [line["data"] for line in answers] == [{"sum": 3}, {"sum": 7}]
    assert {line["type"] for line in asked} == {"azureml.inference.request"}
    assert [line["correlationid"] for line in asked] == [line["correlationid"] for line in answers]


def python_model(folder: Path) -> Path:
    """A model that adds up each row."""
    folder.mkdir()
    text = "class Model:\n    def __init__(self, folder): pass\n"
    text += "    def predict(self, rows): return [sum(row) for row in rows]\n"
    (folder / "model.py").write_text(text)
    write_manifest(folder)
    return folder


def test_the_universal_image_serves_a_folder(account: Account, name: str, tmp_path: Path) -> None:
    for file in python_model(tmp_path / "folder").iterdir():
        account.put(f"models/folder/{file.name}", file.read_text())
    model = {"modelUri": "azureml://datastores/workspaceblobstore/paths/models/folder/", "modelType": "custom_model"}
    id = account.ask("PUT", "models/m/versions/1", "2023-08-01-preview", {"properties": model})["id"]
    paths = {"livenessRoute": "/livez", "readinessRoute": "/readyz", "scoringRoute": "/invocations"}
    routes = {each: {"port": 8080, "path": path} for each, path in paths.items()}
    environment = account.environment(
        "universal", image="cloudml.azurecr.io/cloudml-serve:latest", inferenceConfig=routes
    )
    assert account.deployed(name, "blue", "", environmentId=environment, model=id) == "Succeeded", logs(
        account, name, "blue"
    )
    uri = account.ask("GET", f"onlineEndpoints/{name}", ENDPOINTS)["properties"]["scoringUri"]
    assert uri == f"https://{name}.{account.region}.inference.ml.azure.com/invocations"
    traffic(account, name, blue=100)
    answer = account.score(name, {"instances": [[1, 2], [3, 4]]})
    assert json.loads(answer.body) == {"predictions": [3, 7]}
