"""A command job with local code and data; its log, its outputs, and a model made of them. Microsoft's SDK alone."""

import os
import sys
import tempfile
import uuid
from pathlib import Path

from azure.ai.ml import Input, MLClient, Output, command
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Environment, Model
from azure.identity import DefaultAzureCredential

TRAIN = """
import argparse, json, os, time
parser = argparse.ArgumentParser()
parser.add_argument("--data")
parser.add_argument("--model")
parser.add_argument("--learning-rate", type=float)
given = parser.parse_args()
nonce = open(given.data).read()
print("training on", nonce, "as", os.environ["GREETING"], flush=True)
time.sleep(4)  # the SDK shows the log of a run that it finds running
with open(os.path.join(given.model, "model.json"), "w") as file:
    json.dump({"nonce": nonce, "learning_rate": given.learning_rate}, file)
os.makedirs("outputs", exist_ok=True)
with open("outputs/report.txt", "w") as file:
    file.write("learned " + nonce)
"""

folder, nonce = Path(tempfile.mkdtemp()), uuid.uuid4().hex
(folder / "src").mkdir()
(folder / "src" / "train.py").write_text(TRAIN)
(folder / "data.csv").write_text(nonce)

ml_client = MLClient(
    DefaultAzureCredential(),
    subscription_id=os.environ["AZURE_SUBSCRIPTION_ID"],
    resource_group_name="cloudml",
    workspace_name=sys.argv[1],
)
job = command(
    code=str(folder / "src"),
    command="python train.py --data ${{inputs.data}} --model ${{outputs.model}} --learning-rate ${{inputs.rate}}",
    inputs={"data": Input(type=AssetTypes.URI_FILE, path=str(folder / "data.csv")), "rate": 0.25},
    outputs={"model": Output(type=AssetTypes.URI_FOLDER)},
    environment=Environment(image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"),
    environment_variables={"GREETING": "hello"},
    compute="cpu-cluster",
    experiment_name="foreign",
    tags={"made-by": "script"},
)
submitted = ml_client.jobs.create_or_update(job)
if sys.argv[1] != "cloudml-sas":  # there the SDK cannot sign the links to logs
    ml_client.jobs.stream(submitted.name)
while (finished := ml_client.jobs.get(submitted.name)).status not in ("Completed", "Failed", "Canceled"):
    pass
assert finished.status == "Completed", finished.status

ml_client.jobs.download(submitted.name, download_path=folder / "all", all=True)
assert nonce in (folder / "all/named-outputs/model/model.json").read_text()
assert (folder / "all/artifacts/outputs/report.txt").read_text() == f"learned {nonce}"
assert f"training on {nonce} as hello" in (folder / "all/artifacts/user_logs/std_log.txt").read_text()

registered = ml_client.models.create_or_update(
    Model(name="foreign", path=f"azureml://jobs/{submitted.name}/outputs/model/paths/", type=AssetTypes.CUSTOM_MODEL)
)
ml_client.models.download("foreign", registered.version, download_path=folder / "model")
assert any(nonce in file.read_text() for file in (folder / "model").rglob("model.json"))

ml_client.jobs.archive(submitted.name)
assert submitted.name not in [each.name for each in ml_client.jobs.list()]
print("learned", nonce)
