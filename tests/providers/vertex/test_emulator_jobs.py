"""Custom jobs that run: how they end, what they are told, who they can talk to, and what a spot job meets."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pytest
from google.cloud import storage
from vertex_jobs import ENDED, create, ended, lines, python, until
from vertex_wire import Api, job, pool

from cloudml.emulation.box import refusal
from cloudml.emulation.faults import Fault, Trouble
from cloudml.emulation.ports import free_port
from cloudml.emulation.running import Running

SLEEP = "import time; print('begun', flush=True); time.sleep(600)"
# One replica sends, the other answers with what it got; each finds the other by its name in CLUSTER_SPEC.
TALK = """
import json, os, socket, sys, time
spec = json.loads(os.environ["CLUSTER_SPEC"])
(first,), (second,) = spec["cluster"]["workerpool0"], spec["cluster"]["workerpool1"]
mine = first if spec["task"]["type"] == "workerpool0" else second
assert socket.gethostname() == mine.partition(":")[0], socket.gethostname()
host, port = second.partition(":")[0], int(sys.argv[1])
if mine is second:
    with socket.create_server(("", port)) as server:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"heard " + connection.recv(100))
        time.sleep(600)
end = time.time() + 50
while True:
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(spec["task"]["type"].encode())
            print(connection.recv(100).decode(), flush=True)
            break
    except OSError:
        assert time.time() < end
        time.sleep(0.05)
"""


@pytest.fixture
def api(bucket: str) -> Api:
    return Api(bucket, "grpc")


def test_what_it_is_told_and_where_it_writes(api: Api, bucket: str) -> None:
    code = """
import json, os, sys
folder = os.environ["AIP_MODEL_DIR"].replace("gs://", "/gcs/")
os.makedirs(folder)
names = ("AIP_MODEL_DIR", "AIP_CHECKPOINT_DIR", "AIP_TENSORBOARD_LOG_DIR", "CLOUD_ML_JOB_ID", "A", "CLUSTER_SPEC")
json.dump([sys.argv[1:], {name: os.environ[name] for name in names}], open(folder + "told.json", "w"))
"""
    output = {"outputUriPrefix": f"gs://{bucket}/out"}
    document = job("told", python(code, "--lr", "0.5", env=[{"name": "A", "value": "b c"}]), baseOutputDirectory=output)
    found = ended(api, document)
    assert (found["state"], "error" in found) == ("JOB_STATE_SUCCEEDED", False)
    assert found["createTime"] <= found["startTime"] <= found["endTime"]
    blob = storage.Client(project=bucket).bucket(bucket).blob("out/model/told.json")
    arguments, told = json.loads(blob.download_as_bytes())
    spec = json.loads(told.pop("CLUSTER_SPEC"))
    assert (arguments, told) == (
        ["--lr", "0.5"],
        {
            "AIP_MODEL_DIR": f"gs://{bucket}/out/model/",
            "AIP_CHECKPOINT_DIR": f"gs://{bucket}/out/checkpoints/",
            "AIP_TENSORBOARD_LOG_DIR": f"gs://{bucket}/out/logs/",
            "CLOUD_ML_JOB_ID": found["name"].rpartition("/")[2],
            "A": "b c",
        },
    )
    assert spec["task"] == {"type": "workerpool0", "index": 0}
    assert spec["environment"] == "cloud"


def test_an_exit_code_is_said_with_the_replica(api: Api) -> None:
    found = ended(api, job("fails", python("print('no luck'); raise SystemExit(7)")))
    assert found["state"] == "JOB_STATE_FAILED"
    assert found["error"]["code"] == 3
    assert "The replica workerpool0-0 exited with a non-zero status of 7." in found["error"]["message"]
    assert "no luck" in lines(api, found["name"])
    api.refused(400, "terminal state", "JobService/CancelCustomJob", {"name": found["name"]})
    api.call("JobService/DeleteCustomJob", {"name": found["name"]})
    api.refused(404, "does not exist", "JobService/GetCustomJob", {"name": found["name"]})


def test_an_image_that_only_docker_could_run(api: Api) -> None:
    found = ended(api, job("image", {**pool(), "containerSpec": {"imageUri": "gcr.io/acme/own:1"}}))
    assert found["state"] == "JOB_STATE_FAILED"
    assert "Failed to pull image 'gcr.io/acme/own:1'" in found["error"]["message"]


def test_cancelled(api: Api) -> None:
    name = create(api, job("long", python(SLEEP)))
    until(api, name, lambda found: found["state"] == "JOB_STATE_RUNNING" and "begun" in lines(api, name))
    api.refused(400, "still running", "JobService/DeleteCustomJob", {"name": name})
    api.call("JobService/CancelCustomJob", {"name": name})
    found = until(api, name, lambda found: found["state"] in ENDED)
    assert (found["state"], "error" in found) == ("JOB_STATE_CANCELLED", False)


def test_longer_than_its_timeout(api: Api) -> None:
    found = ended(api, job("late", python(SLEEP), scheduling={"timeout": "1s"}))
    assert (found["state"], found["error"]["code"]) == ("JOB_STATE_FAILED", 4)
    assert "longer than its timeout of 1s" in found["error"]["message"]


def test_two_pools_find_each_other_by_the_names_of_the_cluster_spec(api: Api) -> None:
    assert refusal() is None, refusal()
    port = str(free_port())
    found = ended(api, job("talk", python(TALK, port), python(TALK, port)))
    assert found["state"] == "JOB_STATE_SUCCEEDED", (found.get("error"), lines(api, found["name"]))
    assert "heard workerpool0" in lines(api, found["name"])


def test_a_worker_that_fails_ends_the_job(api: Api) -> None:
    found = ended(api, job("worker", python(SLEEP), python("raise SystemExit(4)")))
    assert found["state"] == "JOB_STATE_FAILED"
    assert "workerpool1-0 exited with a non-zero status of 4" in found["error"]["message"]


def test_a_spot_job_that_is_preempted_begins_again(api: Api, running: Running, bucket: str) -> None:
    code = f"""
