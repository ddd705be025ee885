"""The states that the cloud's resources show on their way, at an ordered pace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_account import Account, eventually, saying, variant
from botocore.exceptions import ClientError

from cloudml.emulation.lifecycle import Lifecycle
from cloudml.emulation.running import start
from cloudml_sagemaker.emulator import emulator


@pytest.fixture(scope="module")
def slow() -> Iterator[Account]:
    """An AWS in which every state is shown twice."""
    with start([emulator], lifecycle=Lifecycle(reads=2)) as running:
        account = Account(running)
        yield account
        account.close()


def shown(look: object, last: tuple[str, ...]) -> list[str]:
    """The states in the order of their first look, to the last."""
    seen: list[str] = []

    def step() -> bool:
        state = look()  # type: ignore[operator]
        if state not in seen:
            seen.append(state)
        return state in last

    eventually(step)
    return seen


def test_a_job_shows_the_states_of_the_cloud(slow: Account) -> None:
    slow.sm.create_training_job(**slow.job("paced", "pass"))
    seen = shown(lambda: slow.sm.describe_training_job(TrainingJobName="paced")["SecondaryStatus"], ("Completed",))
    assert [state for state in seen if state != "Training"] == ["Starting", "Downloading", "Uploading", "Completed"]


def test_an_endpoint_is_created_updated_and_deleted_in_steps(slow: Account) -> None:
    slow.model("m", saying("m"))
    for name in ("c", "d"):
        slow.config(name, variant("v", "m"))
    slow.sm.create_endpoint(EndpointName="e", EndpointConfigName="c")

    def status() -> str:
        try:
            return str(slow.sm.describe_endpoint(EndpointName="e")["EndpointStatus"])
        except ClientError:
            return "gone"

    assert shown(status, ("InService",)) == ["Creating", "InService"]
    slow.sm.update_endpoint(EndpointName="e", EndpointConfigName="d")
    assert shown(status, ("InService",)) == ["Updating", "InService"]
    slow.sm.delete_endpoint(EndpointName="e")
    assert shown(status, ("gone",)) == ["Deleting", "gone"]


def test_a_package_becomes_completed(slow: Account) -> None:
    slow.sm.create_model_package_group(ModelPackageGroupName="g")
    specification = {
        "Containers": [{"Image": slow.image}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    arn = slow.sm.create_model_package(ModelPackageGroupName="g", InferenceSpecification=specification)[
        "ModelPackageArn"
    ]
    seen = shown(
        lambda: slow.sm.describe_model_package(ModelPackageName=arn)["ModelPackageStatus"], ("Completed", "Failed")
    )
    assert seen == ["Pending", "InProgress", "Completed"]


def test_a_reset_ends_what_runs_and_forgets_it() -> None:
    with start([emulator]) as running:
        account = Account(running)
        account.model("m", saying("m"))
        account.config("c", variant("v", "m"))
        account.endpoint("e", "c")
        account.sm.create_training_job(**account.job("long", "import time; time.sleep(600)"))
        eventually(
            lambda: account.sm.describe_training_job(TrainingJobName="long")["SecondaryStatus"] == "Training",
            "training",
        )
        account.s3.put_object(Bucket=account.bucket, Key="left/behind", Body=b"data")
        account.s3.put_bucket_versioning(Bucket=account.bucket, VersioningConfiguration={"Status": "Enabled"})
        account.s3.put_object(Bucket=account.bucket, Key="left/behind", Body=b"again")
        account.s3.create_bucket(Bucket=f"more-{account.id}")
        running.clouds["sagemaker"].cloud.reset()
        assert [each["Name"] for each in account.s3.list_buckets()["Buckets"]] == [account.bucket]
        assert "Versions" not in account.s3.list_object_versions(Bucket=account.bucket)
        assert not account.sm.list_training_jobs()["TrainingJobSummaries"]
        assert not account.sm.list_endpoints()["Endpoints"]
        assert account.train("long", "pass")["TrainingJobStatus"] == "Completed"
        account.close()
