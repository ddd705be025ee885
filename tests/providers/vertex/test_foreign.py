"""Google's own SDK, unmodified, on the emulated Vertex AI, and the unchanged quickstart."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudml.emulation.running import Running

ROOT = Path(__file__).parents[3]
FOREIGN = ROOT / "tests" / "foreign" / "google"
TRANSPORTS = ("grpc", "rest")
NUMBERS = itertools.count(1)
Run = Callable[..., str]


@pytest.fixture
def run(running: Running, tmp_path: Path) -> Run:
    """Runs a program that knows nothing of the emulator, in a project of its own; its output."""

    def program(*command: str) -> str:
        keep = {word: os.environ[word] for word in ("PATH", "HOME", "CLOUDML_TESTS") if word in os.environ}
        project = f"foreign-{os.getpid()}-{next(NUMBERS)}"
        own = {"GOOGLE_CLOUD_PROJECT": project, "CLOUDSDK_CORE_PROJECT": project}
        environment = {**keep, "TMPDIR": str(tmp_path), **running.environment, **own}
        environment = {name: text for name, text in environment.items() if not name.startswith("CLOUDML_VERTEX")}
        earlier = running.network.refused  # to other tests of this session
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=480)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        refused = [each for each in running.network.refused if each not in earlier]
        assert not refused, refused
        return done.stdout

    return program


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_train_register_deploy_predict_and_delete(run: Run, transport: str) -> None:
    nonce = uuid.uuid4().hex
    image = "us-central1-docker.pkg.dev/acme/ml/cloudml-serve:1"
    script = str(FOREIGN / "train_and_serve.py")
    assert f"said {nonce}" in run(sys.executable, "-W", "ignore", script, f"b-{nonce[:12]}", image, nonce, transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_script_of_this_machine_is_packed_and_run(run: Run, transport: str) -> None:
    nonce = uuid.uuid4().hex
    script = str(FOREIGN / "from_local_script.py")
    assert f"said {nonce}!" in run(sys.executable, "-W", "ignore", script, f"b-{nonce[:12]}", nonce, transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_refusals_are_google_s_own_exceptions(run: Run, transport: str) -> None:
    script = str(FOREIGN / "refusals.py")
    assert "refused" in run(sys.executable, "-W", "ignore", script, f"b-{uuid.uuid4().hex[:12]}", transport)


if shutil.which("gcloud"):

    def test_google_s_own_command_line(run: Run) -> None:
        nonce = uuid.uuid4().hex
        image = "us-central1-docker.pkg.dev/acme/ml/cloudml-serve:1"
        assert f"said {nonce}" in run("bash", str(FOREIGN / "with_gcloud.sh"), f"b-{nonce[:12]}", image, nonce)


def test_nothing_in_the_scripts_knows_of_an_emulator() -> None:
    scripts = [*FOREIGN.glob("*.py"), *FOREIGN.glob("*.sh")]
    assert len(scripts) > 3
    for script in scripts:
        text = script.read_text()
        assert not [
            word for word in ("cloudml", "endpoint_url", "api_endpoint", "127.0.0.1", "localhost") if word in text
        ]


def test_the_unchanged_quickstart(followed: Callable[..., str]) -> None:
    followed("vertex")
