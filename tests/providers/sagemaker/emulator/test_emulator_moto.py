"""What moto lacks, and this emulator therefore does itself: when one of these fails, moto has learnt it."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from aws_account import Account
from botocore.exceptions import ClientError
from moto.ecr.responses import ECRResponse
from moto.iam.responses import IamResponse
from moto.sagemaker.models import FakeTrainingJob, SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.models import SageMakerRuntimeBackend

from cloudml_sagemaker.emulator.cloud import OPERATIONS

LACKS = (
    *("stop_training_job", "delete_training_job", "update_endpoint"),
    *("create_monitoring_schedule", "update_monitoring_schedule", "describe_monitoring_schedule"),
    *("list_monitoring_schedules", "delete_monitoring_schedule", "start_monitoring_schedule"),
    *("stop_monitoring_schedule", "list_monitoring_executions", "delete_model_package", "delete_model_package_group"),
)


@pytest.mark.parametrize("name", LACKS)
def test_moto_does_not_have_the_operation(name: str) -> None:
    assert not hasattr(SageMakerResponse, name)
    assert name.replace("_", "") in {operation.lower() for operation in OPERATIONS}


def test_motos_jobs_do_not_train() -> None:
    code = FakeTrainingJob.__init__.__code__.co_consts
    assert "Completed" in code, "moto's jobs are no longer born Completed"


def test_motos_endpoints_answer_without_a_model() -> None:
    assert "invoke_endpoint" in vars(SageMakerRuntimeBackend)
    assert not hasattr(SageMakerModelBackend, "update_endpoint")


def test_motos_login_to_ecr_has_expired() -> None:
    assert 2015 in ECRResponse.get_authorization_token.__code__.co_consts


def test_motos_scalable_targets_leave_their_policies_behind_and_move_no_instances() -> None:
    from moto.applicationautoscaling.models import ApplicationAutoscalingBackend

    moto, id = ApplicationAutoscalingBackend("us-east-1", "123456789012"), "endpoint/nobody/variant/v"
    key = ("sagemaker", id, "sagemaker:variant:DesiredInstanceCount")
    target = moto.register_scalable_target(*key, 1, 2, "", "")
    assert not target.role_arn
    moto.put_scaling_policy("p", *key, {}, "TargetTrackingScaling")
    moto.deregister_scalable_target(*key)
    assert len(moto.policies) == 1
    with pytest.raises(Exception, match="No scalable target found") as refused:
        moto.deregister_scalable_target(*key)
    assert "ObjectNotFound" not in str(refused.value)


@pytest.mark.parametrize("stat", ["p99", "p50"])
def test_percentiles_are_refused_and_not_a_500(aws: Account, stat: str) -> None:
    watch = aws.client("cloudwatch")
    watch.put_metric_data(Namespace="mine", MetricData=[{"MetricName": "m", "Value": 1.0}])
    query = {
        "Id": "a",
        "MetricStat": {"Metric": {"Namespace": "mine", "MetricName": "m"}, "Period": 60, "Stat": stat},
    }
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)
    with pytest.raises(ClientError) as refused:
        watch.get_metric_data(MetricDataQueries=[query], StartTime=end - datetime.timedelta(hours=1), EndTime=end)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_alarms_do_not_evaluate(aws: Account) -> None:
    watch = aws.client("cloudwatch")
    watch.put_metric_alarm(
        AlarmName="quiet",
        Namespace="mine",
        MetricName="m",
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=0.5,
        ComparisonOperator="GreaterThanThreshold",
    )
    watch.put_metric_data(Namespace="mine", MetricData=[{"MetricName": "m", "Value": 5.0}])
    assert watch.describe_alarms(AlarmNames=["quiet"])["MetricAlarms"][0]["StateValue"] != "ALARM"


def test_moto_does_not_simulate_policies() -> None:
    assert not hasattr(IamResponse, "simulate_principal_policy")


def decisions(iam: Any, role: str, *actions: str) -> dict[str, str]:
    pages = iam.get_paginator("simulate_principal_policy").paginate(PolicySourceArn=role, ActionNames=actions)
    results = [each for page in pages for each in page["EvaluationResults"]]
    return {each["EvalActionName"]: each["EvalDecision"] for each in results}


def policy(statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def test_what_a_role_may_do_is_what_its_policies_say(aws: Account) -> None:
    iam = aws.client("iam")
    assert decisions(iam, aws.role, "s3:GetObject", "logs:PutLogEvents") == {
        "s3:GetObject": "allowed",
        "logs:PutLogEvents": "allowed",
    }
    role = iam.create_role(RoleName="narrow", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    statements = [
        {"Effect": "Allow", "Action": ["s3:*", "LOGS:Put*"], "Resource": "*"},
        {"Effect": "Deny", "NotAction": ["s3:G*", "logs:*", "ecr:*", "sts:*"], "Resource": ["*"]},
        {"Effect": "Allow", "Action": "sts:*", "Resource": "arn:aws:iam::1:role/one"},
    ]
    iam.put_role_policy(RoleName="narrow", PolicyName="own", PolicyDocument=policy(statements))
    conditional = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {"Bool": {"a": "b"}}}
    attached = iam.create_policy(PolicyName="more", PolicyDocument=policy(conditional))
    iam.attach_role_policy(RoleName="narrow", PolicyArn=attached["Policy"]["Arn"])
    assert decisions(iam, role, "s3:GetObject", "s3:PutObject", "logs:PutLogEvents", "ecr:BatchGetImage", "sts:A") == {
        "s3:GetObject": "allowed",
        "s3:PutObject": "explicitDeny",
        "logs:PutLogEvents": "allowed",
        "ecr:BatchGetImage": "implicitDeny",
        "sts:A": "implicitDeny",
    }
    with pytest.raises(ClientError, match="NoSuchEntity"):
        decisions(iam, f"{role}-not", "s3:GetObject")
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        decisions(iam, f"arn:aws:iam::{aws.id}:user/somebody", "s3:GetObject")
