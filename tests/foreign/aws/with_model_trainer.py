"""Trains a local source folder with ModelTrainer. Arguments: nonce, image to train in, role."""

import io
import pathlib
import sys
import tarfile

import boto3
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode, StoppingCondition

nonce, image, role = sys.argv[1:]
source = pathlib.Path(__file__).with_name("trainer")
trainer = ModelTrainer(
    training_image=image,
    role=role,
    source_code=SourceCode(source_dir=str(source), entry_script="fit.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    hyperparameters={"nonce": nonce, "depth": 3},
    base_job_name="foreign-trainer",
    stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
)
trainer.train(input_data_config=[InputData(channel_name="rows", data_source=str(source))])
job = trainer._latest_training_job
job.refresh()
print("job", job.training_job_status, job.hyper_parameters["depth"])
bucket, _, key = job.model_artifacts.s3_model_artifacts.removeprefix("s3://").partition("/")
archive = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
with tarfile.open(fileobj=io.BytesIO(archive)) as files:
    print("left", files.extractfile("nonce").read().decode())
