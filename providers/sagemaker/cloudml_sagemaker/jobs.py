"""Training jobs. No image of ours is needed: the runtime comes as a channel, and the command is overridden."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudml import bundle, specs
from cloudml.content import MANIFEST
from cloudml.errors import ConfigError, NotFound
from cloudml.spi import Call, Caller, Effect, Goal, Operation, leaves, patched, spec_key
from cloudml.states import EMPTY, Failure, Key, Phase, State
from cloudml_sagemaker import limits
from cloudml_sagemaker.account import Account
from cloudml_sagemaker.artifacts import S3Artifacts, split
from cloudml_sagemaker.instances import GIB, choose, training_image
from cloudml_sagemaker.options import NAME, JobOptions
from cloudml_sagemaker.runs import Output, parameters, read
from cloudml_sagemaker.tags import HASH, ID, KIND, STACK, Tags, pages, tags

PHASES = {
    "InProgress": Phase.RUNNING,
    "Completed": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "Stopping": Phase.CANCELLING,
    "Stopped": Phase.CANCELLED,
    "Deleting": Phase.DELETING,
}
# The secondary status says more; what is not here goes by the status.
SECONDARY = {
    ("InProgress", "Pending"): Phase.PENDING,
    ("InProgress", "Starting"): Phase.PROVISIONING,
    ("InProgress", "LaunchingMLInstances"): Phase.PROVISIONING,
    ("InProgress", "PreparingTrainingStack"): Phase.PREPARING,
    ("InProgress", "Downloading"): Phase.PREPARING,
    ("InProgress", "DownloadingTrainingImage"): Phase.PREPARING,
    ("InProgress", "Interrupted"): Phase.PREEMPTED,
    ("InProgress", "Uploading"): Phase.FINALIZING,
    ("Stopped", "MaxRuntimeExceeded"): Phase.TIMED_OUT,
    ("Stopped", "MaxWaitTimeExceeded"): Phase.TIMED_OUT,
}
RUN = re.compile(r".+-[0-9a-f]{8}-[0-9]+")
# Channels of our own have a dash in their names, which no input's name has.
RUNTIME, SPEC, SOURCE = "cloudml-runtime", "cloudml-spec", "cloudml-source"
CHANNELS, ML = "/opt/ml/input/data", "/opt/ml"
CHECKPOINTS = f"{ML}/checkpoints"
DISK = 30  # GiB, where nothing is asked for
Channels = tuple[Sequence[Mapping[str, Any]], Mapping[str, str]]
METRIC = r"#cloudml\.metric name={} value=([0-9eE+\-.]+)"


class TrainingJobs:
    """A job's name is its run id, so that a second one of the same run cannot be made."""

    def __init__(self, account: Account, tags: Tags, artifacts: S3Artifacts, caller: Caller) -> None:
        self._account = account
        self._tags = tags
        self._artifacts = artifacts
        self._call = caller

    def observe(self, key: Key, want: specs.TrainingJob | None) -> State | None:
        sagemaker = self._account.clients["sagemaker"]
        job = self._call.find("DescribeTrainingJob", lambda: sagemaker.describe_training_job(TrainingJobName=key.name))
        if job is None:
            return None
        labels = self._tags.fixed(job["TrainingJobArn"], job["CreationTime"])
        phase = phase_of(job)
        output = read(self._artifacts, self.run(labels.get(STACK, key.stack), key.name)) if phase.settled else Output()
        facts = {**_facts(job, output), "files": output.files} if phase.settled else EMPTY
        return _state(key, job, labels, facts, _failure(job, phase))

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        name = {"TrainingJobName": goal.key.name}
        if goal.want is not None:
            return [] if have else [self._create(goal, goal.want)]
        if have is None:
            return []
        running = not have.phase.settled and have.phase not in (Phase.CANCELLING, Phase.DELETING)
        steps = [Call("StopTrainingJob", goal.key.name, name, "it runs", Effect.UPDATE)] if running else []
        if goal.cancel or have.phase is Phase.DELETING:
            return steps
        if have.facts.get("files"):
            objects = {"Prefix": f"{self.run(have.owner or have.key.stack, goal.key.name)}/", "Keep": "output/model/"}
            steps.append(Call("DeleteObjects", goal.key.name, objects, "they go with their run", Effect.DELETE))
        return [*steps, Call("DeleteTrainingJob", goal.key.name, name, "it is not wanted", Effect.DELETE)]

    def send(self, call: Call) -> Operation | None:
        if call.operation == "DeleteObjects":
            _, prefix = split(call.document["Prefix"])
            kept = prefix + call.document["Keep"]
            self._artifacts.remove(name for name in self._artifacts.names(prefix) if not name.startswith(kept))
            return None
        sagemaker = self._account.clients["sagemaker"]
        operations = {
            "CreateTrainingJob": sagemaker.create_training_job,
            "StopTrainingJob": sagemaker.stop_training_job,
            "DeleteTrainingJob": sagemaker.delete_training_job,
        }
        self._call.write(call.operation, lambda: operations[call.operation](**call.document))
        return None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"SageMaker's jobs have no operations: {operation.id}")

    def list(self, stack: str | None) -> Iterator[State]:
        """From one list, without what only a description tells; a job's tags are read once."""
        sagemaker = self._account.clients["sagemaker"]
        asked = {"SortBy": "CreationTime", "SortOrder": "Ascending", "MaxResults": 100}
        found = self._call.read(
            "ListTrainingJobs", lambda: [*pages(sagemaker, "list_training_jobs", "TrainingJobSummaries", **asked)]
        )
        for job in found:
            if not RUN.fullmatch(job["TrainingJobName"]):
                continue
            labels = self._tags.fixed(job["TrainingJobArn"], job["CreationTime"])
            if labels.get(KIND) == "job" and STACK in labels and stack in (None, labels[STACK]):
                yield _state(Key("job", job["TrainingJobName"], labels[STACK]), job, labels, EMPTY, None)

    def unsettled(self, stack: str) -> Mapping[str, Phase]:
        """A list of what is in progress: of a stopping job, and of one that has ended, a description tells."""
        sagemaker = self._account.clients["sagemaker"]
        asked = {"StatusEquals": "InProgress", "MaxResults": 100}
        found = self._call.read(
            "ListTrainingJobs", lambda: [*pages(sagemaker, "list_training_jobs", "TrainingJobSummaries", **asked)]
        )
        return {job["TrainingJobName"]: phase_of(job) for job in found}

    def run(self, stack: str, id: str) -> str:
        """Where everything that a run writes lies."""
        return self._account.uri(f"{stack}/runs/{id}")

    # -- the request -------------------------------------------------------------------------------------------------

    def _create(self, goal: Goal[specs.TrainingJob], want: specs.TrainingJob) -> Call:
        name, where = goal.key.name, str(goal.key)
        limits.check_name(name, where)
        options = JobOptions.model_validate(want.options.get(NAME, {}))
        env = {"CLOUDML_PLATFORM": NAME, **leaves(want.env)}
        limits.check_env(env, "job", where)
        instance = options.instance_type or choose(want.resources, where)
        channels, inputs = self._channels(goal.key.stack, want, where)
        run = self.run(goal.key.stack, name)
        document = {
            "TrainingJobName": name,
            "RoleArn": self._account.role,
            "AlgorithmSpecification": {
                "TrainingImage": want.image or training_image(self._account.region, instance),
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python3", f"{CHANNELS}/{RUNTIME}/{bundle.NAME}"],
                "ContainerArguments": _arguments(name, want, inputs),
                **_metrics(want, where),
            },
            "HyperParameters": parameters(want.params),
            "InputDataConfig": channels,
            "OutputDataConfig": {
                "S3OutputPath": self._account.uri(f"{goal.key.stack}/runs"),
                "CompressionType": "NONE",  # a folder, whose manifest can be read and which a model can name
                **({"KmsKeyId": options.kms_key} if options.kms_key else {}),
            },
            "ResourceConfig": _machines(want, instance, options),
            "StoppingCondition": _limits(want, where),
            "Environment": env,
            "Tags": tags({**want.labels, **goal.labels}, where),
            **_retries(want, run),
            **options.network(),
        }
        return Call("CreateTrainingJob", name, patched(document, want, NAME), "there is no such job")

    def _channels(
        self, stack: str, want: specs.TrainingJob, where: str
    ) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, str]]:
        """The input channels, and where each input is then found."""
        ours = {RUNTIME: self._account.uri(bundle.key(stack)), SPEC: self._account.uri(spec_key(stack, want))}
        if want.source:
            ours[SOURCE] = self._account.place(stack, want.source)
        given = {name: self._account.place(stack, value) for name, value in want.inputs.items()}
        limits.check_most(len(ours) + len(given), limits.MOST_CHANNELS, "inputs, our own included", where)
        channels = [_channel(name, uri) for name, uri in {**ours, **given}.items()]
        return channels, {name: _found(name, uri) for name, uri in given.items()}


