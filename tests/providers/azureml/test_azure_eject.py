"""``cloudml eject`` on Azure ML: files in the YAML form of v2, as Microsoft's own SDK reads them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure_account import Emulated
from click.testing import CliRunner

from cloudml.cli import main
from cloudml.spi import Call
from cloudml.testing import emulated as emulation
from cloudml_azureml.ejecting import files

PROJECT = """
version: 1
project: shop
jobs:
  train:
    command: python train.py
    inputs: {rows: data.csv}
    env: {LEVEL: debug, KEY: "${secret:env:TOKEN}"}
    nodes: 2
    spot: true
    timeout: 2h
    resources: {cpu: 4, shm: 1Gi}
    labels: {team: risk}
    options: {azureml: {compute: serverless, experiment: nightly}}
    patch: {azureml: {description: by hand}}
models:
  fraud: {from: jobs.train, description: "of the night", approval: approved}
endpoints:
  shop-api:
    deployments: {blue: {model: fraud}, green: {model: fraud, env: {THREADS: "2"}}}
    traffic: {blue: 100}
    mirror: {green: 5}
    capture: 0.5
    timeout: 30
    monitor: {schedule: "0 3 * * 1"}
environments: {azure: {provider: azureml, image: "acme/cloudml-serve:1"}}
"""
ASSETS = ("environment", "model", "job", "online-endpoint", "online-deployment", "schedule")


@pytest.fixture
def folder(emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What eject has written of the project."""
    with emulation.environment({**emulated.up.environment, "CLOUDML_AZUREML_SUBSCRIPTION": str(uuid.uuid4())}):
        monkeypatch.chdir(tmp_path)
        Path("data.csv").write_text("a,b\n1,2\n")
        Path("cloudml.yaml").write_text(PROJECT)
        answer = CliRunner().invoke(main, ["eject", "out", "-e", "azure"])
        assert answer.exit_code == 0, answer.output
        yield Path("out/azureml").absolute()


def kind(text: str) -> str:
    return text.splitlines()[0].removeprefix("# az ml ").split()[0]


def lost(written: Any, read: Any, place: str = "") -> Iterator[str]:
    """What was written and is not what was read; a reference may have been given its prefix."""
    if isinstance(written, Mapping):
        for name, value in written.items():
            if not isinstance(read, Mapping) or name not in read:
                yield f"{place}.{name}"
            else:
                yield from lost(value, read[name], f"{place}.{name}")
    elif str(written).lower() not in (str(read).lower(), f"azureml:{read}".lower()):
        yield f"{place}: {written!r} became {read!r}"


def test_the_sdk_reads_all_that_was_written(folder: Path, script: Callable[..., str]) -> None:
    read = json.loads(script("load_files.py", str(folder)).splitlines()[-1])
    texts = {path.name: path.read_text() for path in sorted(folder.iterdir())}
    assert read.keys() == texts.keys()
    numbers = {each: sum(kind(text) == each for text in texts.values()) for each in ASSETS}
    assert numbers == {
        "environment": 3,  # to train, to serve, and to monitor
        "model": 1,
        "job": 2,  # the run, and what the schedule starts
        "online-endpoint": 2,  # made, and then given its traffic
        "online-deployment": 2,
        "schedule": 1,
    }
    for name, text in texts.items():
        written = {key: value for key, value in yaml.safe_load(text).items() if key not in ("$schema", "create_job")}
        assert [*lost(written, read[name])] == [], name
    (schedule,) = (each for name, each in read.items() if kind(texts[name]) == "schedule")
    started = yaml.safe_load(texts["010-schedule-shop-api.job.yml"])
    assert schedule["create_job"]["command"] == started["command"]


def test_the_files_say_what_the_requests_say(folder: Path) -> None:
    found: dict[str, list[Any]] = {each: [] for each in ASSETS}
    for path in sorted(folder.iterdir()):
        found[kind(path.read_text())].append(yaml.safe_load(path.read_text()))
    (job, monitor), (model,), (schedule,) = found["job"], found["model"], found["schedule"]
    assert job["environment_variables"]["KEY"] == "${secret:env:TOKEN}"
    assert (job["limits"], job["queue_settings"]) == ({"timeout": 7200}, {"job_tier": "spot"})
    assert job["resources"] == {"instance_count": 2, "instance_type": "Standard_D4s_v3", "shm_size": "1024m"}
    assert (job["description"], job["tags"]["team"], job["distribution"]) == ("by hand", "risk", {"type": "pytorch"})
    assert (model["version"], model["tags"]) == ("1", {"cloudml-approval": "approved"})
    made, shared = found["online-endpoint"]
    blue, green = found["online-deployment"]
    assert (shared["traffic"].get(blue["name"]), shared["mirror_traffic"]) == (100, {green["name"]: 5})
    assert blue["endpoint_name"] == made["name"]
    assert blue["model"] == "azureml:fraud@latest", "its number is the service's to say"
    assert blue["request_settings"] == {"request_timeout_ms": 30000, "max_concurrent_requests_per_instance": 32}
    assert schedule["trigger"]["expression"] == "0 3 * * 1"
    assert schedule["create_job"] == "./010-schedule-shop-api.job.yml"
    assert monitor["environment"].startswith("azureml:cloudml-train:")
    assert monitor["command"].startswith("cloudml-entrypoint monitor --baseline ${{inputs.baseline}}")
    assert monitor["inputs"]["since"] == "<time of shop-api>", "only that is the service's to say"


def test_what_the_form_has_no_word_for_is_said() -> None:
    document = {"properties": {"image": "i", "autoRebuild": "OnBaseImageUpdate"}}
    (text,) = files([Call("PUT environments/e/versions/1", "e", document, "a test")]).values()
    assert '# not in this form: autoRebuild = "OnBaseImageUpdate"' in text
    assert yaml.safe_load(text)["image"] == "i"
    assert files([Call("PUT blob", "x", {}, "a test"), Call("DELETE jobs/x", "x", {}, "a test")]) == {}
