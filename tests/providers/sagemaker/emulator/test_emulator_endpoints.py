"""Endpoints that serve, change and fall back."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from aws_account import Account, eventually, saying, variant
from botocore.exceptions import ClientError

from cloudml.emulation.faults import Trouble

STUBBORN = "import time\ntime.sleep(600)\n"  # a model that never loads: /ping never answers
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
}
FAILING = """
class Model:
    def predict(self, rows):
        raise ValueError("not such rows")
def load(path):
    return Model()
"""

MORTAL = """
import os
class Model:
    def predict(self, rows):
        os._exit(1)
def load(path):
    return Model()
"""


@pytest.fixture
def up(aws: Account) -> Any:
    """An endpoint ``one`` that answers "blue"."""
    aws.model("blue", saying("blue"))
    aws.config("one", variant("v", "blue"))
    found = aws.endpoint("one", "one")
    assert found["EndpointStatus"] == "InService", found
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [each["VariantName"] for each in found["ProductionVariants"]]


def test_an_endpoint_answers_and_is_described(aws: Account, up: dict[str, Any]) -> None:
    assert aws.ask("one") == "blue"
    (found,) = up["ProductionVariants"]
    assert (found["CurrentWeight"], found["CurrentInstanceCount"]) == (1.0, 1)
    assert found["DeployedImages"][0]["SpecifiedImage"] == aws.image
    eventually(lambda: aws.lines("/aws/sagemaker/Endpoints/one", "v/"), "logs")
    aws.sm.delete_endpoint(EndpointName="one")
    eventually(lambda: not aws.sm.list_endpoints()["Endpoints"], "the endpoint to go")
    with pytest.raises(ClientError, match="Could not find endpoint") as missing:
        aws.sm.describe_endpoint(EndpointName="one")
    assert missing.value.response["Error"]["Code"] == "ValidationException"


def test_calls_are_counted_in_cloudwatch(aws: Account, up: dict[str, Any]) -> None:
    for _ in range(3):
        aws.ask("one")

    def total() -> float:
        points = aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[{"Name": "EndpointName", "Value": "one"}, {"Name": "VariantName", "Value": "v"}],
            StartTime=time.time() - 7200,
            EndTime=time.time() + 7200,
            Period=14400,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)

    eventually(lambda: total() == 3.0, "three invocations")


def test_variants_by_weight_and_by_name(aws: Account) -> None:
    aws.model("a", saying("a"))
    aws.model("b", saying("b"))
    aws.config("ab", variant("one", "a", 1.0), variant("two", "b", 0.0))
    aws.endpoint("ab", "ab")
    assert {aws.ask("ab") for _ in range(5)} == {"a"}
    assert aws.ask("ab", TargetVariant="two") == "b"
    with pytest.raises(ClientError, match="Variant three not found"):
        aws.ask("ab", TargetVariant="three")
    aws.sm.update_endpoint_weights_and_capacities(
        EndpointName="ab",
        DesiredWeightsAndCapacities=[
            {"VariantName": "one", "DesiredWeight": 0.0},
            {"VariantName": "two", "DesiredWeight": 2.0, "DesiredInstanceCount": 2},
        ],
    )
    found = aws.settled("ab")
    assert {aws.ask("ab") for _ in range(5)} == {"b"}
    assert [each["CurrentInstanceCount"] for each in found["ProductionVariants"]] == [1, 2]


def test_a_container_that_never_answers_fails_the_endpoint(aws: Account) -> None:
    aws.model("stubborn", STUBBORN)
    aws.config("stubborn", variant("v", "stubborn", ContainerStartupHealthCheckTimeoutInSeconds=60))
    found = aws.endpoint("stubborn", "stubborn")
    assert found["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in found["FailureReason"]
    with pytest.raises(ClientError, match="not found"):
        aws.ask("stubborn")


def test_a_model_that_is_not_there_fails_the_endpoint(aws: Account) -> None:
    container = {"Image": aws.image, "ModelDataUrl": f"s3://{aws.bucket}/nothing.tar.gz"}
    aws.sm.create_model(ModelName="nothing", PrimaryContainer=container)
    aws.config("nothing", variant("v", "nothing"))
    assert "Failed to download model data" in aws.endpoint("nothing", "nothing")["FailureReason"]


def test_an_update_moves_to_the_new_fleet(aws: Account, up: dict[str, Any]) -> None:
    aws.model("green", saying("green"))
    aws.config("two", variant("w", "green"))
    aws.sm.update_endpoint(EndpointName="one", EndpointConfigName="two")
    found = aws.settled("one")
    assert (found["EndpointConfigName"], names(found)) == ("two", ["w"])
    assert "PendingDeploymentSummary" not in found
    assert aws.ask("one") == "green"


def test_a_bad_update_is_undone_in_silence(aws: Account, up: dict[str, Any]) -> None:
    aws.model("broken", "raise RuntimeError('this model is broken')")
    aws.config("bad", variant("v", "broken"))
    aws.sm.update_endpoint(EndpointName="one", EndpointConfigName="bad")
    found = aws.settled("one")
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", "one")
    assert "FailureReason" not in found
    assert aws.ask("one") == "blue"
    assert "this model is broken" in " ".join(aws.lines("/aws/sagemaker/Endpoints/one"))


def test_a_rollback_can_be_ordered(aws: Account, up: dict[str, Any]) -> None:
    aws.config("same", variant("v", "blue"))
    aws.order(Trouble.ROLLBACK, "UpdateEndpoint", "one")
    aws.sm.update_endpoint(EndpointName="one", EndpointConfigName="same")
    assert aws.settled("one")["EndpointConfigName"] == "one"


@pytest.mark.parametrize(
    "routing",
    [
        {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": 3600},
        {"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": 3600},
    ],
    ids=["canary", "linear"],
)
def test_traffic_is_shifted_and_an_alarm_undoes_it(aws: Account, up: dict[str, Any], routing: dict[str, Any]) -> None:
    aws.model("green", saying("green"))
    aws.config("two", variant("w", "green"))
    watch = aws.client("cloudwatch")
    alarm = f"alarm-{aws.id}"
    watch.put_metric_alarm(
        AlarmName=alarm,
        MetricName="ModelLatency",
        Namespace="AWS/SageMaker",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    aws.sm.update_endpoint(
        EndpointName="one",
        EndpointConfigName="two",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
        },
    )

    def baking() -> bool:
        found = aws.sm.describe_endpoint(EndpointName="one")
        assert found["EndpointStatus"] == "Updating"
        pending = found["PendingDeploymentSummary"]
        assert pending["EndpointConfigName"] == "two"
        return [each["CurrentWeight"] for each in pending.get("ProductionVariants", ())] == [0.5]

    eventually(baking, "half of the traffic on the new fleet")
    answers: set[str] = set()
    eventually(lambda: answers.add(aws.ask("one")) or answers == {"blue", "green"}, "answers of both fleets")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        aws.sm.delete_endpoint(EndpointName="one")
    watch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    found = aws.settled("one")
    assert (found["EndpointConfigName"], aws.ask("one")) == ("one", "blue")


def test_a_shadow_gets_copies_that_nobody_sees(aws: Account) -> None:
    aws.model("real", saying("real"))
    aws.model("shadow", saying("shadow"))
    aws.config("shadowed", variant("v", "real"), ShadowProductionVariants=[variant("s", "shadow")])
    found = aws.endpoint("shadowed", "shadowed")
    assert [each["VariantName"] for each in found["ShadowProductionVariants"]] == ["s"]
    assert aws.ask("shadowed") == "real"

    def copied() -> bool:
        metrics = aws.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker", MetricName="Invocations")["Metrics"]
        return any({"Name": "VariantName", "Value": "s"} in metric["Dimensions"] for metric in metrics)

    eventually(copied, "the shadow's invocation")


def test_capture_writes_sagemakers_json_lines(aws: Account) -> None:
    aws.model("seen", saying("seen"))
    uri = f"s3://{aws.bucket}/captured"
    aws.config("seen", variant("v", "seen"), DataCaptureConfig={**CAPTURE, "DestinationS3Uri": uri})
    found = aws.endpoint("seen", "seen")
    assert found["DataCaptureConfig"]["CaptureStatus"] == "Started"
    aws.ask("seen", InferenceId="i-1", CustomAttributes="who=me")
    (key,) = eventually(lambda: aws.keys("captured/seen/v/"), "a captured file")
    assert key.endswith(".jsonl")
    assert key.count("/") == 7
    (line,) = aws.get(f"s3://{aws.bucket}/{key}").decode().splitlines()
    record = json.loads(line)
    assert record["captureData"]["endpointInput"] == {
        "observedContentType": "application/json",
        "mode": "INPUT",
        "data": '{"instances": [[1.0]]}',
        "encoding": "JSON",
    }
    assert json.loads(record["captureData"]["endpointOutput"]["data"])["predictions"] == ["seen"]
    meta = record["eventMetadata"]
    assert (meta["inferenceId"], meta["customAttributes"], record["eventVersion"]) == ("i-1", ["who=me"], "0")


def test_what_cannot_be_stored_yet_is_stored_later(aws: Account) -> None:
    """Whatever the emulator's own S3 refuses: here a bucket that is made only then."""
    bucket = f"{aws.bucket}-later"
    aws.model("seen", saying("seen"))
    capture = {**CAPTURE, "DestinationS3Uri": f"s3://{bucket}/captured"}
    aws.config("seen", variant("v", "seen"), DataCaptureConfig=capture)
    aws.endpoint("seen", "seen")
    aws.ask("seen")
    time.sleep(0.6)  # two passes of what stores
    aws.ask("seen")
    aws.s3.create_bucket(Bucket=bucket)

    def stored() -> int:
        keys = [each["Key"] for each in aws.s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
        return sum(len(aws.get(f"s3://{bucket}/{key}").splitlines()) for key in keys)

    eventually(lambda: stored() == 2, "both records")
    for each in aws.s3.list_objects_v2(Bucket=bucket)["Contents"]:
        aws.s3.delete_object(Bucket=bucket, Key=each["Key"])
    aws.s3.delete_bucket(Bucket=bucket)


def test_what_the_container_refuses_is_a_model_error(aws: Account) -> None:
    aws.model("failing", FAILING)
    aws.config("failing", variant("v", "failing"))
    aws.endpoint("failing", "failing")
    with pytest.raises(aws.runtime.exceptions.ModelError) as refused:
        aws.ask("failing")
    answer = refused.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert answer["OriginalStatusCode"] in (400, 500)
    assert "not such rows" in answer["OriginalMessage"]
    assert "from primary with message" in answer["Error"]["Message"]


def test_limits_of_a_call(aws: Account, up: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="exceeded 6291456 bytes") as large:
        aws.runtime.invoke_endpoint(EndpointName="one", Body=b"x" * 6_291_457)
    assert large.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    with pytest.raises(ClientError, match="InferenceId"):
        aws.ask("one", InferenceId="x" * 65)
    with pytest.raises(ClientError, match="Endpoint nobody of account"):
        aws.ask("nobody")
    aws.order(Trouble.CAPACITY, "InvokeEndpoint", "one")
    with pytest.raises(aws.runtime.exceptions.ModelNotReadyException):
        aws.ask("one")


def test_a_container_that_died_is_started_again(aws: Account) -> None:
    aws.model("mortal", MORTAL)
    aws.config("mortal", variant("v", "mortal"))
    aws.endpoint("mortal", "mortal")
    for _ in range(2):
        with pytest.raises(ClientError) as dead:
            aws.ask("mortal")
        assert dead.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424

        def listens() -> bool:
            return len([line for line in aws.lines("/aws/sagemaker/Endpoints/mortal") if "listening" in line]) >= 2

        eventually(listens, "the container to be started again")


def test_an_endpoint_config_needs_its_models(aws: Account) -> None:
    with pytest.raises(ClientError, match="Could not find model"):
        aws.config("no", variant("v", "no-model"))
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        aws.sm.create_endpoint(EndpointName="no", EndpointConfigName="no-config")
    aws.model("m", saying("m"))
    serverless = {
        "VariantName": "v",
        "ModelName": "m",
        "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
    }
    with pytest.raises(ClientError, match="outside cloudml's emulator") as refused:
        aws.config("serverless", serverless)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
