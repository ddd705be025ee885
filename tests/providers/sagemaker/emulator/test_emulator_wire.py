"""What AWS's wire says of good and of bad requests, whatever they are about."""

from __future__ import annotations

import copy
import datetime
import json
import time
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest
from aws_account import Account
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import ListShape, MapShape, OperationModel, Shape, StringShape, StructureShape

from cloudml.emulation.faults import Trouble
from cloudml_sagemaker.emulator import emulator, shapes
from cloudml_sagemaker.emulator.cloud import OPERATIONS
from cloudml_sagemaker.emulator.problems import Refused

MODEL = shapes.service("sagemaker")


def example(shape: Shape, seen: tuple[str, ...] = ()) -> Any:
    """A value with every member that is not its own ancestor; texts have the right length, whatever their pattern."""
    if isinstance(shape, StructureShape):
        members = shape.members.items()
        chosen = [*members][:1] if shape.is_tagged_union else members
        return {name: example(each, (*seen, shape.name)) for name, each in chosen if each.name not in seen}
    if isinstance(shape, ListShape):
        return [example(shape.member, (*seen, shape.name))] * max(1, shape.metadata.get("min", 1))
    if isinstance(shape, MapShape):
        return {example(shape.key): example(shape.value, (*seen, shape.name))}
    if isinstance(shape, StringShape):
        return str(shape.enum[0]) if shape.enum else "a" * max(1, shape.metadata.get("min", 1))
    least = shape.metadata.get("min", 1)
    return {"boolean": True, "timestamp": 1.5, "blob": "eA=="}.get(shape.type_name, least)


