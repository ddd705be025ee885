"""Trains, registers, serves and tidies up with plain boto3. Arguments: nonce, image to serve from, role, bucket."""

import json
import pathlib
import sys

import boto3

nonce, image, role, bucket = sys.argv[1:]
s3, sagemaker, runtime = (boto3.client(name) for name in ("s3", "sagemaker", "sagemaker-runtime"))
code = pathlib.Path(__file__).with_name("train.py")
s3.upload_file(str(code), bucket, "source/train.py")
name = "foreign-boto3"
sagemaker.create_training_job(
    TrainingJobName=name,
    RoleArn=role,
    AlgorithmSpecification={
        "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312",
        "TrainingInputMode": "FastFile",
        "ContainerEntrypoint": ["python3", "/opt/ml/input/data/source/train.py"],
        "MetricDefinitions": [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+);"}],
    },
    HyperParameters={"nonce": nonce},
    InputDataConfig=[
        {
            "ChannelName": "source",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/source/"}},
        }
    ],
    OutputDataConfig={"S3OutputPath": f"s3://{bucket}/out"},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    StoppingCondition={"MaxRuntimeInSeconds": 600},
)
sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name, WaiterConfig={"Delay": 1})
job = sagemaker.describe_training_job(TrainingJobName=name)
print("job", job["TrainingJobStatus"], job["FinalMetricDataList"][0]["Value"])

sagemaker.create_model_package_group(ModelPackageGroupName=name)
package = sagemaker.create_model_package(
    ModelPackageGroupName=name,
    ModelApprovalStatus="Approved",
    InferenceSpecification={
        "Containers": [{"Image": image, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    },
)["ModelPackageArn"]
sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"ModelPackageName": package})
variant = {
    "VariantName": "main",
    "ModelName": name,
    "InstanceType": "ml.m5.large",
    "InitialInstanceCount": 1,
    "InitialVariantWeight": 1.0,
}
sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
answer = runtime.invoke_endpoint(
    EndpointName=name, ContentType="application/json", Body=json.dumps({"instances": [[1.0], [2.0]]})
)
print("predictions", json.loads(answer["Body"].read())["predictions"])
sagemaker.delete_endpoint(EndpointName=name)
sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})
sagemaker.delete_endpoint_config(EndpointConfigName=name)
sagemaker.delete_model(ModelName=name)
print("left", len(sagemaker.list_endpoints()["Endpoints"]), len(sagemaker.list_models()["Models"]))
