"""The policy of a stack: what it allows, and what it does not."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from sagemaker_things import ACCOUNT, BUCKET, REGION, ROLE, config

from cloudml.cli import main
from cloudml.spi import Scope
from cloudml_sagemaker.permissions import policy

PROJECT = f"""
version: 1
project: shop
jobs: {{train: {{command: "true"}}}}
endpoints: {{shop-api: {{model: fraud}}}}
environments: {{aws: {{provider: sagemaker, region: {REGION}, role: "{ROLE}", bucket: {BUCKET}}}}}
"""


def test_every_resource_is_named() -> None:
    found = policy(config(), Scope("shop-aws", {"job": ["shop-train"], "model": ["fraud"], "endpoint": ["shop-api"]}))
    statements = {each["Sid"]: each for each in found["Statement"]}
    sagemaker = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
    assert statements["Jobs"]["Resource"] == [f"{sagemaker}:training-job/shop-train-*"]
    assert statements["Models"]["Resource"] == [
        f"{sagemaker}:model-package-group/fraud",
        f"{sagemaker}:model-package/fraud/*",
    ]
    assert statements["Artifacts"]["Resource"] == [f"arn:aws:s3:::{BUCKET}/cloudml/shop-aws/*"]
    assert statements["Artifacts"]["Action"] == [
        *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
    ]
    assert statements["Role"]["Resource"] == [ROLE]
    wild = [name for name, each in statements.items() if each["Resource"] == ["*"]]
    assert wild == ["Lists", "ScalingLists", "EndpointMetrics"], "what AWS cannot limit to a resource"


def test_what_a_file_does_not_have_needs_no_permission() -> None:
    found = policy(config(), Scope("shop-aws", {"job": ["shop-train"]}))
    assert {each["Sid"] for each in found["Statement"]} == {"Lists", "Bucket", "Artifacts", "Jobs", "JobLogs", "Role"}


def test_what_is_not_known_is_a_wildcard(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "CLOUDML_SAGEMAKER_ROLE", "CLOUDML_SAGEMAKER_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    found = policy(config(region=None, role=None, bucket=None), Scope("shop-aws", {"job": ["shop-train"]}))
    statements = {each["Sid"]: each for each in found["Statement"]}
    assert statements["Jobs"]["Resource"] == ["arn:aws:sagemaker:*:*:training-job/shop-train-*"]
    assert statements["Bucket"]["Resource"] == ["arn:aws:s3:::sagemaker-*-*"]


def test_the_command_prints_it_and_asks_nobody(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    with open("cloudml.yaml", "w") as file:
        file.write(PROJECT)
    answer = CliRunner().invoke(main, ["permissions", "-e", "aws"])
    assert answer.exit_code == 0, answer.output
    assert {each["Sid"] for each in json.loads(answer.output)["Statement"]} >= {"Jobs", "Endpoints", "Role"}
    assert "model-package" not in answer.output
    wrapped = json.loads(CliRunner().invoke(main, ["permissions", "-e", "aws", "-o", "json"]).output)
    assert wrapped["policy"] == json.loads(answer.output), "IAM takes no other field in the policy itself"
