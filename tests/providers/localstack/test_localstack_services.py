"""What LocalStack answers, as SageMaker's jobs and plain boto3 use it."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_account import Account, eventually, unpacked
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from click.testing import CliRunner

from cloudml.cli import main
from cloudml.emulation.faults import Trouble

TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
DIGESTS = """
import hashlib, json, pathlib
data = pathlib.Path("/opt/ml/input/data/data")
found = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in data.iterdir()}
pathlib.Path("/opt/ml/model/found.json").write_text(json.dumps(found))
"""
TALKS = """
import time
for number in range(600):
    print(f"step {number} loss={1 / (number + 1)}", flush=True)
    time.sleep(0.1)
"""
PROJECT = """
version: 1
project: shop
jobs: {{train: {{command: "true"}}}}
models: {{fraud: {{from: jobs.train}}}}
endpoints: {{shop-api: {{model: fraud, capture: 1.0}}}}
environments: {{aws: {{provider: sagemaker, region: us-east-1, role: "{role}", bucket: {bucket}}}}}
"""


def signed(aws: Account, operation: str, key: str, **more: str) -> str:
    url: str = aws.s3.generate_presigned_url(operation, {"Bucket": aws.bucket, "Key": key, **more})
    return url


def test_a_job_reads_what_came_in_parts_and_by_a_presigned_address(aws: Account, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(b"0123456789abcdef" * 1_000_000)
    parts = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=6 << 20)
    aws.s3.upload_file(str(large), aws.bucket, "data/large.bin", Config=parts)
    head = aws.s3.head_object(Bucket=aws.bucket, Key="data/large.bin")
    assert head["ETag"].endswith('-3"'), "three parts"
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-localstack"] == "true"
    aws.open(signed(aws, "put_object", "data/small.txt", ContentType="application/octet-stream"), "PUT", b"!")

    job = aws.train("digests", DIGESTS, InputDataConfig=[aws.channel("data", "data/")])
    assert job["TrainingJobStatus"] == "Completed", job
    model = aws.open(signed(aws, "get_object", "out/digests/output/model.tar.gz"))
    found = json.loads(unpacked(model)["found.json"])
    written = {"large.bin": large.read_bytes(), "small.txt": b"!"}
    assert found == {name: hashlib.sha256(body).hexdigest() for name, body in written.items()}


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_nobody_reads_without_a_signature_or_after_its_end(aws: Account, version: str) -> None:
    aws.put("secret")
    url = f"https://{aws.bucket}.s3.amazonaws.com/secret"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        aws.open(url)
    client = aws.client("s3", config=Config(signature_version=version))
    wanted = {"Bucket": aws.bucket, "Key": "secret"}
    assert aws.open(client.generate_presigned_url("get_object", wanted)) == b"x"
    late = client.generate_presigned_url("get_object", wanted, ExpiresIn=1)
    time.sleep(1.2)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        aws.open(late)


def test_a_role_that_does_not_exist_trains_nothing(aws: Account) -> None:
    role = aws.role.replace("cloudml-sagemaker", "somebody-else")
    with pytest.raises(ClientError, match="Could not assume role"):
        aws.sm.create_training_job(**aws.job("refused", "print()", RoleArn=role))
    policy = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
    aws.client("iam").create_role(RoleName="somebody-else", AssumeRolePolicyDocument=policy)
    assert aws.train("taken", "print()", RoleArn=role)["TrainingJobStatus"] == "Completed"


def test_who_somebody_is_follows_from_the_keys_that_were_given_out(aws: Account) -> None:
    assert aws.client("sts").get_caller_identity()["Account"] == aws.id
    given = aws.client("sts").assume_role(RoleArn=aws.role, RoleSessionName="guest")["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    assert aws.client("sts", **keys).get_caller_identity()["Arn"].endswith(":assumed-role/cloudml-sagemaker/guest")
    aws.client("sagemaker", **keys).create_model_package_group(ModelPackageGroupName="by-a-guest")
    assert aws.sm.describe_model_package_group(ModelPackageGroupName="by-a-guest")
    for wrong in ({"aws_session_token": "another"}, {"aws_access_key_id": "AKIAZZZZZZZZZZZZZZZZ"}):
        with pytest.raises(ClientError, match="security token included in the request is invalid"):
            aws.client("sagemaker", **{**keys, **wrong}).list_models()
        with pytest.raises(ClientError, match="security token included in the request is invalid"):
            aws.client("sts", **{**keys, **wrong}).get_caller_identity()


def test_a_key_that_was_taken_back_opens_nothing(aws: Account) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="intern")
    made = iam.create_access_key(UserName="intern")["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    assert aws.client("s3", **keys).list_objects_v2(Bucket=aws.bucket)["KeyCount"] == 0
    iam.delete_access_key(UserName="intern", AccessKeyId=made["AccessKeyId"])
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        aws.client("s3", **keys).list_objects_v2(Bucket=aws.bucket)


def test_logs_are_read_while_the_job_runs_and_its_metrics_arrive(aws: Account) -> None:
    metric = {"Name": "loss", "Regex": r"loss=([0-9.]+)"}
    aws.sm.create_training_job(**aws.job("talks", TALKS, algorithm={"MetricDefinitions": [metric]}))
    group = "/aws/sagemaker/TrainingJobs"
    eventually(lambda: len(aws.lines(group, "talks/")) >= 3, "three lines")
    assert aws.sm.describe_training_job(TrainingJobName="talks")["TrainingJobStatus"] == "InProgress"
    found = aws.logs.filter_log_events(logGroupName=group, logStreamNamePrefix="talks/")["events"]
    assert found[1]["message"] == "step 1 loss=0.5"

    def highest() -> float | None:
        now = time.time()
        points = aws.client("cloudwatch").get_metric_statistics(
            Namespace=group,
            MetricName="loss",
            Dimensions=[{"Name": "TrainingJobName", "Value": "talks"}],
            StartTime=now - 600,
            EndTime=now + 60,
            Period=3600,
            Statistics=["Maximum"],
        )["Datapoints"]
        return max((point["Maximum"] for point in points), default=None)

    eventually(lambda: highest() == 1.0, "the first loss in CloudWatch")
    aws.sm.stop_training_job(TrainingJobName="talks")
    assert aws.ended("talks")["TrainingJobStatus"] == "Stopped"


def test_iam_takes_the_policy_of_a_plan(aws: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cloudml.yaml").write_text(PROJECT.format(role=aws.role, bucket=aws.bucket))
    answer = CliRunner().invoke(main, ["permissions", "-e", "aws"], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert len(document["Statement"]) > 5
    iam = aws.client("iam")
    arn = iam.create_policy(PolicyName="cloudml", PolicyDocument=answer.stdout)["Policy"]["Arn"]
    kept = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    assert kept == document
    wrong: Mapping[str, Any] = {**document, "Statement": [{**document["Statement"][0], "Action": "nonsense"}]}
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        iam.create_policy(PolicyName="wrong", PolicyDocument=json.dumps(wrong))


def test_what_localstack_cannot_do_is_refused_and_not_tried_again(aws: Account) -> None:
    watch = aws.client("cloudwatch")
    watch.put_metric_data(Namespace="mine", MetricData=[{"MetricName": "m", "Value": 1.0}])
    stat = {"Metric": {"Namespace": "mine", "MetricName": "m"}, "Period": 60, "Stat": "p99"}
    query, now = [{"Id": "a", "MetricStat": stat}], time.time()
    with pytest.raises(ClientError, match="LocalStack does not implement it") as refused:
        watch.get_metric_data(MetricDataQueries=query, StartTime=now - 3600, EndTime=now + 60)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_faults_meet_localstacks_services_too(aws: Account) -> None:
    aws.order(Trouble.THROTTLE, "PutObject", f"{aws.bucket}/slow")
    with pytest.raises(ClientError, match="SlowDown"):
        aws.put("slow")
    aws.put("slow")
    aws.order(Trouble.THROTTLE, "PutLogEvents")
    assert aws.train("unharmed", "print('heard')")["TrainingJobStatus"] == "Completed", "SageMaker's own calls"
    assert aws.lines("/aws/sagemaker/TrainingJobs", "unharmed") == ["heard"]


def test_accounts_do_not_see_each_other(aws: Account, running: Any) -> None:
    other = Account(running)
    try:
        aws.client("iam").create_user(UserName="mine")
        aws.client("sns").create_topic(Name="mine")
        assert other.client("iam").list_users()["Users"] == []
        assert other.client("sns").list_topics()["Topics"] == []
        assert aws.bucket not in [each["Name"] for each in other.s3.list_buckets()["Buckets"]]
        # ECR is moto's, and beside LocalStack's services in the same account.
        aws.client("ecr").create_repository(repositoryName="mine")
        assert other.client("ecr").describe_repositories()["repositories"] == []
    finally:
        other.close()
