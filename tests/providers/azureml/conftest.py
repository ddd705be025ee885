"""An Azure ML for all tests of a session, and an account of its own for each of them."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from azure_account import Account, Emulated
from azure_answers import MISFITS

PATIENCE = 900  # seconds of a script; the Azure command line takes some for each of many commands on a busy machine
FOREIGN = Path(__file__).parents[2] / "foreign" / "azure"


@pytest.fixture(autouse=True)
def answers_fit() -> Iterator[None]:
    """Each answer that a test has met, or anything that it started, fits the service's model of it."""
    MISFITS.clear()
    yield
    assert MISFITS == []


@pytest.fixture(scope="session")
def emulated() -> Iterator[Emulated]:
    made = Emulated()
    yield made
    made.up.close()


@pytest.fixture
def account(emulated: Emulated) -> Account:
    return Account(emulated, str(uuid.uuid4()))


@pytest.fixture
def script(emulated: Emulated, account: Account, tmp_path: Path) -> Callable[..., str]:
    """Runs a script that knows nothing of this project; its output.

    One of a shell has the ``programs`` of a folder; ``besides`` are hosts that it asks in vain.
    """

    def run(name: str, *arguments: str, programs: Path | None = None, besides: Collection[str] = ()) -> str:
        keep = {word: os.environ[word] for word in ("PATH", "HOME", "CLOUDML_TESTS") if word in os.environ}
        environment = {**keep, "TMPDIR": str(tmp_path), "AZUREML_RUN_POLLING_INTERVAL_MIN": "1"}
        environment |= {**emulated.up.environment, "AZURE_SUBSCRIPTION_ID": account.subscription}
        if programs:
            environment |= {"PATH": f"{programs}:{environment['PATH']}", "HOME": str(tmp_path)}
        interpreter = ["sh"] if programs else [sys.executable, "-W", "ignore"]
        command = [*interpreter, str(FOREIGN / name), *arguments]
        earlier = emulated.up.network.refused  # to other tests of this session
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        now = emulated.up.network.refused
        refused = [each for each in now if each not in earlier and each.host not in besides]
        assert not refused, refused
        return done.stdout

    return run
