"""What moto lacks, and this emulator therefore does itself: when one of these fails, moto has learnt it."""

from __future__ import annotations

import datetime

import pytest
from aws_account import Account
from botocore.exceptions import ClientError
from moto.ecr.responses import ECRResponse
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
