"""What somebody is told who asks for what cannot be: one line, the way out, the right exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cli_told import SERVED, CommandLine
from vertex_rigs import new_bucket

from cloudml.emulation.faults import Fault, Trouble
from cloudml.emulation.running import Running
from cloudml.testing.conformance import python_model
from cloudml_vertex.emulator import servers

GPU = "options: {vertex: {machine_type: n1-standard-4, accelerator: T4}}"
told = CommandLine("vertex", never=("Traceback", "https://", "\t")).told


@pytest.fixture
def here(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a project of one's own, and a new bucket."""
    name = new_bucket()
    for variable in ("GOOGLE_CLOUD_PROJECT", "CLOUDML_VERTEX_PROJECT", "CLOUDML_VERTEX_BUCKET"):
        monkeypatch.setenv(variable, name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_project(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    (here / "user.json").write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(here / "user.json"))
    for variable in ("GOOGLE_CLOUD_PROJECT", "CLOUDML_VERTEX_PROJECT"):
        monkeypatch.delenv(variable)
    said = told(3)
    assert "vertex needs a project" in said
    assert "set 'project' of provider 'vertex', or GOOGLE_CLOUD_PROJECT" in said


def test_no_bucket(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDML_VERTEX_BUCKET")
    said = told(3)
    assert "vertex needs a bucket" in said
    assert "gcloud storage buckets create" in said


def test_a_bucket_that_is_not_there(here: Path) -> None:
    said = told(3, bucket="nobody-made-this")
    assert "bucket does not exist" in said
    assert "gcloud storage buckets create gs://NAME --location=LOCATION" in said


def test_a_region_that_is_none(here: Path) -> None:
    assert "location" in told(3, location="US")


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_region_that_there_is_not(here: Path, transport: str) -> None:
    """It is well-formed, and nobody answers at its host."""
    said = told(3, location="mars-west1", transport=transport)
    assert "is 'location' of provider 'vertex' one of Vertex AI's regions" in said


def test_no_credentials(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(here / "nobody.json"))
    said = told(4)
    assert "nobody.json was not found" in said
    assert "gcloud auth application-default login" in said


def test_a_role_that_is_missing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).with_name("without-roles.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    for transport in ("grpc", "rest"):
        said = told(4, transport=transport)
        assert "does not have permission" in said
        assert "roles/aiplatform.user" in said
        assert "roles/storage.objectAdmin" in said


def test_a_quota_at_once(here: Path, running: Running) -> None:
    faults = running.clouds["vertex"].faults
    faults.add(Fault(Trouble.QUOTA, "CreateCustomJob"))
    said = told(1)
    assert "exceed quota limits" in said
    assert "Quotas, or use another location" in said
    assert not [*faults]


def test_no_machine_after_a_while(here: Path, running: Running) -> None:
    running.clouds["vertex"].faults.add(Fault(Trouble.CAPACITY, "CreateCustomJob"))
    said = told(6)
    assert "Resources are insufficient in region" in said
    assert "8" in said


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_machine_type_that_does_not_exist(here: Path, transport: str) -> None:
    job = 'jobs: {train: {command: "true", options: {vertex: {machine_type: ml.m5.large}}}}'
    said = told(3, file=job, transport=transport)
    place = "job_spec.worker_pool_specs[0].machine_spec.machine_type"
    assert f"CreateCustomJob: {place}: Machine type 'ml.m5.large' is not supported.\n" in said
    assert "options.vertex.machine_type" in said


def test_an_accelerator_without_its_count(here: Path) -> None:
    said = told(3, "plan", file=f'jobs: {{train: {{command: "true", {GPU}}}}}')
    assert "no GPU is asked for" in said
    assert "resources.gpu" in said


def test_traffic_that_is_not_all(here: Path) -> None:
    python_model(here / "model", "1")
    two = "deployments: {blue: {model: fraud}, green: {model: fraud}}, traffic: {blue: 50, green: 40}"
    said = told(3, "plan", file=f"models: {{fraud: {{path: model}}}}\nendpoints: {{shop-api: {{{two}}}}}")
    assert "100" in said


@pytest.mark.parametrize("alias", ["Champion!", "v1_x", "x-"])
def test_an_alias_that_breaks_the_rules(here: Path, alias: str) -> None:
    python_model(here / "model", "1")
    said = told(3, file=f"models: {{fraud: {{path: model, alias: {alias!r}}}}}")
    assert alias in said


def test_a_model_folder_that_is_not_there(here: Path) -> None:
    assert "model" in told(3, file="models: {fraud: {path: model}}")
    bucket = os.environ["CLOUDML_VERTEX_BUCKET"]
    said = told(6, file=f"models: {{fraud: {{path: 'gs://{bucket}/nothing'}}}}")
    assert f"gs://{bucket}/nothing is expected to contain at least one object" in said


def test_a_container_that_never_gets_healthy(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "READY_WITHIN", 5.0)
    python_model(here / "model", "1", "import time; print('still loading', flush=True); time.sleep(600)")
    said = told(6, file=SERVED)
    assert "Model server never became ready" in said


def test_a_model_that_does_not_load(here: Path) -> None:
    python_model(here / "model", "1", "raise RuntimeError('it does not load')")
    said = told(6, file=SERVED)
    assert "Model server exited unexpectedly" in said
    assert "it does not load" in said
