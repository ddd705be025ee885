"""Programs whose libraries nobody here wrote: Microsoft's SDK and azure.identity, unmodified, without an address."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from azure_account import Account, Emulated

from cloudml.emulation.faults import Fault, Trouble
from cloudml_azureml.emulator.store import ACCOUNT

Script = Callable[..., str]
AZURE_CLI = Path(__file__).parents[3] / ".nox" / "azureml-azurecli" / "bin" / "python"
# What the command line asks for besides, and does without: telemetry, and whether there is a newer one.
BESIDES = ("dc.services.visualstudio.com", "azcliprod.blob.core.windows.net")


@pytest.mark.parametrize("workspace", ["cloudml", "cloudml-keys", "cloudml-sas"])
def test_a_job_learns_and_its_model_is_registered(script: Script, workspace: str) -> None:
    said = script("train_and_download.py", workspace)
    nonce = said.splitlines()[-1].removeprefix("learned ")
    assert len(nonce) == 32
    if workspace != "cloudml-sas":
        assert f"training on {nonce} as hello" in said  # streamed while it ran


def test_blue_gives_way_to_green(script: Script) -> None:
    assert "served " in script("blue_green.py").splitlines()[-1]


def test_what_fails_is_told_and_repaired(script: Script, emulated: Emulated) -> None:
    name = f"endpoint-{uuid.uuid4().hex[:8]}"
    for trouble in (Trouble.FAIL, Trouble.CANCEL):
        emulated.faults.add(Fault(trouble, "DELETE onlineEndpoints", name))
    assert "repaired " in script("failures.py", name).splitlines()[-1]


def test_refusals_are_the_sdk_s_own_exceptions(script: Script, emulated: Emulated, account: Account) -> None:
    emulated.faults.add(Fault(Trouble.THROTTLE, "GET models/versions", "m/1", times=2))
    emulated.faults.add(Fault(Trouble.THROTTLE, "GET environments/versions", "kept/1", times=1))
    assert script("refusals.py").splitlines()[-1] == "refused"


def test_assets_have_versions_and_schedules_run_jobs(script: Script) -> None:
    assert "scheduled " in script("assets_and_schedules.py").splitlines()[-1]


def test_the_azure_command_line(script: Script, account: Account) -> None:
    python = Path(os.environ.get("CLOUDML_AZURECLI", AZURE_CLI))
    if not python.exists():
        pytest.skip("nox -s azureml makes the environment of azurecli")
    account.ask("GET", account.id, "2024-10-01-preview")  # what nobody was given or has used, `az login` does not list
    nonce = uuid.uuid4().hex
    said = script("with_cli.sh", nonce, ACCOUNT, programs=python.parent, besides=BESIDES).splitlines()
    assert f"training on {nonce}" in said
    assert f'{nonce}"!"' in said
