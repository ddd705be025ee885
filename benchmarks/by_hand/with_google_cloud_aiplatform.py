"""The quickstart's life written by hand with google-cloud-aiplatform's own classes; in the quickstart's folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

from google.cloud import aiplatform, storage
from stopwatch import Stopwatch

SERVED = """
import joblib, os
class Model:
    def __init__(self, folder):
        self.model = joblib.load(os.path.join(folder, "model.joblib"))
    def predict(self, rows):
        return self.model.predict(rows).tolist()
"""

watch = Stopwatch("vertex")
name, image = os.environ["CLOUDML_VERTEX_BUCKET"], os.environ["CLOUDML_VERTEX_IMAGE"]
aiplatform.init(project=os.environ["GOOGLE_CLOUD_PROJECT"], location="us-central1", staging_bucket=f"gs://{name}")
bucket = storage.Client().bucket(name)
bucket.blob("hand/train.csv").upload_from_filename("data/train.csv")
job = aiplatform.CustomJob.from_local_script(
    display_name="train",
    script_path="src/train.py",
    container_uri="us-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest",
    args=["--data", f"/gcs/{name}/hand/train.csv", "--strength", "1.0", "--model-dir", f"/gcs/{name}/hand/model"],
    replica_count=1,
)
job.run()
watch.lap("train")

bucket.blob("hand/model/model.py").upload_from_string(SERVED)  # the emulator has none of Google's own serving images
model = aiplatform.Model.upload(
    display_name="tumor",
    artifact_uri=f"gs://{name}/hand/model",
    serving_container_image_uri=image,
    serving_container_args=["serve"],
    serving_container_predict_route="/invocations",
    serving_container_health_route="/readyz",
)
watch.lap("register")

endpoint = aiplatform.Endpoint.create(display_name="tumor-api")
endpoint.deploy(model, machine_type="e2-standard-2", traffic_percentage=100)
watch.lap("deploy")

answer = endpoint.predict(instances=json.loads(Path("data/typical.json").read_text())).predictions
watch.lap("predict")

endpoint.undeploy_all()
endpoint.delete()
model.delete()
job.delete()
watch.lap("delete")
watch.tell([int(each) for each in answer])
