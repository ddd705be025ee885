"""An account in the emulated AWS, as plain boto3 sees it through the proxy."""

from __future__ import annotations

import io
import json
import ssl
import tarfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cloudml.emulation.faults import Fault, Faults, Trouble
from cloudml.emulation.running import Running

DEADLINE = 60.0
TRAINING_IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312"
MODEL = """
import os
class Model:
    def predict(self, rows):
        return [NONCE for _ in rows]
def load(path):
    return Model()
"""


def eventually(look: Callable[[], Any], what: str = "") -> Any:
    """What ``look`` gives once it gives something."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in {DEADLINE:g} s: {what or look}")


@cache
def _session() -> boto3.Session:
    """One for all tests, because it remembers the services' models."""
    return boto3.Session()


class Account:
    """Clients, and the few steps that most tests begin with."""

    def __init__(self, running: Running) -> None:
        emulated = running.clouds["sagemaker"]
        self.faults: Faults = emulated.faults
        self.environment: Mapping[str, str] = {**running.environment, **emulated.cloud.account()}
        self.role = self.environment["CLOUDML_SAGEMAKER_ROLE"]
        self.bucket = self.environment["CLOUDML_SAGEMAKER_BUCKET"]
        self.image = self.environment["CLOUDML_SAGEMAKER_IMAGE"]
        self.id = self.role.split(":")[4]
        self._clients: dict[str, Any] = {}
        self.sm, self.s3 = self.client("sagemaker"), self.client("s3")
        self.runtime, self.logs = self.client("sagemaker-runtime"), self.client("logs")

    def client(self, service: str, region: str = "us-east-1", **more: Any) -> Any:
        """A client without retries: what the emulator answers first is what counts."""
        key = f"{service} {region} {more}"
        if key not in self._clients:
            config = Config(
                retries={"total_max_attempts": 1}, proxies={"https": self.environment["HTTPS_PROXY"]}, read_timeout=90
            ).merge(more.pop("config", Config()))
            credentials = {
                "aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
                "aws_secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"],
            }
            self._clients[key] = _session().client(
                service,
                region_name=region,
                config=config,
                verify=self.environment["AWS_CA_BUNDLE"],
                **{**credentials, **more},
            )
        return self._clients[key]

    def open(self, url: str, method: str = "GET", body: bytes | None = None) -> bytes:
        """An address asked by somebody who has no credentials, on the emulated cloud's network."""
        trusted = ssl.create_default_context(cafile=self.environment["AWS_CA_BUNDLE"])
        proxy = urllib.request.ProxyHandler({"https": self.environment["HTTPS_PROXY"]})
        opener = urllib.request.build_opener(proxy, urllib.request.HTTPSHandler(context=trusted))
        request = urllib.request.Request(url, body, {"Content-Type": "application/octet-stream"}, method=method)
        with opener.open(request, timeout=60) as answer:
            found: bytes = answer.read()
        return found

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def order(self, trouble: Trouble, operation: str, target: str = "*", times: int = 1, seconds: float = 0.0) -> None:
        self.faults.add(Fault(trouble, operation, target, times, seconds))

    def put(self, key: str, body: bytes = b"x") -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str = "") -> list[str]:
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", ())]

    def channel(self, name: str, prefix: str, **more: Any) -> dict[str, Any]:
        distribution = more.pop("distribution", "FullyReplicated")
        source = {
            "S3DataType": "S3Prefix",
            "S3Uri": f"s3://{self.bucket}/{prefix}",
            "S3DataDistributionType": distribution,
        }
        return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more}

    def job(self, name: str, code: str, **more: Any) -> dict[str, Any]:
        """A request that runs ``code``, which comes as a channel, in Python."""
        self.put(f"code/{name}/job.py", code.encode())
        channels = [*more.pop("InputDataConfig", ()), self.channel("code", f"code/{name}/")]
        algorithm = {
            "TrainingImage": TRAINING_IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/job.py"],
            **more.pop("algorithm", {}),
        }
        return {
            "TrainingJobName": name,
            "RoleArn": self.role,
            "AlgorithmSpecification": algorithm,
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "InputDataConfig": channels,
            **more,
        }

    def train(self, name: str, code: str, **more: Any) -> dict[str, Any]:
        self.sm.create_training_job(**self.job(name, code, **more))
        return self.ended(name)

    def ended(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.sm.describe_training_job(TrainingJobName=name)
            return None if found["TrainingJobStatus"] in ("InProgress", "Stopping") else found

        found: dict[str, Any] = eventually(look, f"{name} to end")
        return found

    def lines(self, group: str, prefix: str = "") -> list[str]:
        """Everything that was logged in a group."""
        try:
            streams = self.logs.describe_log_streams(logGroupName=group)["logStreams"]
        except ClientError:
            return []
        return [
            event["message"]
            for stream in streams
            if stream["logStreamName"].startswith(prefix)
            for event in self.logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]

    def model(self, name: str, code: str, **environment: str) -> str:
        """A model whose folder holds ``model.py``, in the universal image."""
        uri = self.put(f"models/{name}.tar.gz", archive({"model.py": code.encode()}))
        container = {"Image": self.image, "ModelDataUrl": uri, "Environment": environment}
        self.sm.create_model(ModelName=name, ExecutionRoleArn=self.role, PrimaryContainer=container)
        return name

    def config(self, name: str, *variants: Mapping[str, Any], **more: Any) -> str:
        self.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[*variants], **more)
        return name

    def endpoint(self, name: str, config: str, **more: Any) -> dict[str, Any]:
        self.sm.create_endpoint(EndpointName=name, EndpointConfigName=config, **more)
        return self.settled(name)

    def settled(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.sm.describe_endpoint(EndpointName=name)
            return found if found["EndpointStatus"] in ("InService", "Failed") else None

        found: dict[str, Any] = eventually(look, f"{name} to settle")
        return found

    def ask(self, name: str, **more: Any) -> Any:
        answer = self.runtime.invoke_endpoint(
            EndpointName=name, Body=json.dumps({"instances": [[1.0]]}), ContentType="application/json", **more
        )
        return json.loads(answer["Body"].read())["predictions"][0]


def variant(name: str, model: str, weight: float = 1.0, count: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count,
        "InitialVariantWeight": weight,
        **more,
    }


def archive(files: Mapping[str, bytes]) -> bytes:
    """A .tar.gz."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return body.getvalue()


def unpacked(body: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {each.name: found.read() for each in tar if (found := tar.extractfile(each))}


def saying(nonce: object) -> str:
    """The code of a model that answers ``nonce``."""
    return MODEL.replace("NONCE", repr(nonce))
