"""An endpoint with two deployments: traffic, mirror, invoke, logs, keys, deletion. Microsoft's SDK alone."""

import json
import os
import tempfile
import time
import uuid
from pathlib import Path

import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    CodeConfiguration,
    DataCollector,
    DeploymentCollection,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

SCORE = """
import json, os
def init():
    global weights
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model", "weights.txt")) as file:
        weights = file.read()
    print("loaded", weights, flush=True)
def run(raw_data):
    return {"weights": weights, "color": os.environ["COLOR"], "got": json.loads(raw_data)["data"]}
"""

folder, nonce = Path(tempfile.mkdtemp()), uuid.uuid4().hex
for name, file, text in (("model", "weights.txt", nonce), ("onlinescoring", "score.py", SCORE)):
    (folder / name).mkdir()
    (folder / name / file).write_text(text)
request = folder / "request.json"
request.write_text(json.dumps({"data": [1, 2]}))

ml_client = MLClient(DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], "cloudml", "cloudml")
name = f"endpoint-{uuid.uuid4().hex[:8]}"
endpoint = ManagedOnlineEndpoint(name=name, auth_mode="key", description="blue and green", tags={"a": "b"})
ml_client.online_endpoints.begin_create_or_update(endpoint).result()
model = ml_client.models.create_or_update(Model(name="weights", path=str(folder / "model")))


def deployment(color: str) -> ManagedOnlineDeployment:
    collections = {"request": DeploymentCollection(enabled="true"), "response": DeploymentCollection(enabled="true")}
    return ManagedOnlineDeployment(
        name=color,
        endpoint_name=name,
        model=model,
        environment=Environment(image="mcr.microsoft.com/azureml/minimal-ubuntu22.04-py39-cpu-inference"),
        code_configuration=CodeConfiguration(code=str(folder / "onlinescoring"), scoring_script="score.py"),
        environment_variables={"COLOR": color},
        instance_type="Standard_DS3_v2",
        instance_count=1,
        request_settings=OnlineRequestSettings(request_timeout_ms=60000, max_concurrent_requests_per_instance=4),
        data_collector=DataCollector(collections=collections) if color == "green" else None,
    )


ml_client.online_deployments.begin_create_or_update(deployment("blue")).result()
endpoint.traffic = {"blue": 100}
ml_client.online_endpoints.begin_create_or_update(endpoint).result()
said = json.loads(ml_client.online_endpoints.invoke(endpoint_name=name, request_file=str(request)))
assert said == {"weights": nonce, "color": "blue", "got": [1, 2]}, said
assert f"loaded {nonce}" in ml_client.online_deployments.get_logs(name="blue", endpoint_name=name, lines=50)

ml_client.online_deployments.begin_create_or_update(deployment("green")).result()
green = json.loads(
    ml_client.online_endpoints.invoke(endpoint_name=name, deployment_name="green", request_file=str(request))
)
assert green["color"] == "green", green

endpoint.traffic, endpoint.mirror_traffic = {"blue": 100}, {"green": 50}
ml_client.online_endpoints.begin_create_or_update(endpoint).result()
endpoint = ml_client.online_endpoints.get(name)
assert endpoint.mirror_traffic == {"green": 50}
headers = {"Authorization": f"Bearer {ml_client.online_endpoints.get_keys(name).primary_key}"}
session = requests.Session()
before = ml_client.online_deployments.get_logs(name="green", endpoint_name=name, lines=1000).count("POST /score")
deadline = time.monotonic() + 60
while True:
    answer = session.post(endpoint.scoring_uri, json={"data": [3]}, headers=headers)
    assert answer.json()["color"] == "blue", answer.text
    if (
        ml_client.online_deployments.get_logs(name="green", endpoint_name=name, lines=1000).count("POST /score")
        > before
    ):
        break
    assert time.monotonic() < deadline, "nothing was mirrored"

endpoint.traffic, endpoint.mirror_traffic = {"blue": 50, "green": 50}, {}
ml_client.online_endpoints.begin_create_or_update(endpoint).result()
colors = {session.post(endpoint.scoring_uri, json={"data": [3]}, headers=headers).json()["color"] for _ in range(100)}
assert colors == {"blue", "green"}, colors

secondary = ml_client.online_endpoints.get_keys(name).secondary_key
ml_client.online_endpoints.begin_regenerate_keys(name, key_type="secondary").result()
assert ml_client.online_endpoints.get_keys(name).secondary_key == secondary  # this SDK sends the old one as the new one
assert session.post(endpoint.scoring_uri, json={}, headers={"Authorization": "Bearer wrong"}).status_code == 401

try:
    ml_client.online_deployments.begin_delete(name="blue", endpoint_name=name).result()
    raise AssertionError("a deployment with traffic was deleted")
except HttpResponseError as refused:
    assert refused.status_code == 400, refused
endpoint.traffic = {"blue": 0, "green": 100}
ml_client.online_endpoints.begin_create_or_update(endpoint).result()
ml_client.online_deployments.begin_delete(name="blue", endpoint_name=name).result()
assert [each.name for each in ml_client.online_deployments.list(name)] == ["green"]
scaled = deployment("green")  # one that was fetched cannot be sent again, if it has a data collector (SDK 1.35.2)
scaled.instance_count = 2
ml_client.online_deployments.begin_create_or_update(scaled).result()
assert ml_client.online_deployments.get("green", name).instance_count == 2
ml_client.online_endpoints.begin_delete(name=name).result()
try:
    ml_client.online_endpoints.get(name)
    raise AssertionError("the endpoint is still there")
except ResourceNotFoundError:
    print("served", nonce)
