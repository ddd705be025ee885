"""Monitoring schedules that run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_account import Account, eventually, saying, variant
from botocore.exceptions import ClientError

from cloudml.emulation import Emulator
from cloudml.emulation.running import start
from cloudml_sagemaker.emulator import cloud
from cloudml_sagemaker.emulator.accounts import Timing

# Each argument of a container has at most 256 characters, so the lines of its program are arguments.
RUN = ["python3", "-c", "import sys;exec(chr(10).join(sys.argv[1:]))"]
COUNT = (
    "import json, os, pathlib, sys",
    "files = sorted(pathlib.Path(os.environ['dataset_source']).rglob('*.jsonl'))",
    "n = sum(len(file.read_text().splitlines()) for file in files)",
    "pathlib.Path(os.environ['output_path'], 'n.json').write_text(str(n))",
)
VIOLATED = ("pathlib.Path('/opt/ml/output/message').write_text('CompletedWithViolations: drift')",)
METRIC = (
    'pathlib.Path(\'/opt/ml/output/metrics/cloudwatch/m.jsonl\').write_text(\'{"MetricName": "n", "Value": 3}\')',
)
BASELINE = ("print(pathlib.Path(os.environ['baseline_constraints']).read_text(), flush=True)",)
CONTRACT = (
    "names = ('start_time', 'end_time', 'sagemaker_endpoint_name', 'sagemaker_monitoring_schedule_name')",
    "print(all(os.environ[name] for name in names), os.path.exists('/opt/ml/config/processingjobconfig.json'))",
)
NOW = {"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "-PT0H"}


@pytest.fixture
def watched(aws: Account) -> str:
    return endpoint_that_captures(aws)


def endpoint_that_captures(aws: Account) -> str:
    aws.model("m", saying("m"))
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{aws.bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    }
    aws.config("watched", variant("v", "m"), DataCaptureConfig=capture)
    aws.endpoint("watched", "watched")
    return "watched"


def schedule(aws: Account, endpoint: str, *code: str, **more: Any) -> dict[str, Any]:
    """A schedule's configuration; the container runs ``code``."""
    definition = {
        "MonitoringInputs": [{"EndpointInput": {"EndpointName": endpoint, "LocalPath": "/opt/ml/processing/input"}}],
        "MonitoringOutputConfig": {
            "MonitoringOutputs": [
                {"S3Output": {"S3Uri": f"s3://{aws.bucket}/reports", "LocalPath": "/opt/ml/processing/output"}}
            ]
        },
        "MonitoringResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "MonitoringAppSpecification": {
            "ImageUri": aws.image,
            "ContainerEntrypoint": RUN,
            "ContainerArguments": [*code],
        },
        "RoleArn": aws.role,
        **more.pop("definition", {}),
    }
    return {"ScheduleConfig": NOW, "MonitoringType": "DataQuality", "MonitoringJobDefinition": definition, **more}


def ended(aws: Account, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = aws.sm.list_monitoring_executions(MonitoringScheduleName=name)["MonitoringExecutionSummaries"]
        done = [each for each in found if each["MonitoringExecutionStatus"] not in ("Pending", "InProgress")]
        return done[0] if done else None

    found: dict[str, Any] = eventually(look, "an execution to end")
    return found


def test_a_schedule_counts_what_was_captured(aws: Account, watched: str) -> None:
    for _ in range(3):
        aws.ask(watched)
    baseline = aws.put("baseline/constraints.json", b'{"version": 0}')
    more = {"BaselineConfig": {"ConstraintsResource": {"S3Uri": baseline}}}
    config = schedule(aws, watched, *COUNT, *METRIC, *BASELINE, *CONTRACT, definition=more)
    aws.sm.create_monitoring_schedule(MonitoringScheduleName="counts", MonitoringScheduleConfig=config)
    execution = ended(aws, "counts")
    assert execution["MonitoringExecutionStatus"] == "Completed", execution
    (key,) = aws.keys("reports/watched/counts/")
    assert json.loads(aws.get(f"s3://{aws.bucket}/{key}")) == 3
    found = aws.sm.describe_monitoring_schedule(MonitoringScheduleName="counts")
    assert found["MonitoringScheduleStatus"] == "Scheduled"
    assert found["LastMonitoringExecutionSummary"]["MonitoringExecutionStatus"] == "Completed"
    assert aws.lines("/aws/sagemaker/ProcessingJobs") == ['{"version": 0}', "True True"]
    metrics = aws.client("cloudwatch").list_metrics(Namespace="aws/sagemaker/Endpoints/data-metrics")["Metrics"]
    assert {"Name": "MonitoringSchedule", "Value": "counts"} in metrics[0]["Dimensions"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ((*COUNT, *VIOLATED), "CompletedWithViolations"),
        (("raise SystemExit(4)",), "Failed"),
    ],
    ids=["violations", "failure"],
)
def test_how_an_execution_can_end(aws: Account, watched: str, code: tuple[str, ...], status: str) -> None:
    aws.ask(watched)
    config = schedule(aws, watched, *code)
    aws.sm.create_monitoring_schedule(MonitoringScheduleName="ends", MonitoringScheduleConfig=config)
    execution = ended(aws, "ends")
    assert execution["MonitoringExecutionStatus"] == status
    assert ("exit code: 4" in execution.get("FailureReason", "")) == (status == "Failed")
    by_status = aws.sm.list_monitoring_executions(StatusEquals=status, EndpointName=watched)
    assert len(by_status["MonitoringExecutionSummaries"]) == 1


