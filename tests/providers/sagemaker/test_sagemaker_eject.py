"""The files that ``cloudml eject`` writes: requests as boto3 and ``aws … --cli-input-json`` take them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from botocore_shapes import problems, service
from click.testing import CliRunner
from sagemaker_things import python_model

from cloudml.cli import main

PROJECT = """
version: 1
project: shop
jobs: {train: {command: "true", source: model}}
models: {fraud: {path: model}}
endpoints:
  shop-api:
    deployments: {blue: {model: fraud}, green: {model: fraud, env: {NEXT: "1"}}}
    traffic: {blue: 100}
    mirror: {green: 10}
    scale: {max: 2}
    capture: 1.0
    monitor: {schedule: "0 6 * * *"}
environments: {aws: {provider: sagemaker}}
"""
SERVICES = ("sagemaker", "application-autoscaling")
LATER = "<"  # only AWS can choose it


def test_each_file_is_a_request(
    account: Callable[[], Mapping[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: object
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in account().items():
        monkeypatch.setenv(name, value)
    python_model(tmp_path / "model", "1")
    Path("cloudml.yaml").write_text(PROJECT)
    answer = CliRunner().invoke(main, ["eject", "out", "-e", "aws"])
    assert answer.exit_code == 0, answer.output
    calls = [json.loads(file.read_text()) for file in sorted(Path("out/calls").iterdir())]
    found = []
    for call in calls:
        owners = [name for name in SERVICES if call["operation"] in service(name).operation_names]
        if owners:
            found.append(call["operation"])
            wrong = problems(call["operation"], call["document"], owners[0])
            assert all(LATER in problem for problem in wrong), wrong
    assert found == [
        "CreateTrainingJob",
        *("CreateModelPackageGroup", "CreateModelPackage"),
        *("CreateModel", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"),
        *("RegisterScalableTarget", "PutScalingPolicy", "RegisterScalableTarget", "PutScalingPolicy"),
        "AddTags",
        "CreateMonitoringSchedule",
    ]
