"""The files that ``cloudml eject`` writes: requests as gcloud and the REST API take them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.cloud import aiplatform_v1
from google.protobuf import json_format

from cloudml.cli import main
from cloudml.emulation.running import Running

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


if shutil.which("gcloud"):

    def test_gcloud_takes_the_file_of_a_job_and_the_job_runs(
        running: Running, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the provider's page says; what the job reads is in the bucket, since cloudml ran it once."""
        monkeypatch.chdir(tmp_path)
        for variable in ("CLOUDML_VERTEX_PROJECT", "CLOUDML_VERTEX_BUCKET", "CLOUDSDK_CORE_PROJECT"):
            monkeypatch.setenv(variable, bucket)
        project, _, _ = PROJECT.partition("models:")
        Path("cloudml.yaml").write_text(
            f"{project}environments: {{gcp: {{provider: vertex}}}}\n".replace(", nodes: 2", "")
        )
        for command in (["eject", "out", "-e", "gcp"], ["apply", "-e", "gcp"]):
            answer = CliRunner().invoke(main, command)
            assert answer.exit_code == 0, answer.output
        (file,) = Path("out/calls").glob("*-job-CreateCustomJob.json")
        spec = json.loads(file.read_text())["document"]["customJob"]["jobSpec"]
        Path("job.json").write_text(json.dumps(spec))
        gcloud("ai", "custom-jobs", "create", "--display-name=by-hand", "--config=job.json")
        (made,) = json.loads(gcloud("ai", "custom-jobs", "list", "--filter=displayName=by-hand", "--format=json"))
        assert made["jobSpec"] == spec
        deadline = time.monotonic() + 120
        while made["state"] not in ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED"):
            assert time.monotonic() < deadline, made
            made = json.loads(gcloud("ai", "custom-jobs", "describe", made["name"], "--format=json"))
        assert made["state"] == "JOB_STATE_SUCCEEDED", made["error"]

    def gcloud(*arguments: str) -> str:
        done = subprocess.run(["gcloud", *arguments, "--quiet"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout
