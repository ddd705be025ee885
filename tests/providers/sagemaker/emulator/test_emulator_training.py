"""Training jobs that train."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from aws_account import Account, archive, eventually, unpacked
from botocore.exceptions import ClientError

from cloudml.emulation.faults import Trouble

READ = "open('/opt/ml/input/{}').read()"
LOGS = "/aws/sagemaker/TrainingJobs"


def secondary(job: dict) -> list[str]:
    return [each["Status"] for each in job["SecondaryStatusTransitions"]]


def test_a_job_reads_its_channels_and_leaves_a_model(aws: Account) -> None:
    aws.put("data/a.csv", b"1,2")
    aws.put("data/deep/b.csv", b"3,4")
    code = """
import json, os
base = "/opt/ml/input/"
seen = {
    "config": {name: json.load(open(f"{base}config/{name}.json"))
               for name in ("hyperparameters", "inputdataconfig", "resourceconfig")},
    "a": open(base + "data/train/a.csv").read(), "b": open(base + "data/train/deep/b.csv").read(),
    "env": {name: os.environ.get(name) for name in ("TRAINING_JOB_NAME", "TRAINING_JOB_ARN", "AWS_REGION", "MINE")},
}
json.dump(seen, open("/opt/ml/model/seen.json", "w"))
open("/opt/ml/output/data/extra.txt", "w").write("more")
print("loss=0.5;", flush=True); print("loss=0.25;")
"""
    more = {
        "InputDataConfig": [aws.channel("train", "data/", ContentType="text/csv")],
        "HyperParameters": {"epochs": "3"},
        "Environment": {"MINE": "yes"},
        "algorithm": {"MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]},
    }
    job = aws.train("reads", code, **more)
    assert job["TrainingJobStatus"] == "Completed", job
    assert secondary(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    artifact = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == f"s3://{aws.bucket}/out/reads/output/model.tar.gz"
    seen = json.loads(unpacked(aws.get(artifact))["seen.json"])
    assert (seen["a"], seen["b"]) == ("1,2", "3,4")
    assert seen["config"]["hyperparameters"] == {"epochs": "3"}
    assert seen["config"]["inputdataconfig"]["train"]["ContentType"] == "text/csv"
    assert seen["config"]["resourceconfig"]["hosts"] == ["algo-1"]
    assert seen["env"] == {
        "TRAINING_JOB_NAME": "reads",
        "TRAINING_JOB_ARN": job["TrainingJobArn"],
        "AWS_REGION": "us-east-1",
        "MINE": "yes",
    }
    assert unpacked(aws.get(artifact.replace("model.tar", "output.tar"))) == {"extra.txt": b"more"}
    assert [(each["MetricName"], each["Value"]) for each in job["FinalMetricDataList"]] == [("loss", 0.25)]
    assert aws.lines(LOGS, "reads/algo-1-") == ["loss=0.5;", "loss=0.25;"]
    assert job["BillableTimeInSeconds"] >= 1
    statistics = aws.client("cloudwatch").get_metric_statistics(
        Namespace=LOGS,
        MetricName="loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": "reads"}],
        StartTime=job["CreationTime"].timestamp() - 3600,
        EndTime=job["CreationTime"].timestamp() + 3600,
        Period=7200,
        Statistics=["Maximum"],
    )
    assert statistics["Datapoints"][0]["Maximum"] == 0.5


def test_several_hosts_share_the_keys_and_their_models_are_one(aws: Account) -> None:
    for name in "abc":
        aws.put(f"shards/{name}.txt", name.encode())
    code = """
