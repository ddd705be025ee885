"""A training job that trains: inputs from S3, the container's file tree, the containers, and what they leave behind."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cloudml.emulation import Container, Ran
from cloudml.emulation.faults import Trouble
from cloudml.errors import CloudmlError, NotFound
from cloudml_sagemaker.emulator import pacing
from cloudml_sagemaker.emulator.accounts import Document, Scope, now
from cloudml_sagemaker.emulator.containers import environment
from cloudml_sagemaker.emulator.problems import DEFECTS
from cloudml_sagemaker.emulator.services import Bucket, pack
from cloudml_sagemaker.emulator.telemetry import TRAINING, LogStream, Metrics

LONGEST_REASON = 1024
ANSWERED = 0.02  # seconds until a job begins: whoever made it has the answer by then, instead of a share of the machine
LAZIEST = 0.2  # seconds between two looks at a job that runs for long
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading the training image",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Interrupted": "Training job interrupted: the spot instance was taken away",
    "Restarting": "Restarting training after an internal error",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "Completed": "Training job completed",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
    "Failed": "Training job failed",
}
NO_CAPACITY = "CapacityError: Unable to provision requested ML compute capacity. "
NO_CAPACITY += "Please retry using a different ML instance type."
INTERNAL = "InternalServerError: We encountered an internal error. Please try again."


class Fails(Exception):
    """The job fails, with this reason."""


@dataclass
class Job:
    """A training job: what was asked for, where it is, and what came of it."""

    scope: Scope
    request: Document
    created: float = field(default_factory=now)
    status: str = "InProgress"
    secondary: str = ""
    reason: str | None = None
    transitions: list[Document] = field(default_factory=list)
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None
    modified: float = field(default_factory=now)
    trained: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    before: pacing.Walk | None = None
    after: pacing.Walk | None = None
    going: pacing.Walk | None = None

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    @property
    def place(self) -> str:
        return self.scope.place("training-job", self.name)

    @property
    def output(self) -> str:
        return f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"

    @property
    def packed(self) -> bool:
        return str(self.request["OutputDataConfig"].get("CompressionType", "GZIP")) == "GZIP"

    def enter(self, secondary: str, status: str = "InProgress") -> None:
        """The next secondary status; the one before ends."""
        with self.scope.lock:
            self.modified = now()
            if self.transitions:
                self.transitions[-1]["EndTime"] = self.modified
            self.status, self.secondary = status, secondary
            message = self.reason if secondary == "Failed" and self.reason else MESSAGES[secondary]
            self.transitions.append({"Status": secondary, "StartTime": self.modified, "StatusMessage": message})


def run(job: Job) -> None:
    """Runs the job to its end; ``done`` is set in any case."""
    job.scope.world.sleep(ANSWERED)
    try:
        secondary, reason = _attempts(job)
    except Fails as failed:
        secondary, reason = "Failed", str(failed)
    except (LookupError, PermissionError, ValueError) as error:
        secondary, reason = "Failed", f"ClientError: {error}"
    except (OSError, CloudmlError, ClientError, BotoCoreError, *DEFECTS) as error:
        secondary, reason = "Failed", f"InternalServerError: {error!r}"
    status = {"Completed": "Completed", "Failed": "Failed"}.get(secondary, "Stopped")
    job.reason = reason[:LONGEST_REASON] if reason else None
    job.ended = now()
    job.enter(secondary, status)
    job.done.set()
    shutil.rmtree(job.scope.world.site.folder / job.place, ignore_errors=True)


def _attempts(job: Job) -> tuple[str, str | None]:
    """The last secondary status and the reason. Spot interruptions and internal errors begin anew."""
    tries = int(job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))
    limits = job.request.get("StoppingCondition", {})
    deadline = time.monotonic() + limits["MaxWaitTimeInSeconds"] if "MaxWaitTimeInSeconds" in limits else None
    faults = job.scope.world.site.faults
    while True:
        job.enter("Starting")
        if faults.take("CreateTrainingJob", job.name, Trouble.CAPACITY):
            raise Fails(NO_CAPACITY)
        if faults.take("CreateTrainingJob", job.name, Trouble.FAIL):
            if not tries:
                raise Fails(INTERNAL)
            tries -= 1
            job.enter("Restarting")
            continue
        if job.stopping.is_set():
            return "Stopped", None
        outcome = _Attempt(job).run()
        if outcome != "Interrupted":
            return outcome, None
        if deadline and time.monotonic() > deadline:
            return "MaxWaitTimeExceeded", None


class _Attempt:
    """One time on the machines: download, train, upload."""

    def __init__(self, job: Job) -> None:
        self._job, self._request = job, job.request
        self._world = job.scope.world
        self._containers = self._world.site.containers
        self._bucket = Bucket(self._world.services, job.scope.account, job.scope.region)
        count = int(self._request["ResourceConfig"].get("InstanceCount", 1))
        self._hosts = [f"algo-{index}" for index in range(1, count + 1)]
        self._folder = self._world.site.folder / job.place
        self._streams: dict[str, LogStream] = {}
        self._synced: dict[str, tuple[int, int]] = {}
        self._metrics = Metrics(job.scope)
        self._patterns = [
            (each["Name"], re.compile(each["Regex"]))
            for each in self._request["AlgorithmSpecification"].get("MetricDefinitions", ())
        ]

    def run(self) -> str:
        job = self._job
        job.enter("Downloading")
        job.started = job.started or now()
        shutil.rmtree(self._folder, ignore_errors=True)
        for host in self._hosts:
            self._lay_out(host)
        if job.stopping.is_set():
            return "Stopped"
        job.enter("Training")
        began = time.monotonic()
        try:
            outcome, exits = self._train(began)
        finally:
            job.trained += time.monotonic() - began
            for host in self._hosts:
                self._containers.remove(self._id(host))
        if self._world.ending.is_set():
            return "Stopped"
        self._sync()
        if outcome == "Interrupted":
            job.enter("Interrupted")
            return outcome
        self._upload(outcome, exits)
        return outcome or "Completed"

    def _id(self, host: str) -> str:
        return f"{self._job.place}-{host}"

    def _ml(self, host: str) -> Path:
        return self._folder / host / "ml"

    @property
    def _checkpoints(self) -> Path | None:
        return self._folder / "checkpoints" if self._request.get("CheckpointConfig") else None

    def _lay_out(self, host: str) -> None:
        """The files of /opt/ml of one host."""
        ml = self._ml(host)
        for name in ("input/config", "input/data", "model", "output/data"):
            (ml / name).mkdir(parents=True)
        channels = self._request.get("InputDataConfig", ())
        config = {
            "hyperparameters": self._request.get("HyperParameters", {}),
            "inputdataconfig": {each["ChannelName"]: self._described(each) for each in channels},
            "resourceconfig": {
                "current_host": host,
                "current_instance_type": self._request["ResourceConfig"]["InstanceType"],
                "current_group_name": "homogeneousCluster",
                "hosts": self._hosts,
                "instance_groups": [
                    {
                        "instance_group_name": "homogeneousCluster",
                        "instance_type": self._request["ResourceConfig"]["InstanceType"],
                        "hosts": self._hosts,
                    }
                ],
                "network_interface_name": "eth0",
            },
        }
        for name, document in config.items():
            (ml / f"input/config/{name}.json").write_text(json.dumps(document))
        for channel in channels:
            self._download(channel, self._hosts.index(host), ml / "input/data" / channel["ChannelName"])
        if self._checkpoints and not self._checkpoints.exists():
            self._checkpoints.mkdir()
            uri = self._request["CheckpointConfig"]["S3Uri"].rstrip("/") + "/"
            self._bucket.fetch(uri, self._checkpoints, [str(each["Key"]) for each in self._bucket.list(uri)])

    def _mode(self, channel: Document) -> str:
        return str(channel.get("InputMode") or self._request["AlgorithmSpecification"].get("TrainingInputMode", "File"))

    def _described(self, channel: Document) -> Document:
        source = channel["DataSource"]["S3DataSource"]
        found = {
            "TrainingInputMode": self._mode(channel),
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        return found | ({"ContentType": channel["ContentType"]} if "ContentType" in channel else {})

    def _download(self, channel: Document, host: int, folder: Path) -> None:
        source = channel["DataSource"]["S3DataSource"]
        uri = source["S3Uri"]
        folder.mkdir()
        try:
            self._check_region(uri, "Data download failed")
            keys = [str(each["Key"]) for each in self._bucket.list(uri)]
        except LookupError as error:
            raise Fails(f"ClientError: Data download failed:S3 bucket of {uri} does not exist") from error
        if not keys:
            message = f'No S3 objects found under S3 URL "{uri}" given in input data source.'
            raise Fails(f"ClientError: Data download failed:{message} Please ensure that the bucket exists.")
        if source.get("S3DataDistributionType") == "ShardedByS3Key":
            keys = keys[host :: len(self._hosts)]
        self._bucket.fetch(uri, folder, keys)

    def _check_region(self, uri: str, what: str) -> None:
        if region := self._bucket.elsewhere(uri):
            text = f"PermanentRedirect (301): The bucket is in this region: {region}. Please use this region to retry"
            raise Fails(f"ClientError: {what}:{text} the request")

    def _start(self, host: str) -> None:
        """The container of one host. What streams is fetched beforehand and cannot be written."""
        algorithm = self._request["AlgorithmSpecification"]
        entry, words = algorithm.get("ContainerEntrypoint"), algorithm.get("ContainerArguments")
        fast = {
            f"/opt/ml/input/data/{each['ChannelName']}": self._ml(host) / "input/data" / each["ChannelName"]
            for each in self._request.get("InputDataConfig", ())
            if self._mode(each) == "FastFile"
        }
        mounts = {"/opt/ml": self._ml(host), **fast}
        if self._checkpoints:
            local = self._request["CheckpointConfig"].get("LocalPath", "/opt/ml/checkpoints")
            mounts[local.rstrip("/")] = self._checkpoints
        own = {"TRAINING_JOB_NAME": self._job.name, "TRAINING_JOB_ARN": self._arn}
        self._containers.start(
            Container(
                self._id(host),
                self._world.local(algorithm["TrainingImage"]),
                tuple(entry or ()),
                tuple(words or (() if entry else ("train",))),
                environment(self._job.scope, bool(self._request.get("EnableNetworkIsolation")))
                | own
                | self._request.get("Environment", {}),
                cwd="/opt/ml",
                mounts=mounts,
                read_only=frozenset(fast),
                grace=self._world.timing.grace,
                host_name=host,
                peers=tuple(each for each in self._hosts if each != host),
            )
        )
        stream = f"{self._job.name}/{host}-{int(time.time())}"
        self._streams[host] = LogStream(self._job.scope, TRAINING, stream)

    @property
    def _arn(self) -> str:
        return self._job.scope.arn("training-job", self._job.name)

    def _train(self, began: float) -> tuple[str, dict[str, Ran]]:
        """Watches the containers to their end; what ended them, and how each ended."""
        for host in self._hosts:
            try:
                self._start(host)
            except NotFound as error:
                raise Fails(f"ClientError: Cannot pull algorithm container: {error}") from error
        cause, flushed = "", began
        while True:
            ran = {host: self._containers.look(self._id(host)) or Ran(False, 137) for host in self._hosts}
            running = [host for host, each in ran.items() if each.running]
            due = time.monotonic() - flushed >= self._world.timing.flush
            if due or not running:
                flushed = time.monotonic()
                self._observe(last=not running)
            if not running:
                break
            if not cause and (cause := self._cause(ran, began)):
                end = self._containers.remove if self._world.ending.is_set() else self._containers.stop
                for host in running:
                    end(self._id(host))
            self._world.sleep(min(self._world.timing.tick + (time.monotonic() - began) / 50, LAZIEST))
        return cause if cause != "Failed" else "", ran

    def _cause(self, ran: dict[str, Ran], began: float) -> str:
        """Why the containers are to be stopped now, if they are."""
        limits = self._request.get("StoppingCondition", {})
        spot = self._request.get("EnableManagedSpotTraining")
        if self._job.stopping.is_set() or self._world.ending.is_set():
            if self._job.status != "Stopping":
                self._job.enter("Stopping", "Stopping")
            return "Stopped"
        if any(not each.running and each.exit_code for each in ran.values()):
            return "Failed"
        spent = self._job.trained + time.monotonic() - began
        if spent > limits.get("MaxRuntimeInSeconds", 86_400):
            return "MaxRuntimeExceeded"
        if spot and self._world.site.faults.take("CreateTrainingJob", self._job.name, Trouble.PREEMPT):
            return "Interrupted"
        return ""

    def _observe(self, last: bool) -> None:
        """Logs, the metrics that stand in them, and checkpoints."""
        for host, stream in self._streams.items():
            for line in stream.pump(self._id(host), last):
                for name, pattern in self._patterns:
                    if match := pattern.search(line):
                        self._note(name, match)
        self._metrics.flush()
        self._sync()

    def _note(self, name: str, match: re.Match[str]) -> None:
        with suppress(ValueError, IndexError, TypeError):  # a group that is no number is no value
            value = float(match.group(1))
            self._job.metrics[name] = (value, now())
            self._metrics.add(TRAINING, {"TrainingJobName": self._job.name}, {name: value})

    def _sync(self) -> None:
        if self._checkpoints and self._checkpoints.exists():
            self._bucket.write_folder(self._request["CheckpointConfig"]["S3Uri"], self._checkpoints, self._synced)

    def _upload(self, outcome: str, exits: dict[str, Ran]) -> None:
        """The artifacts. Raises Fails with what the container says, or its exit code. Sets nothing of the job."""
        failed = {host: each for host, each in exits.items() if each.exit_code} if not outcome else {}
        if self._job.status == "InProgress":
            self._job.enter("Uploading")
        wanted: Sequence[tuple[str, bool]] = [("output/data", True), *([] if failed else [("model", self._job.packed)])]
        try:
            self._check_region(self._job.output, "Artifact upload failed")
            for name, packed in wanted:
                self._store(name, packed)
        except (LookupError, PermissionError) as error:
            raise Fails(f"ClientError: Artifact upload failed:{error}") from error
        for host, each in failed.items():
            raise Fails(self._failure(host, each))

    def _store(self, name: str, packed: bool) -> None:
        """What all hosts left in a folder, as one archive or one folder."""
        merged = self._folder / "merged" / name
        merged.mkdir(parents=True)
        for host in self._hosts:
            shutil.copytree(self._ml(host) / name, merged, dirs_exist_ok=True, symlinks=True)
        title = "model" if name == "model" else "output"
        if not packed:
            self._bucket.write_folder(f"{self._job.output}/{title}", merged)
        elif title == "model" or any(merged.iterdir()):
            archive = self._folder / f"{title}.tar.gz"
            pack(merged, archive)
            self._bucket.write_file(f"{self._job.output}/{title}.tar.gz", archive)

    def _failure(self, host: str, ran: Ran) -> str:
        path = self._ml(host) / "output/failure"
        text = path.read_text(errors="replace")[: LONGEST_REASON - 64].strip() if path.is_file() else ""
        text = text or "See the job's logs in CloudWatch for more information"
        return f"AlgorithmError: {text}, exit code: {ran.exit_code}"


Runner = Callable[[Job], None]


def describe_metrics(job: Job) -> list[dict[str, Any]]:
    """The last value of each metric."""
    return [{"MetricName": n, "Value": v, "Timestamp": t} for n, (v, t) in job.metrics.items()]
