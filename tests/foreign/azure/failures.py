"""What goes wrong after it was accepted: a job, a script, an operation; and its repair. Microsoft's SDK alone."""

import json
import os
import sys
import tempfile
import uuid
from pathlib import Path

from azure.ai.ml import MLClient, command
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    OnlineRequestSettings,
)
from azure.ai.ml.exceptions import JobException
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

name, nonce, folder = sys.argv[1], uuid.uuid4().hex, Path(tempfile.mkdtemp())
ml_client = MLClient(DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], "cloudml", "cloudml")
image = Environment(image="mcr.microsoft.com/azureml/minimal-ubuntu22.04-py39-cpu-inference")

job = ml_client.jobs.create_or_update(
    command(command=f"echo {nonce} is missing; sleep 4; exit 7", environment=image, compute="cpu-cluster")
)
try:
    ml_client.jobs.stream(job.name)
    raise AssertionError("a job that failed was streamed to its end")
except JobException as error:
    assert "exited with status code 7" in str(error), error

ml_client.jobs.begin_delete(job.name).result()
try:
    ml_client.jobs.get(job.name)
    raise AssertionError("the job is still there")
except ResourceNotFoundError:
    pass
waiting = ml_client.jobs.create_or_update(command(command="sleep 600", environment=image, compute="cpu-cluster"))
ml_client.jobs.begin_cancel(waiting.name).result()
assert ml_client.jobs.get(waiting.name).status == "Canceled"

ml_client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()


def deploy(script):
    place = folder / uuid.uuid4().hex
    place.mkdir()
    (place / "score.py").write_text(script)
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=name,
        environment=image,
        code_configuration=CodeConfiguration(code=str(place), scoring_script="score.py"),
        instance_type="Standard_DS3_v2",
        instance_count=1,
        request_settings=OnlineRequestSettings(request_timeout_ms=60000),
    )
    return ml_client.online_deployments.begin_create_or_update(deployment).result()


try:
    deploy(f"def init(): print('read {nonce}', flush=True)\n")
    raise AssertionError("a script without run() was deployed")
except HttpResponseError as error:
    assert "User container has crashed or terminated" in str(error), error
lines = ml_client.online_deployments.get_logs(name="blue", endpoint_name=name, lines=50)
assert "no function run()" in lines, lines
assert ml_client.online_deployments.get("blue", name).provisioning_state == "Failed"

deploy(f"def init(): pass\ndef run(raw): return {nonce!r}\n")
endpoint = ml_client.online_endpoints.get(name)
endpoint.traffic = {"blue": 60}
try:
    ml_client.online_endpoints.begin_create_or_update(endpoint).result()
    raise AssertionError("60 per cent were accepted as all")
except HttpResponseError as error:
    assert error.status_code == 400, error
    assert "must add up to 0 or 100" in str(error), error
endpoint.traffic = {"blue": 100}
ml_client.online_endpoints.begin_create_or_update(endpoint).result()
(folder / "request.json").write_text("{}")
assert json.loads(ml_client.online_endpoints.invoke(name, request_file=str(folder / "request.json"))) == nonce

# The test ordered that the first deletion fail, and the second be canceled.
for ending in ("An internal error occurred", "The operation was canceled"):
    try:
        ml_client.online_endpoints.begin_delete(name).result()
        raise AssertionError("the endpoint was deleted")
    except HttpResponseError as error:
        assert ending in str(error), error
ml_client.online_endpoints.begin_delete(name).result()
try:
    ml_client.online_endpoints.get(name)
    raise AssertionError("the endpoint is still there")
except ResourceNotFoundError:
    print("repaired", nonce)