import json, os
me = json.load(open("/opt/ml/input/config/resourceconfig.json"))
files = sorted(os.listdir("/opt/ml/input/data/train"))
json.dump([me["hosts"], files], open(f"/opt/ml/model/{me['current_host']}.json", "w"))
"""
    job = aws.train(
        "hosts",
        code,
        InputDataConfig=[aws.channel("train", "shards/", distribution="ShardedByS3Key")],
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
    )
    assert job["TrainingJobStatus"] == "Completed", job
    found = unpacked(aws.get(job["ModelArtifacts"]["S3ModelArtifacts"]))
    hosts = ["algo-1", "algo-2"]
    assert json.loads(found["algo-1.json"]) == [hosts, ["a.txt", "c.txt"]]
    assert json.loads(found["algo-2.json"]) == [hosts, ["b.txt"]]


def test_fast_files_cannot_be_written(aws: Account) -> None:
    aws.put("fast/a.txt", b"a")
    code = f"print({READ.format('data/train/a.txt')}); open('/opt/ml/input/data/train/b', 'w')"
    job = aws.train("fast", code, InputDataConfig=[aws.channel("train", "fast/", InputMode="FastFile")])
    assert job["TrainingJobStatus"] == "Failed"
    assert "Read-only file system" in " ".join(aws.lines(LOGS, "fast/"))


def test_the_failure_file_is_the_reason(aws: Account) -> None:
    code = "open('/opt/ml/output/failure', 'w').write('the data is bad' + '!' * 2000); raise SystemExit(3)"
    job = aws.train("fails", code)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"].startswith("AlgorithmError: the data is bad!!")
    assert job["FailureReason"].endswith("exit code: 3")
    assert len(job["FailureReason"]) <= 1024
    assert not aws.keys("out/fails/output/model")


@pytest.mark.parametrize("uri", ["nothing/", "s3://no-such-bucket-of-anybody/x"])
def test_inputs_that_are_not_there(aws: Account, uri: str) -> None:
    channel = aws.channel("train", uri)
    if uri.startswith("s3:"):
        channel["DataSource"]["S3DataSource"]["S3Uri"] = uri
    job = aws.train("no-data", "pass", InputDataConfig=[channel])
    assert job["FailureReason"].startswith("ClientError: Data download failed:")


def test_a_bucket_in_another_region(aws: Account) -> None:
    far = f"far-{aws.bucket}"
    s3 = aws.client("s3", "eu-west-1")
    s3.create_bucket(Bucket=far, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=far, Key="data/x", Body=b"x")
    channel = aws.channel("train", "data/")
    channel["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://{far}/data/"
    job = aws.train("far", "pass", InputDataConfig=[channel])
    assert "The bucket is in this region: eu-west-1" in job["FailureReason"]
    job = aws.train("far-out", "pass", OutputDataConfig={"S3OutputPath": f"s3://{far}/out"})
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed:PermanentRedirect")


def test_a_folder_instead_of_an_archive(aws: Account) -> None:
    output = {"S3OutputPath": f"s3://{aws.bucket}/out/", "CompressionType": "NONE"}
    job = aws.train("folder", "open('/opt/ml/model/m.txt', 'w').write('m')", OutputDataConfig=output)
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{aws.bucket}/out/folder/output/model/"
    assert aws.keys("out/folder") == ["out/folder/output/model/m.txt"]


def test_a_spot_machine_is_taken_away_and_training_goes_on_from_its_checkpoint(aws: Account) -> None:
    code = """
import os, time
path = "/opt/ml/checkpoints/step"
if os.path.exists(path):
    open("/opt/ml/model/resumed", "w").write(open(path).read())
else:
    open(path, "w").write("7")
    print("waiting", flush=True)
    time.sleep(600)
"""
    request = aws.job(
        "spot",
        code,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900},
        CheckpointConfig={"S3Uri": f"s3://{aws.bucket}/checkpoints"},
    )
    aws.sm.create_training_job(**request)
    eventually(lambda: aws.keys("checkpoints/"), "a checkpoint in S3")
    aws.order(Trouble.PREEMPT, "CreateTrainingJob", "spot")
    job = aws.ended("spot")
    assert job["TrainingJobStatus"] == "Completed", job
    ways = ["Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training", "Uploading"]
    assert secondary(job) == [*ways, "Completed"]
    assert unpacked(aws.get(job["ModelArtifacts"]["S3ModelArtifacts"])) == {"resumed": b"7"}


def test_a_stopped_job_can_save_itself(aws: Account) -> None:
    code = """
