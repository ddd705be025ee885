"""What somebody is told who asks Azure ML for what cannot be: one line, the way out, the right exit code."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_account import Emulated
from click.testing import CliRunner

from cloudml.cli import main
from cloudml.emulation.faults import Fault, Trouble
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model

JOB = 'jobs: {train: {command: "true"}}'
SERVED = "models: {fraud: {path: model}}\nendpoints: {shop-api: {model: fraud}}"


@pytest.fixture
def here(emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a project of one's own, and a new subscription."""
    with emulation.environment(emulated.up.environment):
        for variable in ("AZURE_SUBSCRIPTION_ID", "CLOUDML_AZUREML_SUBSCRIPTION"):
            monkeypatch.setenv(variable, str(uuid.uuid4()))
        monkeypatch.chdir(tmp_path)
        yield tmp_path


def told(code: int, *arguments: str, file: str = JOB, **settings: str) -> str:
    """The last thing that is said, which is all that is said of the error."""
    rest = "".join(f", {name}: {value}" for name, value in settings.items())
    place = f"environments: {{azure: {{provider: azureml{rest}}}}}"
    Path("cloudml.yaml").write_text(f"version: 1\nproject: shop\n{file}\n{place}\n")
    answer = CliRunner().invoke(main, [*(arguments or ("apply",)), "-e", "azure"])
    assert answer.exit_code == code, answer.output
    assert answer.output.count("error: ") == 1, answer.output
    assert "Traceback" not in answer.output
    return str(answer.output)


def test_no_subscription(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AZURE_SUBSCRIPTION_ID", "CLOUDML_AZUREML_SUBSCRIPTION"):
        monkeypatch.delenv(variable)
    said = told(3)
    assert "azureml needs the workspace's subscription" in said
    assert "CLOUDML_AZUREML_SUBSCRIPTION" in said


def test_no_credential(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(here))  # Microsoft's library makes a folder there
    said = told(4)
    assert "az login" in said
    assert len(said.splitlines()) == 2


def test_a_secret_that_is_wrong(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    said = told(4)
    assert "Invalid client secret" in said
    assert "AZURE_CLIENT_SECRET" in said


def test_a_workspace_that_is_not_there(here: Path) -> None:
    assert "nobody-made-this" in told(5, workspace="nobody-made-this")


def test_a_compute_that_is_not_there(here: Path) -> None:
    assert "nobody-made-this" in told(3, compute="nobody-made-this")


def test_a_quota(here: Path, emulated: Emulated) -> None:
    emulated.faults.add(Fault(Trouble.QUOTA, "PUT jobs"))
    said = told(1)
    assert "quota" in said.lower()
    assert "ask for more in the portal under Quotas" in said
    assert not [*emulated.faults]


def test_no_machine_after_a_while(here: Path, emulated: Emulated) -> None:
    emulated.faults.add(Fault(Trouble.CAPACITY, "PUT jobs"))
    assert "capacity" in told(6).lower()


def test_a_model_folder_that_is_not_there(here: Path) -> None:
    assert "model" in told(3, file="models: {fraud: {path: model}}")


def test_a_server_that_never_gets_ready_says_its_last_words(here: Path) -> None:
    python_model(here / "model", "1", "raise RuntimeError('the tables are gone')")
    said = told(6, file=SERVED)
    assert "User container has crashed" in said
    assert "the tables are gone" in said
