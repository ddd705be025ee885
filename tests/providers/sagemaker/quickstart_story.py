"""Run inside an emulated AWS: the quickstart, in the commands that a person would type; then what is left, as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import boto3


def run(*words: str, expect: int = 0) -> str:
    """One command of cloudml; its standard output."""
    done = subprocess.run([sys.executable, "-m", "cloudml", *words], capture_output=True, text=True, timeout=240)
    if done.returncode != expect:
        sys.exit(f"cloudml {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def left() -> dict[str, list[str]]:
    """Everything of the account, but for the bucket and the role that it came with."""
    sagemaker, bucket = boto3.client("sagemaker"), os.environ["CLOUDML_SAGEMAKER_BUCKET"]
    objects = boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        "objects": [each["Key"] for each in objects],
        "jobs": [each["TrainingJobName"] for each in sagemaker.list_training_jobs()["TrainingJobSummaries"]],
        "endpoints": [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]],
        "configs": [each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]],
        "models": [each["ModelName"] for each in sagemaker.list_models()["Models"]],
        "groups": [
            each["ModelPackageGroupName"]
            for each in sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
        ],
    }


def main() -> None:
    before = left()
    run("apply", "-p", "sagemaker", "--timeout", "200s")
    between = left()
    predicted = run("predict", "tumor-api", "-p", "sagemaker", "-d", "@data/typical.json")
    run("plan", "-p", "sagemaker", "--detailed-exitcode")
    report = monitored()
    run("destroy", "-p", "sagemaker", "--all", "-y")
    found = {"before": before, "between": between, "after": left()}
    sys.stdout.write(json.dumps({**found, "predicted": json.loads(predicted), "report": report}) + "\n")


def monitored() -> str:
    """Captured requests come some moments after their answers, here as in AWS."""
    import time

    deadline = time.monotonic() + 60
    while True:
        report = run("monitors", "run", "tumor-api", "-p", "sagemaker")
        if "rows)" in report or time.monotonic() > deadline:
            return report
        time.sleep(0.5)


if __name__ == "__main__":
    main()