def phase_of(job: Mapping[str, Any]) -> Phase:
    status = job["TrainingJobStatus"]
    return SECONDARY.get((status, job.get("SecondaryStatus", "")), PHASES.get(status, Phase.UNKNOWN))


def _state(
    key: Key, job: Mapping[str, Any], labels: Mapping[str, str], facts: Mapping[str, Any], failure: Failure | None
) -> State:
    return State(
        key=key,
        phase=phase_of(job),
        owner=labels.get(STACK) if labels.get(ID) == key.name else None,
        spec=labels.get(HASH),
        id=job["TrainingJobName"],
        failure=failure,
        labels=labels,
        facts=facts,
        created=job["CreationTime"].timestamp(),
        native=job,
    )


def _facts(job: Mapping[str, Any], output: Output) -> dict[str, Any]:
    """The folder of its model (None if it left none), and its metrics: its own record before SageMaker's."""
    at = str(job.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")).rstrip("/")
    final = {each["MetricName"]: each["Value"] for each in job.get("FinalMetricDataList", ())}
    return {
        "model": at if at and output.has(f"{at}/{MANIFEST}") else None,
        "metrics": {**final, **output.metrics},
        "billable": job.get("BillableTimeInSeconds"),
    }


def _failure(job: Mapping[str, Any], phase: Phase) -> Failure | None:
    if not phase.failed:
        return None
    status = job.get("SecondaryStatus") or job["TrainingJobStatus"]
    return Failure(job.get("FailureReason") or f"SageMaker stopped it: {status}", code=status)


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _found(name: str, uri: str) -> str:
    """Where a channel's only file is, if its URI names one: its last part has a suffix. Else the channel's folder."""
    file = uri.rpartition("/")[2]
    return f"{CHANNELS}/{name}/{file}" if "." in file else f"{CHANNELS}/{name}"


def _arguments(name: str, want: specs.TrainingJob, inputs: Mapping[str, str]) -> list[str]:
    options = ["train", "--id", name, "--spec", f"{CHANNELS}/{SPEC}/{specs.spec_hash(want)}.json"]
    if want.source:
        options += ["--source", f"{CHANNELS}/{SOURCE}"]
    for each, path in inputs.items():
        options += ["--input", f"{each}={path}"]
    options += ["--output", f"{ML}/output/data", "--model", f"{ML}/model", "--checkpoints", CHECKPOINTS]
    options += ["--failure", f"{ML}/output/failure"]
    if long := next((option for option in options if len(option) > limits.LONGEST_ARGUMENT), None):
        raise ConfigError(f"job {name}: SageMaker takes no argument of {len(long)} characters: {long[:60]}…")
    return options


def _metrics(want: specs.TrainingJob, where: str) -> dict[str, Any]:
    limits.check_most(len(want.metrics), limits.MOST_METRICS, "metrics", where)
    found = [{"Name": name, "Regex": METRIC.format(re.escape(name))} for name in want.metrics]
    return {"MetricDefinitions": found} if found else {}


def _machines(want: specs.TrainingJob, instance: str, options: JobOptions) -> dict[str, Any]:
    disk = math.ceil(want.resources.disk / GIB) if want.resources.disk else DISK
    machines = {"InstanceType": instance, "InstanceCount": want.nodes, "VolumeSizeInGB": disk}
    if options.volume_kms_key:
        machines["VolumeKmsKeyId"] = options.volume_kms_key
    if options.keep_alive is not None:
        machines["KeepAlivePeriodInSeconds"] = options.keep_alive
    return machines


def _limits(want: specs.TrainingJob, where: str) -> dict[str, int]:
    """Seconds of running, and of waiting: for spot capacity both together, else while the job is pending."""
    limits.check_range(want.timeout, 1, limits.LONGEST_RUN, "timeout", where)
    running, waiting = math.ceil(want.timeout), math.ceil(want.wait_timeout or 0)
    if want.spot:
        return {"MaxRuntimeInSeconds": running, "MaxWaitTimeInSeconds": running + (waiting or running)}
    if not waiting:
        return {"MaxRuntimeInSeconds": running}
    limits.check_range(waiting, *limits.PENDING, "wait_timeout", where)
    return {"MaxRuntimeInSeconds": running, "MaxPendingTimeInSeconds": waiting}


def _retries(want: specs.TrainingJob, run: str) -> dict[str, Any]:
    """Whoever may start again finds the checkpoints of before."""
    if not (want.spot or want.retries):
        return {}
    found: dict[str, Any] = {"CheckpointConfig": {"S3Uri": f"{run}/checkpoints", "LocalPath": CHECKPOINTS}}
    if want.spot:
        found["EnableManagedSpotTraining"] = True
    if want.retries:
        found["RetryStrategy"] = {"MaximumRetryAttempts": want.retries}
    return found