import signal, sys, time
def end(*_):
    open("/opt/ml/model/last", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
"""
    aws.sm.create_training_job(**aws.job("stopped", code))
    eventually(lambda: "ready" in aws.lines(LOGS, "stopped/"), "logs while it runs")
    aws.sm.stop_training_job(TrainingJobName="stopped")
    job = aws.ended("stopped")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "Stopping" in secondary(job)
    assert unpacked(aws.get(job["ModelArtifacts"]["S3ModelArtifacts"])) == {"last": b"saved"}
    with pytest.raises(ClientError, match="is in status Stopped"):
        aws.sm.stop_training_job(TrainingJobName="stopped")


def test_the_maximum_runtime_ends_a_job(aws: Account) -> None:
    job = aws.train("long", "import time; time.sleep(600)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_internal_errors_are_tried_again_as_often_as_was_asked(aws: Account) -> None:
    aws.order(Trouble.FAIL, "CreateTrainingJob", "again", times=2)
    job = aws.train("again", "pass", RetryStrategy={"MaximumRetryAttempts": 2})
    assert job["TrainingJobStatus"] == "Completed"
    assert secondary(job).count("Restarting") == 2
    aws.order(Trouble.FAIL, "CreateTrainingJob", "once")
    assert aws.train("once", "pass")["FailureReason"].startswith("InternalServerError")


def test_no_capacity(aws: Account) -> None:
    aws.order(Trouble.CAPACITY, "CreateTrainingJob", "crowded")
    assert aws.train("crowded", "pass")["FailureReason"].startswith("CapacityError: Unable to provision")


def test_an_image_that_cannot_run_here_says_so(aws: Account) -> None:
    request = aws.job("image", "pass")
    del request["AlgorithmSpecification"]["ContainerEntrypoint"]
    aws.sm.create_training_job(**request)
    assert aws.ended("image")["FailureReason"].startswith("ClientError: Cannot pull algorithm container")


def test_names_are_taken_until_the_job_is_deleted(aws: Account) -> None:
    aws.train("twice", "pass")
    with pytest.raises(aws.sm.exceptions.ResourceInUse):
        aws.sm.create_training_job(**aws.job("twice", "pass"))
    aws.sm.delete_training_job(TrainingJobName="twice")
    with pytest.raises(ClientError, match="Requested resource not found"):
        aws.sm.describe_training_job(TrainingJobName="twice")
    assert aws.train("twice", "pass")["TrainingJobStatus"] == "Completed"


def test_lists_are_filtered_sorted_and_in_pages(aws: Account) -> None:
    for name in ("list-b", "list-a", "list-c", "other"):
        aws.train(name, "raise SystemExit(1)" if name == "list-c" else "pass")
    pages = aws.sm.get_paginator("list_training_jobs").paginate(
        NameContains="list", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    names = [[each["TrainingJobName"] for each in page["TrainingJobSummaries"]] for page in pages]
    assert names == [["list-a", "list-b"], ["list-c"]]
    failed = aws.sm.list_training_jobs(StatusEquals="Failed")["TrainingJobSummaries"]
    assert [each["TrainingJobName"] for each in failed] == ["list-c"]
    newest = aws.sm.list_training_jobs(MaxResults=1)["TrainingJobSummaries"]
    assert [each["TrainingJobName"] for each in newest] == ["other"]
    created = aws.sm.describe_training_job(TrainingJobName="list-c")["CreationTime"]
    before = aws.sm.list_training_jobs(CreationTimeBefore=created, SortBy="Name")["TrainingJobSummaries"]
    assert "other" not in [each["TrainingJobName"] for each in before]
    modified = aws.sm.describe_training_job(TrainingJobName="other")["LastModifiedTime"]
    since = aws.sm.list_training_jobs(LastModifiedTimeAfter=modified, MaxResults=100)["TrainingJobSummaries"]
    assert "other" in [each["TrainingJobName"] for each in since], "a client asks by the second"
    later = modified + timedelta(seconds=2)
    assert not aws.sm.list_training_jobs(LastModifiedTimeAfter=later)["TrainingJobSummaries"]
    with pytest.raises(ClientError, match="less than or equal to 100"):
        aws.sm.list_training_jobs(MaxResults=101)


def test_a_list_of_what_is_in_progress_has_no_more_and_no_less(aws: Account) -> None:
    running = [f"slow-{number}" for number in range(12)]
    for name in running:
        aws.sm.create_training_job(**aws.job(name, "import time; time.sleep(60)"))
    aws.train("done", "pass")
    pages = aws.sm.get_paginator("list_training_jobs").paginate(
        StatusEquals="InProgress", PaginationConfig={"PageSize": 5}
    )
    found = [[each["TrainingJobName"] for each in page["TrainingJobSummaries"]] for page in pages]
    assert [len(page) for page in found] == [5, 5, 2]
    assert sorted(name for page in found for name in page) == sorted(running)
    for name in running:
        aws.sm.stop_training_job(TrainingJobName=name)
    left = aws.sm.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
    assert not left, "what is stopping is in progress no more"


def test_an_archive_that_leads_out_of_its_folder_is_refused(aws: Account) -> None:
    uri = aws.put("models/evil.tar.gz", archive({"../../evil": b"x"}))
    aws.sm.create_model(ModelName="evil", PrimaryContainer={"Image": aws.image, "ModelDataUrl": uri})
    variant = {"VariantName": "v", "ModelName": "evil", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    aws.config("evil", variant)
    assert "Failed to extract model data archive" in aws.endpoint("evil", "evil")["FailureReason"]
