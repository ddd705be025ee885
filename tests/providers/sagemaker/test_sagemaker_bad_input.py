"""What somebody is told who asks SageMaker for what cannot be: one line, the way out, the right exit code."""

from __future__ import annotations

import contextlib
import datetime
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from cli_told import SERVED, CommandLine
from sagemaker_things import python_model

from cloudml.emulation.faults import Fault, Faults, Trouble
from cloudml.emulation.running import Running

line = CommandLine("sagemaker")
told = line.told
LONGEST = 600  # characters that a terminal's reader is to bear


@pytest.fixture
def here(
    aws: Running, account: Callable[[], Mapping[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, str]:
    """A folder with a model, in a new account; its variables."""
    aws.clouds["sagemaker"].faults.clear()
    env = account()
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    python_model(tmp_path / "model", "1")
    return env


def client(service: str, env: Mapping[str, str], **more: Any) -> contextlib.closing[Any]:
    keys = {name.lower(): env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return contextlib.closing(boto3.Session().client(service, **{"region_name": env["AWS_REGION"], **keys, **more}))


def options(**fields: str) -> str:
    inner = ", ".join(f"{name}: {value}" for name, value in fields.items())
    return f"options: {{sagemaker: {{{inner}}}}}"


def job(more: str) -> str:
    return f'jobs: {{train: {{command: "true", {more}}}}}'


def served(more: str) -> str:
    return f"models: {{fraud: {{path: model}}}}\nendpoints: {{shop-api: {{model: fraud, {more}}}}}"


class TestWhere:
    @pytest.mark.parametrize("region", ["Frankfurt", "eu-west"])
    def test_a_region_that_is_none(self, here: object, region: str) -> None:
        assert "region" in told(3, region=region)

    def test_a_region_that_there_is_not(self, here: object) -> None:
        said = told(3, region="mars-west-1")
        assert "there is no SageMaker in a region 'mars-west-1'" in said
        assert "AWS_REGION" in said
        assert "did you mean 'eu-central-1'?" in told(3, region="eu-centrl-1")

    def test_no_region(self, here: object, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name)
        said = told(3)
        assert "no region is set" in said
        assert "AWS_REGION" in said

    def test_a_bucket_in_another_region(self, here: Mapping[str, str]) -> None:
        name = f"elsewhere-{here['CLOUDML_SAGEMAKER_BUCKET']}"
        with client("s3", here, region_name="eu-west-1") as s3:
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        said = told(3, bucket=name)
        assert f"the bucket {name} is in eu-west-1, and this is us-east-1" in said
        assert "another 'bucket' or 'region'" in said

    def test_a_bucket_that_is_not_there(self, here: object) -> None:
        said = told(3, bucket="nobody-s-bucket")
        assert "there is no bucket nobody-s-bucket" in said
        assert "aws s3 mb s3://nobody-s-bucket --region us-east-1" in said


class TestWho:
    def test_no_credentials(self, here: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        said = told(4)
        assert "Unable to locate credentials" in said
        assert "aws sso login" in said
        assert len(said.splitlines()) == 2

    def test_a_profile_that_there_is_not(self, here: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "nobody-s")
        said = told(4)
        assert "The config profile (nobody-s) could not be found" in said
        assert "against ~/.aws/config" in said

    def test_a_key_of_nobody_s(self, here: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        said = told(4)
        assert "security token included in the request is invalid" in said
        assert "aws sso login" in said

    def test_a_token_that_has_expired(self, here: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        from moto.sts.models import sts_backends

        with client("sts", here) as sts:
            role = here["CLOUDML_SAGEMAKER_ROLE"]
            given = sts.assume_role(RoleArn=role, RoleSessionName="notebook")["Credentials"]
        backend = sts_backends[role.split(":")[4]]["aws"]
        session = backend.get_assumed_role_from_access_key(given["AccessKeyId"])
        session.expiration = datetime.datetime(2020, 1, 1)  # as moto has it
        for name, value in zip(("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"), given.values(), strict=False):
            monkeypatch.setenv(f"AWS_{name}", value)
        said = told(4)
        assert "expired" in said
        assert "aws sso login" in said

    def test_a_role_that_cannot_be_assumed(self, here: Mapping[str, str]) -> None:
        role = here["CLOUDML_SAGEMAKER_ROLE"].rpartition("/")[0] + "/somebody-else"
        for file in (line_of_a_job(), SERVED):
            said = told(4, file=file, role=f'"{role}"')
            assert "Could not assume role" in said
            assert "trust sagemaker.amazonaws.com" in said

    def test_a_role_that_is_no_role(self, here: object) -> None:
        assert "role" in told(3, role="training")


def line_of_a_job() -> str:
    return 'jobs: {train: {command: "true"}}'


class TestNames:
    def test_a_name_of_an_endpoint_that_is_too_long(self, here: object) -> None:
        file = f"models: {{fraud: {{path: model}}}}\nendpoints: {{{'a' * 33}: {{model: fraud}}}}"
        said = told(3, file=file)
        assert "a" * 33 in said

    def test_a_run_s_name_that_is_too_long(self, here: object) -> None:
        said = told(3, file=f'jobs: {{{"a" * 60}: {{command: "true"}}}}')
        assert "characters" in said


class TestMachines:
    @pytest.mark.parametrize(
        ("kind", "type", "place"),
        [
            ("job", "ml.huge.large", "resourceConfig.instanceType"),
            ("job", "ml.c6g.large", "resourceConfig.instanceType"),
            ("endpoint", "ml.huge.large", "productionVariants.1.member.instanceType"),
            ("endpoint", "ml.t3.medium", "productionVariants.1.member.instanceType"),
        ],
        ids=["none that trains", "one that only hosts", "none that hosts", "one that only trains"],
    )
    def test_an_instance_type_that_does_not_exist_or_not_for_this(
        self, here: object, kind: str, type: str, place: str
    ) -> None:
        more = options(instance_type=type)
        said = told(3, file=job(more) if kind == "job" else served(more))
        assert f"'{type}' at {place} is none of the " in said
        assert "options.sagemaker.instance_type" in said
        assert max(map(len, said.splitlines())) < LONGEST, said

    def test_a_quota_of_zero(self, here: object, faults: Faults) -> None:
        for operation, file in (("CreateTrainingJob", line_of_a_job()), ("CreateEndpoint", SERVED)):
            faults.add(Fault(Trouble.QUOTA, operation))
            said = told(1, file=file)
            assert "0 Instances" in said
            assert "Service Quotas" in said

    def test_no_machine_of_that_kind_just_now(self, here: object, faults: Faults) -> None:
        faults.add(Fault(Trouble.CAPACITY, "CreateTrainingJob"))
        assert "CapacityError" in told(6)


class TestWhatIsSent:
    def test_more_labels_than_tags(self, here: object) -> None:
        labels = ", ".join(f"label-{number}: x" for number in range(46))
        for file in (job(f"labels: {{{labels}}}"), served(f"labels: {{{labels}}}")):
            said = told(3, file=file)
            assert "SageMaker takes 50 tags" in said

    def test_a_parameter_of_more_than_256_characters_reaches_the_job_and_is_left_out_of_the_console(
        self, here: Mapping[str, str]
    ) -> None:
        long = "x" * 257
        code = "import sys; assert len(sys.argv[1]) == 257, sys.argv"
        command = f"[python, -c, '{code}', '{{params.long}}']"
        file = f"jobs: {{train: {{command: {command}, params: {{long: {long}, short: y}}}}}}"
        line.ended(0, file=file)
        with client("sagemaker", here) as sagemaker:
            (summary,) = sagemaker.list_training_jobs()["TrainingJobSummaries"]
            found = sagemaker.describe_training_job(TrainingJobName=summary["TrainingJobName"])
        assert found["HyperParameters"] == {"short": "y"}


class TestServers:
    def test_one_that_does_not_answer_ping_in_time(self, here: object, tmp_path: Path) -> None:
        slow = "import time\nprint('loading the weights of nobody', flush=True)\ntime.sleep(300)"
        python_model(tmp_path / "slow", "1", slow)
        said = told(6, file=served(options(startup_timeout="60")).replace("path: model", "path: slow"))
        assert "did not pass the ping health check" in said
        assert "loading the weights of nobody" in said

    def test_an_archive_with_a_path_that_leaves_it(self, here: Mapping[str, str]) -> None:
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())
        with client("s3", here) as s3:
            s3.put_object(Bucket=here["CLOUDML_SAGEMAKER_BUCKET"], Key="evil/model.tar.gz", Body=body.getvalue())
        uri = f"s3://{here['CLOUDML_SAGEMAKER_BUCKET']}/evil/model.tar.gz"
        file = f'models: {{fraud: {{path: "{uri}"}}}}\nendpoints: {{shop-api: {{model: fraud}}}}'
        said = told(6, file=file)
        assert "Failed to extract model data archive" in said
        assert "'../../escaped' leads out of the archive" in said
