"""Models and the model registry."""

from __future__ import annotations

import pytest
from aws_account import Account, archive, saying, variant
from botocore.exceptions import ClientError


def package(aws: Account, group: str, nonce: str = "packed", **more: object) -> str:
    uri = aws.put(f"packages/{nonce}.tar.gz", archive({"model.py": saying(nonce).encode()}))
    specification = {
        "Containers": [{"Image": aws.image, "ModelDataUrl": uri}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    arn: str = aws.sm.create_model_package(ModelPackageGroupName=group, InferenceSpecification=specification, **more)[
        "ModelPackageArn"
    ]
    return arn


def test_versions_count_up_and_are_approved(aws: Account) -> None:
    aws.sm.create_model_package_group(ModelPackageGroupName="fraud", ModelPackageGroupDescription="of cards")
    first = package(aws, "fraud", CustomerMetadataProperties={"auc": "0.9", "old": "x"})
    second = package(aws, "fraud", ModelApprovalStatus="Approved")
    assert (first.rpartition("/")[2], second.rpartition("/")[2]) == ("1", "2")
    aws.sm.update_model_package(
        ModelPackageArn=first,
        ModelApprovalStatus="Rejected",
        ApprovalDescription="too old",
        CustomerMetadataProperties={"by": "me"},
        CustomerMetadataPropertiesToRemove=["old"],
    )
    found = aws.sm.describe_model_package(ModelPackageName=first)
    assert found["ModelPackageStatus"] == "Completed"
    assert (found["ModelApprovalStatus"], found["ApprovalDescription"]) == ("Rejected", "too old")
    assert found["CustomerMetadataProperties"] == {"auc": "0.9", "by": "me"}
    assert found["ModelPackageVersion"] == 1
    listed = aws.sm.list_model_packages(ModelPackageGroupName="fraud", ModelApprovalStatus="Approved")
    assert [each["ModelPackageArn"] for each in listed["ModelPackageSummaryList"]] == [second]
    newest = aws.sm.list_model_packages(
        ModelPackageGroupName="fraud", SortBy="CreationTime", SortOrder="Descending", MaxResults=1
    )
    assert [each["ModelPackageVersion"] for each in newest["ModelPackageSummaryList"]] == [2]


def test_a_group_goes_when_it_is_empty(aws: Account) -> None:
    aws.sm.create_model_package_group(ModelPackageGroupName="family")
    with pytest.raises(ClientError, match="already exists"):
        aws.sm.create_model_package_group(ModelPackageGroupName="family")
    arn = package(aws, "family")
    with pytest.raises(aws.sm.exceptions.ConflictException):
        aws.sm.delete_model_package_group(ModelPackageGroupName="family")
    aws.sm.delete_model_package(ModelPackageName=arn)
    with pytest.raises(ClientError, match="does not exist"):
        aws.sm.describe_model_package(ModelPackageName=arn)
    aws.sm.delete_model_package_group(ModelPackageGroupName="family")
    with pytest.raises(ClientError, match="does not exist"):
        aws.sm.describe_model_package_group(ModelPackageGroupName="family")


def test_a_version_takes_no_tags_and_its_number_is_not_used_again(aws: Account) -> None:
    aws.sm.create_model_package_group(ModelPackageGroupName="counted")
    with pytest.raises(ClientError, match="Tags cannot be specified"):
        package(aws, "counted", Tags=[{"Key": "a", "Value": "b"}])
    first = package(aws, "counted", ClientToken="one")
    assert package(aws, "counted", ClientToken="one") == first
    aws.sm.delete_model_package(ModelPackageName=first)
    assert package(aws, "counted").endswith("/2")
    with pytest.raises(ClientError, match="not supported on versioned"):
        aws.sm.add_tags(ResourceArn=package(aws, "counted"), Tags=[{"Key": "a", "Value": "b"}])


def test_only_an_approved_version_is_deployed(aws: Account) -> None:
    aws.sm.create_model_package_group(ModelPackageGroupName="gated")
    arn = package(aws, "gated", "from the registry")
    container = {"ModelPackageName": arn}
    with pytest.raises(ClientError, match="not approved"):
        aws.sm.create_model(ModelName="gated", PrimaryContainer=container)
    aws.sm.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    aws.sm.create_model(ModelName="gated", PrimaryContainer=container, ExecutionRoleArn=aws.role)
    aws.config("gated", variant("v", "gated"))
    assert aws.endpoint("gated", "gated")["EndpointStatus"] == "InService"
    assert aws.ask("gated") == "from the registry"


def test_models_are_described_listed_and_deleted(aws: Account) -> None:
    aws.model("one", saying(1), WHO="me")
    found = aws.sm.describe_model(ModelName="one")
    assert found["PrimaryContainer"]["Environment"] == {"WHO": "me"}
    assert "VpcConfig" not in found
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        aws.sm.create_model(ModelName="one", PrimaryContainer={"Image": aws.image})
    assert [each["ModelName"] for each in aws.sm.list_models(NameContains="on")["Models"]] == ["one"]
    aws.sm.delete_model(ModelName="one")
    with pytest.raises(ClientError, match='Could not find model "arn:aws:sagemaker'):
        aws.sm.delete_model(ModelName="one")
    with pytest.raises(ClientError, match="Using non-ECR image"):
        aws.sm.create_model(ModelName="two", PrimaryContainer={"Image": "python:3.12"})