import os, time
marks = [each for each in os.listdir("/gcs/{bucket}") if each.startswith("begun-")]
open("/gcs/{bucket}/begun-" + str(len(marks)), "w").close()
time.sleep(0 if marks else 600)
"""
    name = create(api, job("spot", python(code), scheduling={"strategy": "SPOT"}))
    client = storage.Client(project=bucket)
    until(api, name, lambda _: client.bucket(bucket).blob("begun-0").exists())
    running.clouds["vertex"].faults.add(Fault(Trouble.PREEMPT, "CreateCustomJob", "spot"))
    found = until(api, name, lambda found: found["state"] in ENDED)
    assert found["state"] == "JOB_STATE_SUCCEEDED", found.get("error")
    assert [blob.name for blob in client.list_blobs(bucket)] == ["begun-0", "begun-1"]


def test_no_machine_of_that_kind(api: Api, running: Running) -> None:
    running.clouds["vertex"].faults.add(Fault(Trouble.CAPACITY, "CreateCustomJob", "stockout"))
    found = ended(api, job("stockout", python("pass")))
    assert (found["state"], found["error"]["code"]) == ("JOB_STATE_FAILED", 8)
    assert "Resources are insufficient in region" in found["error"]["message"]


@pytest.mark.parametrize("top", ["", "src/"])
def test_a_python_package_is_run_as_a_module(api: Api, bucket: str, tmp_path: Any, top: str) -> None:
    """As the documentation has it: an sdist in Cloud Storage, and another that it needs."""
    client = storage.Client(project=bucket)
    for name, code in (
        ("needed", "WORD = 'found'"),
        ("trainer", "import sys, os, needed.task; print(needed.task.WORD, sys.argv[1:], os.environ['K'])"),
    ):
        folder = tmp_path / f"{name}-0.1"
        (folder / top / name).mkdir(parents=True)
        (folder / top / name / "__init__.py").touch()
        (folder / top / name / "task.py").write_text(code)
        (folder / "setup.py").write_text("from setuptools import setup; setup()")
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as archive:
            archive.add(folder, folder.name)
        client.bucket(bucket).blob(f"packages/{name}:0.1.tar.gz").upload_from_filename(tmp_path / f"{name}.tar.gz")
    package = {
        "executorImageUri": "us-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest",
        "packageUris": [f"gs://{bucket}/packages/{name}:0.1.tar.gz" for name in ("trainer", "needed")],
        "pythonModule": "trainer.task",
        "args": ["--z", "1"],
        "env": [{"name": "K", "value": "v"}],
    }
    machine = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": "1"}
    found = ended(api, job("package", {**machine, "pythonPackageSpec": package}))
    assert found["state"] == "JOB_STATE_SUCCEEDED", (found.get("error"), lines(api, found["name"]))
    assert "found ['--z', '1'] v" in lines(api, found["name"])
    lost = {**package, "packageUris": [f"gs://{bucket}/packages/nobody.tar.gz"]}
    found = ended(api, job("package", {**machine, "pythonPackageSpec": lost}))
    assert found["state"] == "JOB_STATE_FAILED"
    assert f"The package gs://{bucket}/packages/nobody.tar.gz does not exist." in lines(api, found["name"])
