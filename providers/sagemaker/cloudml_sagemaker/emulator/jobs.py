"""The operations on training jobs."""

from __future__ import annotations

import re
from typing import Any

from cloudml_sagemaker.emulator import pacing, roles, shapes
from cloudml_sagemaker.emulator.accounts import Document, Scope, known
from cloudml_sagemaker.emulator.listing import listed
from cloudml_sagemaker.emulator.problems import Refused, invalid, outside
from cloudml_sagemaker.emulator.training import Job, describe_metrics, run

KIND = "training-job"
MISSING = "Requested resource not found."
# What changes how a training runs, and is not carried out here; whatever else is asked for is shown again.
OUTSIDE = ("DebugRuleConfigurations", "ServerlessJobConfig", "ModelPackageConfig", "ProfilerRuleConfigurations")


def create(scope: Scope, request: Document) -> Document:
    name = request["TrainingJobName"]
    _check(request)
    roles.check(scope, request["RoleArn"])
    arn = scope.arn(KIND, name)
    with scope.lock:
        if name in scope.table(KIND):
            message = "Training job names must be unique within an AWS account and region, "
            raise Refused("ResourceInUse", f"{message}and a training job with this name already exists ({arn})")
        job = Job(scope, request)
        job.before = pacing.Walk(scope.world.site.lifecycle, pacing.BEFORE[KIND])
        job.enter("Starting")
        job.transitions.clear()
        scope.table(KIND)[name] = job
        scope.tag(arn, request.get("Tags"))
    scope.world.spawn(job.place, lambda: run(job))
    return {"TrainingJobArn": arn}


def _check(request: Document) -> None:
    """What the cloud checks beyond the model of the API."""
    for member in OUTSIDE:
        if request.get(member):
            raise outside(f"{member} of CreateTrainingJob")
    algorithm = request.get("AlgorithmSpecification")
    if not algorithm or not algorithm.get("TrainingImage"):
        if algorithm and algorithm.get("AlgorithmName"):
            raise outside("AlgorithmName of CreateTrainingJob")
        raise invalid("AlgorithmSpecification must have a TrainingImage or an AlgorithmName.")
    if not request.get("ResourceConfig", {}).get("InstanceType"):
        if request.get("ResourceConfig", {}).get("InstanceGroups"):
            raise outside("InstanceGroups of CreateTrainingJob")
        raise invalid("ResourceConfig must have an InstanceType.")
    if request["ResourceConfig"].get("InstanceCount", 1) < 1:
        raise invalid("InstanceCount must be at least 1.")
    _check_channels(request)
    _check_limits(request)
    for definition in algorithm.get("MetricDefinitions", ()):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            message = f"The regular expression of metric {definition['Name']} is not valid: {error}"
            raise invalid(message) from error


def _check_channels(request: Document) -> None:
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", ())]
    if len(set(names)) < len(names):
        raise invalid("Channel names must be unique in the InputDataConfig.")
    for channel in request.get("InputDataConfig", ()):
        mode = channel.get("InputMode") or request["AlgorithmSpecification"].get("TrainingInputMode")
        source = channel["DataSource"].get("S3DataSource")
        if mode == "Pipe":
            raise outside("Pipe mode")
        if not source or source["S3DataType"] != "S3Prefix" or channel.get("CompressionType", "None") != "None":
            raise outside(f"the data source of channel {channel['ChannelName']} (other than an S3Prefix, uncompressed)")


def _check_limits(request: Document) -> None:
    limits = request.get("StoppingCondition", {})
    if request.get("EnableManagedSpotTraining"):
        if limits.get("MaxWaitTimeInSeconds", 0) < limits.get("MaxRuntimeInSeconds", 86_400):
            message = "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            raise invalid(f"{message}MaxRuntimeInSeconds")
    elif "MaxWaitTimeInSeconds" in limits:
        raise invalid("MaxWaitTimeInSeconds can only be set when EnableManagedSpotTraining is true.")


def _find(scope: Scope, name: str) -> Job:
    job = scope.table(KIND).get(name)
    if job is None or _gone(scope, job):
        raise invalid(MISSING)
    found: Job = job
    return found


def _gone(scope: Scope, job: Job) -> bool:
    """Whether a job that is being deleted has been on that way long enough."""
    if job.going is None or job.going.look() is not None:
        return False
    scope.table(KIND).pop(job.name, None)
    scope.tags.pop(scope.arn(KIND, job.name), None)
    return True


