"""In the manner of Google's samples: a custom job from a script of this machine, packed and run as a module.

python from_local_script.py BUCKET NONCE [grpc | rest]
"""

import sys
import tempfile
import time
from pathlib import Path

from google.cloud import aiplatform, storage

bucket_name, nonce, transport = sys.argv[1:4]
aiplatform.init(location="us-central1", staging_bucket=f"gs://{bucket_name}", api_transport=transport)
bucket = storage.Client().create_bucket(bucket_name)

SCRIPT = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--word")
folder = os.environ["AIP_MODEL_DIR"].replace("gs://", "/gcs/", 1)
os.makedirs(folder)
with open(folder + "model.txt", "w") as file:
    file.write(parser.parse_args().word + os.environ["ENDING"])
"""
with tempfile.TemporaryDirectory() as folder:
    script = Path(folder, "task.py")
    script.write_text(SCRIPT)
    job = aiplatform.CustomJob.from_local_script(
        display_name="from-local-script",
        script_path=str(script),
        container_uri="us-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest",
        args=["--word", nonce],
        environment_variables={"ENDING": "!"},
        replica_count=1,
        base_output_dir=f"gs://{bucket_name}/out",
    )
    job.submit()
(package,) = [blob.name for blob in bucket.list_blobs() if blob.name.endswith(".tar.gz")]
deadline = time.time() + 120
while job.state not in (aiplatform.gapic.JobState.JOB_STATE_SUCCEEDED, aiplatform.gapic.JobState.JOB_STATE_FAILED):
    assert time.time() < deadline, job.state
    time.sleep(0.2)
assert job.state == aiplatform.gapic.JobState.JOB_STATE_SUCCEEDED, job.error
print("said", bucket.blob("out/model/model.txt").download_as_text())
