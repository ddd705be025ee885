"""The files that ``cloudml eject`` writes: requests as gcloud and the REST API take them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from cloudml.cli import main

PROJECT = """
version: 1
project: shop
jobs: {train: {command: "true", nodes: 2}}
models: {fraud: {from: jobs.train}}
endpoints: {shop-api: {model: fraud}}
environments: {gcp: {provider: vertex}}
"""


def test_each_file_is_a_request(running: object, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("CLOUDML_VERTEX_PROJECT", "CLOUDML_VERTEX_BUCKET"):
        monkeypatch.setenv(variable, bucket)
    Path("cloudml.yaml").write_text(PROJECT)
    answer = CliRunner().invoke(main, ["eject", "out", "-e", "gcp"])
    assert answer.exit_code == 0, answer.output
    calls = [json.loads(file.read_text()) for file in sorted(Path("out/calls").iterdir())]
    native = [call for call in calls if hasattr(aiplatform_v1, f"{call['operation']}Request")]
    for call in native:
        kind = getattr(aiplatform_v1, f"{call['operation']}Request").pb()
        json_format.ParseDict(call["document"], kind())
    (job,) = (call["document"]["customJob"] for call in native if call["operation"] == "CreateCustomJob")
    spec = json_format.ParseDict(job["jobSpec"], aiplatform_v1.CustomJobSpec.pb()())  # gcloud's --config
    assert [pool.replica_count for pool in spec.worker_pool_specs] == [1, 1]
    wanted = ["CreateCustomJob", "UploadModel", "CreateEndpoint", "UploadModel", "DeployModel", "UpdateEndpoint"]
    assert [call["operation"] for call in native] == wanted