def test_a_schedule_without_data_fails(aws: Account, watched: str) -> None:
    config = schedule(aws, watched, *COUNT)
    aws.sm.create_monitoring_schedule(MonitoringScheduleName="empty", MonitoringScheduleConfig=config)
    assert ended(aws, "empty")["FailureReason"] == "Job inputs had no data"


def test_an_hourly_schedule_sees_each_record_once() -> None:
    quick = Emulator("sagemaker", lambda site: cloud.start(site, Timing(hour=1.0)), dict)
    with start([quick]) as running:
        aws = Account(running)
        endpoint = endpoint_that_captures(aws)
        hourly = {"ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"}}
        config = schedule(aws, endpoint, *COUNT, **hourly)
        aws.sm.create_monitoring_schedule(MonitoringScheduleName="hourly", MonitoringScheduleConfig=config)
        aws.ask(endpoint)

        def endings() -> list[tuple[str, str]]:
            found = aws.sm.list_monitoring_executions(SortBy="ScheduledTime", SortOrder="Ascending", MaxResults=100)
            done = found["MonitoringExecutionSummaries"]
            return [(each["MonitoringExecutionStatus"], each.get("FailureReason", "")) for each in done]

        empty = ("Failed", "Job inputs had no data")
        eventually(lambda: ("Completed", "") in endings() and endings()[-1] == empty, "a run with and one without data")
        assert endings().count(("Completed", "")) == 1
        (key,) = aws.keys("reports/")
        assert json.loads(aws.get(f"s3://{aws.bucket}/{key}")) == 1
        aws.close()


def test_a_schedule_stops_starts_and_goes(aws: Account, watched: str) -> None:
    daily = {"ScheduleConfig": {"ScheduleExpression": "cron(0 5 ? * * *)"}}
    config = schedule(aws, watched, *COUNT, **daily)
    arn = aws.sm.create_monitoring_schedule(
        MonitoringScheduleName="named", MonitoringScheduleConfig=config, Tags=[{"Key": "a", "Value": "b"}]
    )["MonitoringScheduleArn"]
    with pytest.raises(aws.sm.exceptions.ResourceInUse):
        aws.sm.create_monitoring_schedule(MonitoringScheduleName="named", MonitoringScheduleConfig=config)
    assert aws.sm.list_tags(ResourceArn=arn)["Tags"]
    aws.sm.stop_monitoring_schedule(MonitoringScheduleName="named")
    found = aws.sm.list_monitoring_schedules(EndpointName=watched, StatusEquals="Stopped")
    assert [each["MonitoringScheduleName"] for each in found["MonitoringScheduleSummaries"]] == ["named"]
    aws.sm.start_monitoring_schedule(MonitoringScheduleName="named")
    often = {"ScheduleConfig": {"ScheduleExpression": "cron(0 0/6 ? * * *)"}}
    aws.sm.update_monitoring_schedule(
        MonitoringScheduleName="named", MonitoringScheduleConfig=schedule(aws, watched, *COUNT, **often)
    )
    shown = aws.sm.describe_monitoring_schedule(MonitoringScheduleName="named")
    assert shown["MonitoringScheduleConfig"]["ScheduleConfig"] == often["ScheduleConfig"]
    aws.sm.delete_monitoring_schedule(MonitoringScheduleName="named")
    with pytest.raises(aws.sm.exceptions.ResourceNotFound):
        aws.sm.describe_monitoring_schedule(MonitoringScheduleName="named")


@pytest.mark.parametrize("expression", ["cron(7 * ? * * *)", "rate(1 hour)", "NOW"])
def test_expressions_that_are_not_schedules(aws: Account, watched: str, expression: str) -> None:
    config = schedule(aws, watched, *COUNT, ScheduleConfig={"ScheduleExpression": expression})
    with pytest.raises(ClientError, match="ValidationException"):
        aws.sm.create_monitoring_schedule(MonitoringScheduleName="bad", MonitoringScheduleConfig=config)
