"""Application Auto Scaling of endpoints: moto's records, and instances that really come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aws_account import Account, eventually, saying, variant
from botocore.exceptions import ClientError

ID = "endpoint/one/variant/v"
KEY = {"ServiceNamespace": "sagemaker", "ResourceId": ID, "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
BY_CALLS = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}


@pytest.fixture
def scaling(aws: Account) -> Any:
    """The service, and an endpoint of one instance."""
    aws.model("m", saying("one"))
    aws.config("one", variant("v", "m"))
    aws.endpoint("one", "one")
    return aws.client("application-autoscaling")


def wanted(aws: Account) -> int:
    (found,) = aws.sm.describe_endpoint(EndpointName="one")["ProductionVariants"]
    return int(found["DesiredInstanceCount"])


def follow(scaling: Any, target: float, **more: Any) -> None:
    policy = {"TargetValue": target, "PredefinedMetricSpecification": BY_CALLS, **more}
    scaling.put_scaling_policy(
        PolicyName="p", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=policy, **KEY
    )


@contextmanager
def asking(ask: Callable[[], object]) -> Iterator[None]:
    """Somebody asks all the time."""
    enough = threading.Event()

    def go_on() -> None:
        while not enough.wait(0.02):
            ask()

    thread = threading.Thread(target=go_on)
    thread.start()
    yield
    enough.set()
    thread.join()


def test_a_count_outside_the_limits_moves_inside(aws: Account, scaling: Any) -> None:
    scaling.register_scalable_target(**KEY, MinCapacity=2, MaxCapacity=3)
    eventually(lambda: wanted(aws) == 2 and aws.settled("one")["ProductionVariants"][0]["CurrentInstanceCount"] == 2)
    scaling.register_scalable_target(**KEY, MinCapacity=1, MaxCapacity=1)
    eventually(lambda: wanted(aws) == 1, "one instance again")


def test_calls_over_the_target_bring_instances_and_none_take_them_away(aws: Account, scaling: Any) -> None:
    scaling.register_scalable_target(**KEY, MinCapacity=1, MaxCapacity=2)
    follow(scaling, 2.0, ScaleOutCooldown=0, ScaleInCooldown=0)
    with asking(lambda: aws.ask("one")):
        eventually(lambda: wanted(aws) == 2, "a second instance")
    aws.settled("one")
    eventually(lambda: wanted(aws) == 1, "the end of it, after fifteen quiet minutes")


def test_a_variant_that_is_scaled_is_neither_removed_nor_given_another_type(aws: Account, scaling: Any) -> None:
    scaling.register_scalable_target(**KEY, MinCapacity=1, MaxCapacity=2)
    aws.config("other", variant("w", "m"))
    with pytest.raises(ClientError, match="deregister it as a scalable target"):
        aws.sm.update_endpoint(EndpointName="one", EndpointConfigName="other")
    scaling.deregister_scalable_target(**KEY)
    aws.sm.update_endpoint(EndpointName="one", EndpointConfigName="other")
    assert aws.settled("one")["EndpointConfigName"] == "other"


def test_policies_go_with_their_target_and_targets_with_their_endpoint(aws: Account, scaling: Any) -> None:
    def left() -> list[Any]:
        targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[ID])["ScalableTargets"]
        policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=ID)["ScalingPolicies"]
        return [*targets, *policies]

    scaling.register_scalable_target(**KEY, MinCapacity=1, MaxCapacity=2)
    follow(scaling, 2.0)
    assert len(left()) == 2
    scaling.deregister_scalable_target(**KEY)
    assert left() == []
    scaling.register_scalable_target(**KEY, MinCapacity=1, MaxCapacity=2)
    follow(scaling, 2.0)
    aws.sm.delete_endpoint(EndpointName="one")
    assert left() == []


def test_what_cannot_be_scaled_is_refused(aws: Account, scaling: Any) -> None:
    other = KEY | {"ResourceId": "endpoint/one/variant/nobody"}
    with pytest.raises(ClientError, match="Could not find"):
        scaling.register_scalable_target(**other, MinCapacity=1, MaxCapacity=2)
    with pytest.raises(ClientError, match="Maximum capacity"):
        scaling.register_scalable_target(**KEY, MinCapacity=2, MaxCapacity=1)
    for refused in (lambda: follow(scaling, 2.0), lambda: scaling.deregister_scalable_target(**KEY)):
        with pytest.raises(ClientError, match="No scalable target") as found:
            refused()
        assert found.value.response["Error"]["Code"] == "ObjectNotFoundException"
