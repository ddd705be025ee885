"""The roles of a stack, and that no native call was forgotten in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import cloudml_vertex
from cloudml.cli import main
from cloudml.spi import Scope
from cloudml_vertex.permissions import operations, roles
from cloudml_vertex.plugin import Config

SENT = re.compile(r'(?:Call|find|items|read|write)\(\s*"([A-Z][a-z]+[A-Z]\w+)"')
COMPOSED = {"CopyObjects", "DeleteObjects"}  # of several native calls
PROJECT = """
version: 1
project: shop
jobs: {train: {command: "true"}}
environments: {gcp: {provider: vertex, project: acme, bucket: acme-ml, service_account: sa@acme.iam}}
"""


def test_every_native_call_has_its_permission() -> None:
    sources = [*Path(cloudml_vertex.__file__).parent.glob("*.py")]
    sent = {name for source in sources for name in SENT.findall(source.read_text())}
    assert len(sent) > 20
    assert sent - COMPOSED == {*operations()}


def test_what_a_file_does_not_have_needs_no_permission() -> None:
    found = roles(Config(project="acme", bucket="acme-ml"), Scope("shop-gcp", {"model": ["fraud"], "job": []}))
    project, bucket = found["grants"]
    assert (project["on"], bucket["on"]) == ("projects/acme", "gs://acme-ml")
    assert {name.split(".")[1] for name in project["role"]["includedPermissions"]} == {"models", "operations"}
    assert {name.split(".")[0] for name in bucket["role"]["includedPermissions"]} == {"storage"}


def test_the_command_prints_them_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cloudml.yaml").write_text(PROJECT)
    answer = CliRunner().invoke(main, ["permissions", "-e", "gcp"])
    assert answer.exit_code == 0, answer.output
    project, _, account = json.loads(answer.output)["grants"]
    assert "aiplatform.customJobs.create" in project["role"]["includedPermissions"]
    assert account == {
        "on": "sa@acme.iam",
        "role": {"title": "cloudml shop-gcp jobs", "stage": "GA", "includedPermissions": ["iam.serviceAccounts.actAs"]},
    }
