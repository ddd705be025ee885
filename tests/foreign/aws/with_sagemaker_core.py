"""Trains and serves with the resources of sagemaker-core. Arguments: nonce, image to serve from, role, bucket."""

import json
import pathlib
import sys

import boto3
from sagemaker.core import shapes
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob

nonce, image, role, bucket = sys.argv[1:]
name = "foreign-core"
boto3.client("s3").upload_file(str(pathlib.Path(__file__).with_name("train.py")), bucket, "source/train.py")
job = TrainingJob.create(
    training_job_name=name,
    role_arn=role,
    algorithm_specification=shapes.AlgorithmSpecification(
        training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312",
        training_input_mode="File",
        container_entrypoint=["python3", "/opt/ml/input/data/source/train.py"],
    ),
    hyper_parameters={"nonce": nonce},
    input_data_config=[
        shapes.Channel(
            channel_name="source",
            data_source=shapes.DataSource(
                s3_data_source=shapes.S3DataSource(s3_data_type="S3Prefix", s3_uri=f"s3://{bucket}/source/")
            ),
        )
    ],
    output_data_config=shapes.OutputDataConfig(s3_output_path=f"s3://{bucket}/out"),
    resource_config=shapes.ResourceConfig(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    stopping_condition=shapes.StoppingCondition(max_runtime_in_seconds=600),
)
job.wait(poll=1, logs=False)
print("job", job.training_job_status)
Model.create(
    model_name=name,
    execution_role_arn=role,
    primary_container=shapes.ContainerDefinition(
        image=image, model_data_url=job.model_artifacts.s3_model_artifacts, environment={}
    ),
)
EndpointConfig.create(
    endpoint_config_name=name,
    production_variants=[
        shapes.ProductionVariant(
            variant_name="main", model_name=name, instance_type="ml.m5.large", initial_instance_count=1
        )
    ],
)
endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
endpoint.wait_for_status("InService", poll=1)
answer = endpoint.invoke(body=json.dumps({"instances": [[1.0]]}), content_type="application/json")
print("predictions", json.loads(answer.body.read())["predictions"])
print("found", [each.get_name() for each in Model.get_all()], [each.get_name() for each in TrainingJob.get_all()])
endpoint.delete()