def _shown(job: Job) -> tuple[str, str]:
    """Status and secondary status as a look shows them: no further than the ordered pace allows."""
    if job.going is not None:
        return "Deleting", "Completed" if job.status == "Completed" else job.secondary
    if job.before and not job.stopping.is_set() and (early := job.before.look()):
        return "InProgress", early
    if not job.done.is_set():
        return job.status, job.secondary
    if job.after is None:
        way = f"{KIND}-stopped" if job.status == "Stopped" else KIND
        job.after = pacing.Walk(job.scope.world.site.lifecycle, pacing.AFTER[way])
    late = job.after.look()
    if late:
        return ("Stopping" if late == "Stopping" else "InProgress"), late
    return job.status, job.secondary


def describe(scope: Scope, request: Document) -> Document:
    with scope.lock:
        job = _find(scope, request["TrainingJobName"])
        status, secondary = _shown(job)
        return _described(job, status, secondary)


def _described(job: Job, status: str, secondary: str) -> Document:
    output = shapes.service("sagemaker").operation_model("DescribeTrainingJob").output_shape.members
    limits = {"MaxRuntimeInSeconds": 86_400} | job.request.get("StoppingCondition", {})
    ended = status not in ("InProgress", "Stopping")
    artifact = f"{job.output}/model.tar.gz" if job.packed else f"{job.output}/model/"
    more: dict[str, Any] = {
        "TrainingJobArn": job.scope.arn(KIND, job.name),
        "ModelArtifacts": {"S3ModelArtifacts": artifact},
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "StoppingCondition": limits,
        "CreationTime": job.created,
        "LastModifiedTime": job.modified,
        "SecondaryStatusTransitions": _until(job, secondary, ended),
        "TrainingStartTime": job.started,
        "EnableNetworkIsolation": job.request.get("EnableNetworkIsolation", False),
        "EnableManagedSpotTraining": job.request.get("EnableManagedSpotTraining", False),
        "EnableInterContainerTrafficEncryption": job.request.get("EnableInterContainerTrafficEncryption", False),
    }
    if job.metrics:
        more["FinalMetricDataList"] = describe_metrics(job)
    if ended and job.ended:
        spent = max(1, round(job.trained))
        more |= {"TrainingEndTime": job.ended, "TrainingTimeInSeconds": spent, "BillableTimeInSeconds": spent}
        more["FailureReason"] = job.reason
    return known(job.request | more, output)


def _until(job: Job, secondary: str, ended: bool) -> list[Document]:
    """The transitions as far as they are shown."""
    if ended:
        return [dict(each) for each in job.transitions]
    names = [each["Status"] for each in job.transitions]
    last = max((index for index, name in enumerate(names) if name == secondary), default=-1)
    shown = [dict(each) for each in job.transitions[: last + 1]]
    if shown:
        shown[-1].pop("EndTime", None)
    return shown


def list_all(scope: Scope, request: Document) -> Document:
    for member in ("WarmPoolStatusEquals", "TrainingPlanArnEquals"):
        if member in request:
            raise outside(f"{member} of ListTrainingJobs")
    with scope.lock:
        jobs = [job for job in [*scope.table(KIND).values()] if not _gone(scope, job)]
        return listed(
            request,
            [_summary(job) for job in jobs],
            "TrainingJobSummaries",
            "TrainingJobName",
            {"StatusEquals": "TrainingJobStatus"},
        )


def _summary(job: Job) -> Document:
    status, secondary = _shown(job)
    summary = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.scope.arn(KIND, job.name),
        "CreationTime": job.created,
        "LastModifiedTime": job.modified,
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
    }
    ended = status not in ("InProgress", "Stopping")
    return summary | ({"TrainingEndTime": job.ended} if ended and job.ended else {})


def stop(scope: Scope, request: Document) -> None:
    with scope.lock:
        job = _find(scope, request["TrainingJobName"])
        if job.done.is_set() or job.going is not None:
            raise invalid(f"The request was rejected because the training job is in status {job.status}.")
        if not job.stopping.is_set():
            job.stopping.set()
            job.enter("Stopping", "Stopping")


def delete(scope: Scope, request: Document) -> None:
    with scope.lock:
        job = _find(scope, request["TrainingJobName"])
        if not job.done.is_set():
            raise Refused("ResourceInUse", f"The training job is in status {job.status}; stop it before.")
        if job.going is None:
            job.going = pacing.Walk(scope.world.site.lifecycle, pacing.GOING[KIND])
            _gone(scope, job)


OPERATIONS = {
    "CreateTrainingJob": create,
    "DescribeTrainingJob": describe,
    "ListTrainingJobs": list_all,
    "StopTrainingJob": stop,
    "DeleteTrainingJob": delete,
}