def required(shape: Shape, value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every required member in a value."""
    if isinstance(shape, StructureShape):
        for name, each in value.items():
            if name in shape.required_members:
                yield (*path, name)
            yield from required(shape.members[name], each, (*path, name))
    elif isinstance(shape, ListShape):
        yield from required(shape.member, value[0], (*path, 0))


def without(value: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(value)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return changed


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_required_member_is_missed(name: str) -> None:
    operation: OperationModel = MODEL.operation_model(name)
    shape = operation.input_shape
    whole = example(shape)
    for path in required(shape, whole):
        with pytest.raises(Refused) as refused:
            shapes.check_request(operation, without(whole, path))
        assert f"Value 'null' at '{spelt(path)}' failed" in refused.value.message, refused.value.message


def spelt(path: tuple[Any, ...]) -> str:
    """A way into a request, as AWS writes it."""
    return ".".join("1.member" if step == 0 else f"{step[0].lower()}{step[1:]}" for step in path)


def test_every_pattern_of_the_models_can_be_used() -> None:
    for service in ("sagemaker", "sagemaker-runtime"):
        model = shapes.service(service)
        for name in model.shape_names:
            if pattern := model.shape_for(name).metadata.get("pattern"):
                shapes.compiled(pattern)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TrainingJobName": "under_score"}, "Member must satisfy regular expression pattern"),
        ({"TrainingJobName": "a" * 64}, "length less than or equal to 63"),
        ({"HyperParameters": {"a": "b" * 2501}}, "length less than or equal to 2500"),
        ({"RoleArn": "arn:aws:iam::nobody:role/some-role"}, "Member must satisfy regular expression pattern"),
        ({"RoleArn": "arn:aws:iam::999999999999:role/some"}, "Cross-account pass role is not allowed"),
        ({"Tags": [{"Key": "k" * 129, "Value": ""}]}, "length less than or equal to 128"),
        ({"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}, "length less than or equal to 50"),
        ({"Tags": [{"Key": "aws:mine", "Value": ""}]}, "not allowed for external use"),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
        ({"ResourceConfig": {"InstanceType": "ml.nothing", "InstanceCount": 1}}, "Member must satisfy enum value set"),
        ({"DebugRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]}, "outside cloudml's"),
        ({"Environment": {"9": "x"}}, "Member must satisfy regular expression pattern"),
    ],
)
def test_a_job_that_is_not_allowed(aws: Account, change: dict[str, Any], said: str) -> None:
    request = {**aws.job("bad", "pass"), **change}
    with pytest.raises(ClientError, match=said) as refused:
        aws.sm.create_training_job(**request)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert not aws.sm.list_training_jobs()["TrainingJobSummaries"]


def test_a_role_that_does_not_exist(aws: Account) -> None:
    role = aws.role.replace("cloudml-sagemaker", "nobody")
    with pytest.raises(ClientError, match="Could not assume role"):
        aws.sm.create_training_job(**{**aws.job("role", "pass"), "RoleArn": role})


def test_operations_that_are_not_emulated_are_refused_once(aws: Account) -> None:
    for call in (
        lambda: aws.sm.list_processing_jobs(),
        lambda: aws.client("service-quotas").list_service_quotas(ServiceCode="sagemaker"),
        lambda: aws.client("pricing").describe_services(),
        lambda: aws.client("application-autoscaling").describe_scaling_activities(ServiceNamespace="sagemaker"),
    ):
        with pytest.raises(ClientError, match="outside cloudml's emulator") as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "UnsupportedOperation"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_requests_that_nobody_signed(aws: Account) -> None:
    import urllib.error
    import urllib.request

    proxied = urllib.request.ProxyHandler({"http": aws.environment["HTTP_PROXY"]})
    opener = urllib.request.build_opener(proxied)
    for url in ("http://sts.amazonaws.com/?Action=GetCallerIdentity", "http://api.sagemaker.us-east-1.amazonaws.com/"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            opener.open(url, timeout=30)
        with refused.value:
            assert refused.value.code == 403
            assert b"MissingAuthenticationToken" in refused.value.read()


def test_keys_and_regions_that_are_wrong(aws: Account) -> None:
    stranger = aws.client("sagemaker", aws_access_key_id="AKIASOMEBODYELSE0000")
    with pytest.raises(ClientError, match="security token included in the request is invalid") as refused:
        stranger.list_models()
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"
    assert aws.client("sagemaker", "eu-west-1").list_models()["Models"] == []


def test_a_role_that_is_assumed_stays_in_its_account(aws: Account) -> None:
    given = aws.client("sts").assume_role(RoleArn=aws.role, RoleSessionName="a-session")["Credentials"]
    assumed = aws.client(
        "sagemaker",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    aws.sm.create_model_package_group(ModelPackageGroupName="mine")
    groups = assumed.list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert [each["ModelPackageGroupName"] for each in groups] == ["mine"]


def test_a_token_that_has_expired(aws: Account) -> None:
    from moto.sts.models import sts_backends

    given = aws.client("sts").assume_role(RoleArn=aws.role, RoleSessionName="a-session")["Credentials"]
    (session,) = [
        found
        for backend in sts_backends[aws.id].values()
        if (found := backend.get_assumed_role_from_access_key(given["AccessKeyId"]))
    ]
    session.expiration = datetime.datetime(2020, 1, 1)  # noqa: DTZ001: as moto has it
    for service, call, code in (
        ("sagemaker", "list_models", "ExpiredTokenException"),
        ("sts", "get_caller_identity", "ExpiredToken"),
        ("s3", "list_buckets", "ExpiredToken"),
    ):
        late = aws.client(
            service,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )
        with pytest.raises(ClientError) as refused:
            getattr(late, call)()
        assert refused.value.response["Error"]["Code"] == code


def test_accounts_do_not_see_each_other(aws: Account, running: Any) -> None:
    aws.sm.create_model_package_group(ModelPackageGroupName="mine")
    other = Account(running)
    assert other.id != aws.id
    assert not other.sm.list_model_package_groups()["ModelPackageGroupSummaryList"]
    other.close()


@pytest.mark.parametrize(
    ("trouble", "code", "status"),
    [
        (Trouble.THROTTLE, "ThrottlingException", 400),
        (Trouble.UNAVAILABLE, "ServiceUnavailable", 503),
        (Trouble.QUOTA, "ResourceLimitExceeded", 400),
    ],
)
def test_ordered_refusals_happen_once(aws: Account, trouble: Trouble, code: str, status: int) -> None:
    aws.order(trouble, "CreateModelPackageGroup", "faulty")
    with pytest.raises(ClientError) as refused:
        aws.sm.create_model_package_group(ModelPackageGroupName="faulty")
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    aws.sm.create_model_package_group(ModelPackageGroupName="faulty")


def test_a_lost_answer_is_done_all_the_same(aws: Account) -> None:
    aws.order(Trouble.LOSE, "CreateModelPackageGroup")
    with pytest.raises(BotoCoreError):
        aws.sm.create_model_package_group(ModelPackageGroupName="lost")
    assert aws.sm.describe_model_package_group(ModelPackageGroupName="lost")
    aws.order(Trouble.LOSE, "PutObject")
    with pytest.raises(BotoCoreError):
        aws.put("lost")
    assert aws.keys("lost") == ["lost"]


def test_a_slow_answer_and_a_slow_bucket(aws: Account) -> None:
    aws.order(Trouble.SLOW, "ListModels", seconds=0.3)
    began = time.monotonic()
    aws.sm.list_models()
    assert time.monotonic() - began >= 0.3
    aws.order(Trouble.THROTTLE, "PutObject", f"{aws.bucket}/slow")
    with pytest.raises(ClientError) as refused:
        aws.put("slow")
    assert refused.value.response["Error"]["Code"] == "SlowDown"


def test_s3_takes_large_and_strange_objects(aws: Account, tmp_path: Any) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"0123456789abcdef" * 1_000_000)
    aws.s3.upload_file(str(large), aws.bucket, "a folder/ü+%.bin")
    aws.s3.download_file(aws.bucket, "a folder/ü+%.bin", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    with pytest.raises(ClientError, match="404"):
        aws.s3.head_object(Bucket=aws.bucket, Key="nothing")


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_address_opens_until_its_end(aws: Account, version: str) -> None:
    client = aws.client("s3", config=Config(signature_version=version))
    aws.put("secret", b"known")
    wanted = {"Bucket": aws.bucket, "Key": "secret"}
    assert aws.open(client.generate_presigned_url("get_object", wanted)) == b"known"
    late = client.generate_presigned_url("get_object", wanted, ExpiresIn=1)
    time.sleep(1.2)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        aws.open(late)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        aws.open(f"https://{aws.bucket}.s3.amazonaws.com/secret")


def test_tags(aws: Account) -> None:
    arn = aws.sm.create_model_package_group(ModelPackageGroupName="tagged", Tags=[{"Key": "a", "Value": "1"}])[
        "ModelPackageGroupArn"
    ]
    aws.sm.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}])
    aws.sm.delete_tags(ResourceArn=arn, TagKeys=["b"])
    assert aws.sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "3"}]
    with pytest.raises(ClientError, match="exceeds the limit of 50"):
        aws.sm.add_tags(ResourceArn=arn, Tags=[{"Key": f"k{n}", "Value": ""} for n in range(50)])
    with pytest.raises(ClientError, match="Could not find the resource"):
        aws.sm.list_tags(ResourceArn=arn + "-not")


def test_the_cloud_can_be_inspected_and_knows_its_evidence(aws: Account, running: Any) -> None:
    aws.sm.create_model_package_group(ModelPackageGroupName="seen")
    inspected = running.clouds["sagemaker"].cloud.inspect()
    assert inspected[f"{aws.id}/us-east-1"] == {"model-package-group": ["seen"]}
    assert inspected["calls"][aws.id] == {"CreateModelPackageGroup": 1}
    assert json.dumps(inspected)
    missing = {f"sagemaker {name}" for name in OPERATIONS} - emulator.evidence().keys()
    assert not missing
