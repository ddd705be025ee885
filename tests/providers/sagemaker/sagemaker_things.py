"""A provider that nobody can reach: for what is rendered without asking anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore_shapes import problems

from cloudml import specs
from cloudml.calls import NativeCaller
from cloudml.events import Events
from cloudml.labels import present
from cloudml.runtime.manifest import write_manifest
from cloudml.spi import Call, Reference, Subject
from cloudml.states import Key
from cloudml.waiting import Clock
from cloudml_sagemaker.plugin import Config, plugin

STACK, ACCOUNT, REGION = "shop-test", "123456789012", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/training"
BUCKET = "shop-bucket"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/cloudml-serve:1"
ROOT = f"s3://{BUCKET}/cloudml/{STACK}"


def config(**more: Any) -> Config:
    return Config.model_validate({"region": REGION, "role": ROLE, "bucket": BUCKET, "image": IMAGE, **more})


def profile(file: Path, env: Mapping[str, str]) -> Config:
    """An account as a profile of a credentials file, and the configuration that names it."""
    name = env["AWS_ACCESS_KEY_ID"]
    with file.open("a") as credentials:
        credentials.write(f"[{name}]\naws_access_key_id={name}\naws_secret_access_key={env['AWS_SECRET_ACCESS_KEY']}\n")
    own = {each: env[f"CLOUDML_SAGEMAKER_{each.upper()}"] for each in ("role", "bucket", "image")}
    return Config.model_validate({"region": env["AWS_REGION"], "profile": name, **own})


def python_model(folder: Path, expression: str, top: str = "") -> Path:
    """A model whose answers are an expression of ``row``."""
    folder.mkdir()
    (folder / "model.py").write_text(f"""{top}
class Model:
    def __init__(self, folder): pass
    def predict(self, rows): return [{expression} for row in rows]
""")
    write_manifest(folder)
    return folder


def caller(clock: Clock | None = None) -> NativeCaller:
    return NativeCaller("sagemaker", plugin.classify, clock or Clock(), Events([]), spread=lambda: 0.0)


def provider(**more: Any) -> Any:
    return plugin.connect(config(**more), caller())


def job_calls(name: str = "fraud-1a2b3c4d-1", **fields: Any) -> Sequence[Call]:
    """What makes a job."""
    want = specs.TrainingJob.model_validate({"command": "python train.py", **fields})
    return checked(provider().jobs.render(present(Key("job", name, STACK), want, None), None))


def job(name: str = "fraud-1a2b3c4d-1", **fields: Any) -> Mapping[str, Any]:
    """The request that makes a job, which botocore's model takes."""
    (call,) = job_calls(name, **fields)
    return call.document


def model_calls(name: str = "fraud", have: Any = None, **fields: Any) -> Sequence[Call]:
    want = specs.Model.model_validate(fields)
    return provider().models.render(present(Key("model", name, STACK), want, None), have)


def endpoint_calls(name: str = "fraud-api", have: Any = None, **fields: Any) -> Sequence[Call]:
    want = specs.Endpoint.model_validate(fields)
    named = {each.model: reference(each.model) for each in want.deployments.values()}
    return provider().endpoints.render(present(Key("endpoint", name, STACK), want, have, named), have)


def monitor_calls(name: str = "fraud-api", have: Any = None, **fields: Any) -> Sequence[Call]:
    shadows = fields.pop("shadows", ())
    want = specs.Monitor.model_validate({"endpoint": "fraud-api", **fields})
    subject = Subject(reference("fraud:1a2b3c4d"), 1795834254.7, (), shadows)
    return provider().monitors.render(present(Key("monitor", name, STACK), want, have, subject=subject), have)


def reference(text: str) -> Reference:
    family, _, spec = text.partition(":")
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{family}/3"
    sidecar = f"{ROOT}/models/{family}/{spec}.json"
    return Reference(family, spec, "3", arn, f"{ROOT}/runs/{family}-1/output/model/", sidecar, "sha256:" + "ab" * 32)


def checked(calls: Sequence[Call]) -> Sequence[Call]:
    """The calls, each of which botocore's model takes."""
    for call in calls:
        assert not problems(call.operation, call.document)
    return calls
