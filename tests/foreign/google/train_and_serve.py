"""In the manner of Google's samples: a custom job, a model with versions and aliases, an endpoint with two of them.

python train_and_serve.py BUCKET IMAGE NONCE [grpc | rest]
"""

import sys
import time

from google.api_core import exceptions
from google.cloud import aiplatform, resourcemanager_v3, storage
from google.cloud.aiplatform import model_monitoring

bucket_name, image, nonce, transport = sys.argv[1:5]
aiplatform.init(location="us-central1", staging_bucket=f"gs://{bucket_name}", api_transport=transport)
# What the SDK asks by itself when nobody names a project; a refusal is a traceback in the log.
project = aiplatform.initializer.global_config.project
found = resourcemanager_v3.ProjectsClient(transport=transport).get_project(name=f"projects/{project}")
assert found.project_id == project
bucket = storage.Client().create_bucket(bucket_name)

# -- train: a container that reads from and writes to the bucket, mounted under /gcs
MODEL = """
class Model:
    def predict(self, rows):
        return [NONCE for _ in rows]

def load(folder):
    return Model()
"""
for version, value in (("one", nonce), ("two", f"{nonce}-2")):
    bucket.blob(f"in/{version}.txt").upload_from_string(MODEL.replace("NONCE", repr(value)))
SCRIPT = """
import os, shutil, sys
for version in ("one", "two"):
    os.makedirs(f"/gcs/{sys.argv[1]}/models/{version}")
    shutil.copy(f"/gcs/{sys.argv[1]}/in/{version}.txt", f"/gcs/{sys.argv[1]}/models/{version}/model.py")
print("trained", os.environ["CLOUD_ML_JOB_ID"], flush=True)
"""
job = aiplatform.CustomJob(
    display_name="train",
    worker_pool_specs=[
        {
            "machine_spec": {"machine_type": "n1-standard-4"},
            "replica_count": 1,
            "container_spec": {"image_uri": "python:3.11", "command": ["python3", "-c", SCRIPT], "args": [bucket_name]},
        }
    ],
)
job.submit()
deadline = time.time() + 60
while job.state not in (aiplatform.gapic.JobState.JOB_STATE_SUCCEEDED, aiplatform.gapic.JobState.JOB_STATE_FAILED):
    assert time.time() < deadline, job.state
    time.sleep(0.2)
assert job.state == aiplatform.gapic.JobState.JOB_STATE_SUCCEEDED, job.error
assert [each.display_name for each in aiplatform.CustomJob.list(filter='display_name="train"')] == ["train"]

# -- register: two versions, aliases
SERVING = {
    "serving_container_image_uri": image,
    "serving_container_predict_route": "/invocations",
    "serving_container_health_route": "/readyz",
    "serving_container_args": ["serve"],
}
first = aiplatform.Model.upload(
    display_name="fraud",
    model_id="fraud",
    artifact_uri=f"gs://{bucket_name}/models/one",
    version_aliases=["prod"],
    **SERVING,
)
second = aiplatform.Model.upload(
    display_name="fraud", parent_model="fraud", artifact_uri=f"gs://{bucket_name}/models/two", is_default_version=False,
    version_aliases=["canary"], **SERVING,
)  # fmt: skip
assert (first.version_id, second.version_id) == ("1", "2")
registry = aiplatform.models.ModelRegistry("fraud")
assert sorted(each.version_id for each in registry.list_versions()) == ["1", "2"]
registry.add_version_aliases(["stable"], version="2")
assert sorted(aiplatform.Model("fraud@stable").version_aliases) == ["canary", "stable"]

# -- deploy: one, then a canary beside it, then half and half
endpoint = aiplatform.Endpoint.create(display_name="fraud-api", dedicated_endpoint_enabled=True)
endpoint.deploy(first, deployed_model_display_name="one", machine_type="e2-standard-2", traffic_percentage=100)
answer = endpoint.predict(instances=[[1.0]], use_dedicated_endpoint=True)
assert answer.predictions == [nonce], answer
endpoint.deploy(second, deployed_model_display_name="two", machine_type="e2-standard-2", traffic_percentage=20)
ids = {each.display_name: each.id for each in endpoint.list_models()}
assert endpoint.traffic_split == {ids["one"]: 80, ids["two"]: 20}

# -- watch what comes in: pending until somebody asks, and not to be changed before
job_of = aiplatform.ModelDeploymentMonitoringJob
drift = model_monitoring.DriftDetectionConfig(drift_thresholds={"amount": 0.3})
watch = job_of.create(
    display_name="watch",
    endpoint=endpoint,
    logging_sampling_strategy=model_monitoring.RandomSampleConfig(sample_rate=0.8),
    schedule_config=model_monitoring.ScheduleConfig(monitor_interval=1),
    alert_config=model_monitoring.EmailAlertConfig(user_emails=["me@example.org"], enable_logging=True),
    objective_configs=model_monitoring.ObjectiveConfig(drift_detection_config=drift),
)
STATES = aiplatform.gapic.JobState
assert watch.state == STATES.JOB_STATE_PENDING
try:
    watch.update(schedule_config=model_monitoring.ScheduleConfig(monitor_interval=2))
except exceptions.BadRequest as error:
    assert "pending" in str(error), error
else:
    raise AssertionError("a pending job was changed")
endpoint.predict(instances=[[1.0]], use_dedicated_endpoint=True)
assert watch.state == STATES.JOB_STATE_RUNNING
watch.update(schedule_config=model_monitoring.ScheduleConfig(monitor_interval=2))
watch.pause()
assert watch.state == STATES.JOB_STATE_PAUSED
watch.resume()
assert [each.display_name for each in job_of.list()] == ["watch"]
watched = {each.deployed_model_id for each in watch._gca_resource.model_deployment_monitoring_objective_configs}
assert watched == {*ids.values()}, watched
watch.delete()
assert job_of.list() == []

endpoint.update(traffic_split={ids["one"]: 0, ids["two"]: 100})
raw = endpoint.raw_predict(
    body=b'{"instances": [[1.0]]}', headers={"Content-Type": "application/json"}, use_dedicated_endpoint=True
)
assert raw.json() == {"predictions": [f"{nonce}-2"]}, raw.text

# -- and all of it away
endpoint.undeploy(ids["one"])
endpoint.undeploy_all()
endpoint.delete()
registry.delete_version("2")
first.delete()
job.delete()
assert [*aiplatform.Endpoint.list(), *aiplatform.Model.list(), *aiplatform.CustomJob.list()] == []
print("said", nonce)
