"""How the emulator starts and ends: Azurite that is not there, a process that is killed, a world that is emptied."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from azure_account import PATIENCE, Account, Emulated, until

from cloudml.errors import MissingExtra
from cloudml_azureml.emulator.storage import azurite

DYING = """
import sys, uuid
from azure_account import Account, Emulated, until
emulated = Emulated()
account = Account(emulated, str(uuid.uuid4()))
account.job("j", "echo running; sleep 1000")
until(lambda: account.log("j"), lambda log: log == "running\\n")
account.endpoint("dies-with-me")
account.settled("onlineEndpoints/dies-with-me")
account.deployed("dies-with-me", "blue", "def init(): pass\\ndef run(raw): pass\\n")
print("up", flush=True)
sys.stdin.read()
"""


def test_without_azurite_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOUDML_AZURITE", str(tmp_path / "azurite-blob"))
    with pytest.raises(MissingExtra, match="no such program") as missing:
        azurite()
    assert "npm install" in str(missing.value.hint)
    assert "CLOUDML_AZURITE" in str(missing.value.hint)
    monkeypatch.delenv("CLOUDML_AZURITE")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="Azurite was not found"):
        azurite()


def marked(mark: str) -> list[str]:
    """The processes that carry a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_kill_leaves_nothing_behind(tmp_path: Path) -> None:
    mark = f"CLOUDML_DYING={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    environment = {**os.environ, name: value, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", DYING], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert any("azurite" in each for each in marked(mark))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + PATIENCE
    while left := marked(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_an_emptied_world_is_as_on_the_first_day() -> None:
    emulated = Emulated()
    try:
        account = Account(emulated, str(uuid.uuid4()))
        account.job("j", "sleep 1000")
        account.endpoint("gone")
        account.settled("onlineEndpoints/gone")
        account.deployed("gone", "blue", "def init(): pass\ndef run(raw): pass\n")
        assert emulated.up.clouds["azureml"].cloud.inspect()["workspaces"]
        emulated.up.reset()
        assert emulated.up.clouds["azureml"].cloud.inspect()["workspaces"] == {}
        assert account.ask("GET", "jobs", "2024-01-01-preview")["value"] == []
        account.job("j", "echo again")
        assert account.finished("j")["status"] == "Completed"
        until(lambda: account.log("j"), lambda log: log == "again\n")
    finally:
        emulated.up.close()
