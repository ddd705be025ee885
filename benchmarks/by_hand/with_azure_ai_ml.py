"""The quickstart's life written by hand with azure-ai-ml, as its documentation does; in the quickstart's folder."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from pathlib import Path

from azure.ai.ml import Input, MLClient, Output, command
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
)
from azure.identity import DefaultAzureCredential
from stopwatch import Stopwatch

SCORE = """
import json, os, joblib, numpy
def init():
    global model
    model = joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model", "model.joblib"))
def run(body):
    return model.predict(numpy.array(json.loads(body)["instances"])).tolist()
"""

watch = Stopwatch("azureml")
ml_client = MLClient(DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], "cloudml", "cloudml")
job = ml_client.jobs.create_or_update(
    command(
        code="src",
        command="python train.py --data ${{inputs.train}} --strength 1.0 --model-dir ${{outputs.model}}",
        inputs={"train": Input(type="uri_file", path="data/train.csv")},
        outputs={"model": Output(type="uri_folder")},
        environment=Environment(image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"),
        compute="cpu-cluster",
    )
)
ml_client.jobs.stream(job.name)
watch.lap("train")

model = ml_client.models.create_or_update(
    Model(name="tumor", path=f"azureml://jobs/{job.name}/outputs/model/paths/", type="custom_model")
)
watch.lap("register")

name = f"tumor-{uuid.uuid4().hex[:8]}"
endpoint = ManagedOnlineEndpoint(name=name, auth_mode="key")
ml_client.online_endpoints.begin_create_or_update(endpoint).result()
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "score.py").write_text(SCORE)
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=name,
        model=model,
        environment=Environment(image="mcr.microsoft.com/azureml/minimal-ubuntu22.04-py39-cpu-inference"),
        code_configuration=CodeConfiguration(code=folder, scoring_script="score.py"),
        instance_type="Standard_DS3_v2",
        instance_count=1,
        request_settings=OnlineRequestSettings(request_timeout_ms=60000),
    )
    ml_client.online_deployments.begin_create_or_update(deployment).result()
endpoint.traffic = {"blue": 100}
ml_client.online_endpoints.begin_create_or_update(endpoint).result()
watch.lap("deploy")

with tempfile.TemporaryDirectory() as folder:
    request = Path(folder, "request.json")
    request.write_text(json.dumps({"instances": json.loads(Path("data/typical.json").read_text())}))
    answer = json.loads(ml_client.online_endpoints.invoke(endpoint_name=name, request_file=str(request)))
watch.lap("predict")

ml_client.online_endpoints.begin_delete(name=name).result()
ml_client.models.archive("tumor", version=model.version)
ml_client.jobs.begin_delete(job.name).result()
watch.lap("delete")
watch.tell(answer)
