"""What the service refuses, as Google's own exceptions.    python refusals.py BUCKET [grpc | rest]"""

import sys

from google.api_core import exceptions
from google.cloud import aiplatform, storage

bucket_name, transport = sys.argv[1:3]
aiplatform.init(location="us-central1", staging_bucket=f"gs://{bucket_name}", api_transport=transport)
storage.Client().create_bucket(bucket_name)


def refused(kind: type[Exception], said: str, act) -> None:
    try:
        act()
    except kind as error:
        assert said in str(error), error
    else:
        raise AssertionError(f"{kind.__name__} was due: {said}")


def job(**machine):
    pool = {
        "machine_spec": machine,
        "replica_count": 1,
        "container_spec": {"image_uri": "python:3.11", "command": ["true"]},
    }
    return lambda: aiplatform.CustomJob(display_name="job", worker_pool_specs=[pool]).submit()


refused(
    exceptions.BadRequest, "accelerator_count", job(machine_type="n1-standard-4", accelerator_type="NVIDIA_TESLA_T4")
)
refused(exceptions.BadRequest, "is not supported", job(machine_type="ml.m5.large"))
refused(exceptions.NotFound, "does not exist", lambda: aiplatform.Model("nobody"))
refused(exceptions.NotFound, "does not exist", lambda: aiplatform.Endpoint("1234").delete())
refused(
    exceptions.GoogleAPICallError, "is expected to contain",
    lambda: aiplatform.Model.upload(
        display_name="m", model_id="m", artifact_uri=f"gs://{bucket_name}/nothing", serving_container_image_uri="i"
    ),
)  # fmt: skip
endpoint = aiplatform.Endpoint.create(display_name="e", endpoint_id="e-1")
refused(exceptions.Conflict, "already exists", lambda: aiplatform.Endpoint.create(display_name="e", endpoint_id="e-1"))
refused(exceptions.GoogleAPICallError, "no deployed model", lambda: endpoint.predict(instances=[[1]]))
refused(
    exceptions.NotFound, "No such object", lambda: storage.Client().bucket(bucket_name).blob("x").download_as_bytes()
)
refused(
    exceptions.PreconditionFailed, "pre-conditions",
    lambda: storage.Client().bucket(bucket_name).blob("x").upload_from_string("1", if_generation_match=7),
)  # fmt: skip
print("refused")
