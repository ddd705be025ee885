"""A monitoring schedule that runs: captured records of a window of time in, the container's findings out.

The container's contract is that of AWS's "bring your own container" for Model Monitor.
"""

from __future__ import annotations

import json
import math
import shutil
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cloudml.emulation import Container
from cloudml.errors import CloudmlError, NotFound
from cloudml_sagemaker.emulator import endpoints, monitors
from cloudml_sagemaker.emulator.accounts import Document, Scope, now
from cloudml_sagemaker.emulator.containers import environment
from cloudml_sagemaker.emulator.monitors import Schedule
from cloudml_sagemaker.emulator.problems import DEFECTS, Refused
from cloudml_sagemaker.emulator.recording import recorder
from cloudml_sagemaker.emulator.services import Bucket, split
from cloudml_sagemaker.emulator.telemetry import PROCESSING, LogStream

LIMIT = 3600  # seconds, unless the definition says
NAMESPACE = "aws/sagemaker/Endpoints/data-metrics"
BASELINE = "/opt/ml/processing/baseline"
FORMAT = {"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}


class Fails(Exception):
    """The execution fails, with this reason."""


def run_due(scope: Scope) -> None:
    """Starts what is due."""
    hour = scope.world.timing.hour
    for schedule in [*scope.table(monitors.KIND).values()]:
        hours = schedule.hours
        passed = time.monotonic() - schedule.began
        busy = any(each["MonitoringExecutionStatus"] in monitors.EXECUTION for each in schedule.executions)
        due = not schedule.executions if hours is None else passed >= hours * hour
        if due and not busy and not schedule.stopped:
            schedule.began = time.monotonic()
            _begin(schedule)


def _begin(schedule: Schedule) -> None:
    summary = {
        "MonitoringScheduleName": schedule.name,
        "ScheduledTime": now(),
        "CreationTime": now(),
        "LastModifiedTime": now(),
        "MonitoringExecutionStatus": "Pending",
        "EndpointName": schedule.input["EndpointName"],
        "MonitoringType": schedule.config.get("MonitoringType", "DataQuality"),
    }
    schedule.executions.append(summary)
    schedule.scope.world.spawn(schedule.name, lambda: _Execution(schedule, summary).run())


class _Execution:
    """One run of a schedule."""

    def __init__(self, schedule: Schedule, summary: Document) -> None:
        self._schedule, self._summary, self._scope = schedule, summary, schedule.scope
        self._world = schedule.scope.world
        self._job = f"model-monitoring-{datetime.now(UTC):%Y%m%d%H%M}-{uuid.uuid4().hex[:12]}"
        self._folder = self._world.site.folder / self._scope.place("processing-job", self._job)
        self._id = self._folder.name
        self._bucket = Bucket(self._world.services, self._scope.account, self._scope.region)
        self._start, self._end = self._window()

    def _window(self) -> tuple[float, float]:
        """The time from which the data is: as the schedule's offsets say, or since the last run; whole seconds."""
        config, at = self._schedule.config.get("ScheduleConfig", {}), float(math.floor(time.time()))
        if "DataAnalysisStartTime" in config:
            end = 1.0 if self._schedule.hours is None else 0.0  # a single run, at once: what came in this second too
            return at + monitors.seconds(config["DataAnalysisStartTime"]), at + monitors.seconds(
                config["DataAnalysisEndTime"]
            ) + end
        start, self._schedule.since = self._schedule.since, at
        return float(math.floor(start)), at

    def run(self) -> None:
        try:
            status, reason = self._run(), None
        except Fails as failed:
            status, reason = "Failed", str(failed)
        except (OSError, CloudmlError, ClientError, BotoCoreError, Refused, *DEFECTS) as error:
            status, reason = "Failed", f"InternalServerError: {error}"
        shutil.rmtree(self._folder, ignore_errors=True)
        more = {"FailureReason": reason[:1024]} if reason else {}
        with self._scope.lock:
            self._summary.update({"MonitoringExecutionStatus": status, "LastModifiedTime": now(), **more})

    def _run(self) -> str:
        arn = self._scope.arn("processing-job", self._job)
        self._summary.update({"MonitoringExecutionStatus": "InProgress", "ProcessingJobArn": arn})
        data, result, output = (self._folder / name for name in ("data", "result", "output"))
        for folder in (data, result, output / "metrics/cloudwatch", self._folder / "config"):
            folder.mkdir(parents=True)
        self._fetch(data)
        mounts = {self._schedule.input["LocalPath"].rstrip("/"): data, "/opt/ml/output": output}
        mounts[self._result["LocalPath"].rstrip("/")] = result
        mounts["/opt/ml/config"] = self._folder / "config"
        baseline = self._baseline(mounts)
        code = self._watch(mounts, baseline)
        self._publish(output / "metrics/cloudwatch")
        self._store(result)
        message = output / "message"
        said = message.read_text(errors="replace") if message.is_file() else ""
        if code:
            raise Fails(f"AlgorithmError: {said[:900]}, exit code: {code}")
        return "CompletedWithViolations" if said.startswith("CompletedWithViolations") else "Completed"

    @property
    def _result(self) -> Document:
        found: Document = self._schedule.definition["MonitoringOutputConfig"]["MonitoringOutputs"][0]["S3Output"]
        return found

    def _fetch(self, folder: Path) -> None:
        """The records captured in the window, in the folders of their hours."""
        recorder(self._scope).flush()
        name = self._schedule.input["EndpointName"]
        endpoint = endpoints.find(self._scope, name)
        prefix = f"{endpoint.config['DataCaptureConfig']['DestinationS3Uri'].rstrip('/')}/{name}/"
        root, empty = split(prefix)[1], True
        for key in [str(each["Key"]) for each in self._bucket.list(prefix)]:
            lines = [line for line in self._bucket.read(f"s3://{split(prefix)[0]}/{key}").splitlines() if line]
            if within := [line for line in lines if self._start <= _inferred(line) < self._end]:
                empty, path = False, folder / key.removeprefix(root)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(line + b"\n" for line in within))
        if empty:
            raise Fails("Job inputs had no data")

    def _baseline(self, mounts: dict[str, Path]) -> dict[str, str]:
        """The baseline's files; their paths as variables."""
        config, paths = self._schedule.definition.get("BaselineConfig", {}), {}
        for name in ("constraints", "statistics"):
            uri = config.get(f"{name.title()}Resource", {}).get("S3Uri")
            if uri:
                folder = self._folder / name
                folder.mkdir()
                title = split(uri)[1].rpartition("/")[2]
                (folder / title).write_bytes(self._bucket.read(uri))
                mounts[f"{BASELINE}/{name}"] = folder
                paths[f"baseline_{name}"] = f"{BASELINE}/{name}/{title}"
        return paths

    def _watch(self, mounts: dict[str, Path], baseline: dict[str, str]) -> int | None:
        """Runs the container to its end; its exit code."""
        definition, containers = self._schedule.definition, self._world.site.containers
        app = definition["MonitoringAppSpecification"]
        variables = self._variables() | baseline
        for name, document in self._configuration(app, variables).items():
            (mounts["/opt/ml/config"] / name).write_text(json.dumps(document))
        container = Container(
            self._id,
            self._world.local(app["ImageUri"]),
            tuple(app.get("ContainerEntrypoint", ())),
            tuple(app.get("ContainerArguments", ())),
            environment(self._scope, bool(definition.get("NetworkConfig", {}).get("EnableNetworkIsolation")))
            | variables,
            mounts=mounts,
            timeout=float(definition.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", LIMIT)),
            grace=self._world.timing.grace,
        )
        stream = LogStream(self._scope, PROCESSING, f"{self._job}/algo-1-{int(time.time())}")
        try:
            containers.start(container)
        except NotFound as error:
            raise Fails(f"ClientError: Cannot pull the image: {error}") from error
        try:
            while (ran := containers.look(self._id)) and ran.running:
                if self._world.sleep(self._world.timing.tick * 2):
                    containers.stop(self._id)
            stream.pump(self._id, last=True)
        finally:
            containers.remove(self._id)
        return 137 if ran is None else ran.exit_code

    def _variables(self) -> dict[str, str]:
        own = {
            "dataset_format": json.dumps(FORMAT),
            "dataset_source": self._schedule.input["LocalPath"],
            "output_path": self._result["LocalPath"],
            "start_time": _time(self._start),
            "end_time": _time(self._end),
            "publish_cloudwatch_metrics": "Enabled",
            "sagemaker_endpoint_name": self._schedule.input["EndpointName"],
            "sagemaker_monitoring_schedule_name": self._schedule.name,
        }
        return {**own, **self._schedule.definition.get("Environment", {})}

    def _configuration(self, app: Document, variables: dict[str, str]) -> Document:
        return {
            "processingjobconfig.json": {
                "ProcessingJobArn": self._scope.arn("processing-job", self._job),
                "ProcessingJobName": self._job,
                "AppSpecification": app,
                "Environment": variables,
                "ProcessingResources": self._schedule.definition["MonitoringResources"],
                "RoleArn": self._schedule.definition["RoleArn"],
            },
            "resourceconfig.json": {"current_host": "algo-1", "hosts": ["algo-1"]},
        }

    def _store(self, folder: Path) -> None:
        hour = time.strftime("%Y/%m/%d/%H", time.gmtime(self._summary["ScheduledTime"]))
        place = f"{self._schedule.input['EndpointName']}/{self._schedule.name}/{hour}"
        self._bucket.write_folder(f"{self._result['S3Uri'].rstrip('/')}/{place}", folder)

    def _publish(self, folder: Path) -> None:
        """The metrics that the container wrote, one JSON object in a line."""
        data: list[Any] = []
        for path in sorted(folder.glob("*.jsonl")):
            for line in path.read_text(errors="replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):  # a line that is none is none
                    each = json.loads(line)
                    data.append({"MetricName": each["MetricName"], "Value": float(each["Value"])})
        dimensions = [
            {"Name": "Endpoint", "Value": self._schedule.input["EndpointName"]},
            {"Name": "MonitoringSchedule", "Value": self._schedule.name},
        ]
        if data:
            client = self._world.services.client("cloudwatch", self._scope.account, self._scope.region)
            named = [each | {"Dimensions": dimensions} for each in data]
            for index in range(0, len(named), 500):
                client.put_metric_data(Namespace=NAMESPACE, MetricData=named[index : index + 500])


def _inferred(line: bytes) -> float:
    """When a captured record was asked for, in whole seconds."""
    return datetime.fromisoformat(json.loads(line)["eventMetadata"]["inferenceTime"]).timestamp()


def _time(stamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp))
