"""The image's entrypoint as a process: what each platform hands it, what it does as the first process, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudml.errors import ConfigError
from cloudml.runtime import platforms

SRC = str(Path(__file__).resolve().parents[2] / "src")
DEADLINE = 40.0
CLEAN = ("CLOUDML_", "AIP_", "SAGEMAKER_", "AZUREML_")
SUPERVISED = """
import os, subprocess, sys, time
from pathlib import Path
from cloudml.runtime.supervising import supervise

def work():
    {work}

sys.exit(supervise(work))
"""


def until(done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := done()):
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)
    return found


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(CLEAN)}
    return {**clean, "PYTHONPATH": SRC, **more}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A container's file tree."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def start(root: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    program = (
        "import sys; from pathlib import Path; from cloudml.runtime.entrypoint import main; "
        f"sys.exit(main(sys.argv[1:], Path({str(root)!r})))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment(CLOUDML_PORT="0", **env),
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return process.returncode, out + err


def model(
    folder: Path, code: str = "class Model:\n    def __init__(self, f): ...\n    def predict(self, r): return r\n"
) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(code)
    return folder


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(work: str, *prefix: str) -> subprocess.Popen[str]:
        argv = [*prefix, sys.executable, "-c", SUPERVISED.format(work=work)]
        started.append(subprocess.Popen(argv, env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_the_exit_code_is_the_works(supervised: Callable[..., subprocess.Popen[str]]) -> None:
    assert supervised("return 7").wait(DEADLINE) == 7
    assert supervised("sys.exit(3)").wait(DEADLINE) == 3
    assert supervised("os.kill(os.getpid(), 9)").wait(DEADLINE) == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_forwarded(number: signal.Signals, supervised: Callable[..., Any], tmp_path: Path) -> None:
    work = (
        f"import signal; signal.signal({int(number)}, lambda *_: sys.exit(40)); "
        "Path('ready').touch(); [time.sleep(0.05) for _ in range(800)]"
    )
    process = supervised(work)
    until((tmp_path / "ready").exists)
    process.send_signal(number)
    assert process.wait(DEADLINE) == 40


ORPHAN = (
    "loop = 'for i in $(seq 2000); do [ -e go ] && break; sleep 0.02; done'; "
    "subprocess.run(['/bin/sh', '-c', '(' + loop + ') & echo $! > orphan']); "
    "Path('ready').touch(); [time.sleep(0.05) for _ in range(800) if not Path('end').exists()]; return 0"
)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to whoever asks for them")
def test_an_orphan_is_adopted_and_reaped(supervised: Callable[..., Any], tmp_path: Path) -> None:
    process = supervised(ORPHAN)
    until((tmp_path / "ready").exists)
    pid = int((tmp_path / "orphan").read_text())
    assert parent(pid) == process.pid
    (tmp_path / "go").touch()
    until(lambda: not Path(f"/proc/{pid}").exists())
    (tmp_path / "end").touch()
    assert process.wait(DEADLINE) == 0


def test_the_model_is_found_where_each_platform_puts_it(root: Path) -> None:
    baked = model(root / "opt/cloudml/model")
    (root / "opt/cloudml/image.json").write_text('{"model_digest": "sha256:1"}')
    assert platforms.serving({}, root) == {"CLOUDML_MODEL_DIR": str(baked), "CLOUDML_MODEL_DIGEST": "sha256:1"}
    kserve = model(root / "mnt/models")
    assert platforms.serving({}, root) == {"CLOUDML_MODEL_DIR": str(kserve)}
    azure = model(root / "var/azureml-app/azureml-models/fraud/3").parents[1]
    assert platforms.serving({}, root) == {"CLOUDML_MODEL_DIR": str(azure)}
    sagemaker = model(root / "opt/ml/model")
    assert platforms.serving({}, root) == {"CLOUDML_MODEL_DIR": str(sagemaker)}
    assert platforms.serving({"AZUREML_MODEL_DIR": str(azure)}, root) == {"CLOUDML_MODEL_DIR": str(azure)}
    assert platforms.serving({"CLOUDML_MODEL_DIR": "/x", "AZUREML_MODEL_DIR": str(azure)}, root) == {}
    found = platforms.serving({"AIP_STORAGE_URI": "gs://bucket/m", "TMPDIR": "/t"}, root)
    assert found == {"CLOUDML_MODEL_DIR": "/t/cloudml-model", "CLOUDML_MODEL_URI": "gs://bucket/m"}


def test_no_model_at_all_is_said_with_all_places(root: Path) -> None:
    (root / "opt/ml/model").mkdir(parents=True)  # SageMaker makes the folder even without a model
    with pytest.raises(ConfigError, match=r"there is no model: none of .*opt/ml/model"):
        platforms.serving({}, root)


def test_without_arguments_it_serves_and_sigterm_ends_it_with_0(root: Path, tmp_path: Path) -> None:
    model(root / "mnt/models")
    ready = tmp_path / "ready.json"
    process = start(root, CLOUDML_READY_FILE=str(ready))
    until(lambda: ready.exists() or process.poll() is not None)
    process.terminate()
    code, said = finished(process)
    assert code == 0, said


@pytest.mark.parametrize("code", ["1 / 0", "raise SystemExit(0)"])
def test_a_model_that_does_not_load_ends_with_3_and_tells_kubernetes_why(code: str, root: Path) -> None:
    model(root / "opt/ml/model", code)
    (root / "dev").mkdir()
    (root / "dev/termination-log").touch()
    ended, said = finished(start(root, "serve"))
    assert ended == 3, said
    told = (root / "dev/termination-log").read_text()
    assert told.startswith("ZeroDivisionError: division by zero" if code == "1 / 0" else "SystemExit")


def test_no_model_ends_with_3_and_tells_why(root: Path) -> None:
    (root / "dev").mkdir()
    (root / "dev/termination-log").touch()
    code, said = finished(start(root, "serve"))
    assert code == 3
    assert "there is no model" in said
    assert "there is no model" in (root / "dev/termination-log").read_text()


def test_an_unknown_verb_is_a_wrong_use(root: Path) -> None:
    code, said = finished(start(root, "sreve"))
    assert code == 2
    assert "train | serve" in said


SCRIPT = """
import json, os, sys
said = {"argv": sys.argv[1:], "params": json.loads(os.environ["CLOUDML_PARAMS"]),
        "inputs": json.loads(os.environ["CLOUDML_INPUTS"]), "rank": os.environ["CLOUDML_NODE_RANK"],
        "master": os.environ["CLOUDML_MASTER_ADDR"]}
open(os.environ["CLOUDML_MODEL_DIR"] + "/said.json", "w").write(json.dumps(said))
if "fail" in sys.argv: raise ValueError("no such luck")
"""


def sagemaker(root: Path, command: list[str]) -> Path:
    """The tree that SageMaker mounts; facts: containers.md, section 1."""
    ml = root / "opt/ml"
    for folder in ("input/config", "input/data/cloudml/source", "input/data/train", "model", "output/data"):
        (ml / folder).mkdir(parents=True)
    (ml / "input/config/hyperparameters.json").write_text('{"lr": "0.5", "name": "plain"}')
    config = {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"]}
    (ml / "input/config/resourceconfig.json").write_text(json.dumps(config))
    spec = {"spec": {"command": command, "params": {"lr": 0.1, "depth": 3}}}
    (ml / "input/data/cloudml/spec.json").write_text(json.dumps(spec))
    (ml / "input/data/cloudml/source/train.py").write_text(SCRIPT)
    return ml


def test_a_sagemaker_job_needs_no_option(root: Path) -> None:
    ml = sagemaker(root, ["python", "train.py", "{params.lr}"])
    code, said = finished(start(root, "train", TRAINING_JOB_NAME="fraud-1a2b3c4d-1"))
    assert code == 0, said
    found = json.loads((ml / "model/said.json").read_text())
    assert found["argv"] == ["0.5"]
    assert found["params"] == {"lr": 0.5, "depth": 3, "name": "plain"}
    assert found["inputs"] == {"train": str(ml / "input/data/train")}
    assert (found["rank"], found["master"]) == ("1", "algo-1")


def test_a_sagemaker_job_that_fails_writes_its_failure_file(root: Path) -> None:
    ml = sagemaker(root, ["python", "train.py", "fail"])
    code, said = finished(start(root, "train"))
    assert code == 1, said
    assert (ml / "output/failure").read_text() == "ValueError: no such luck"


def test_a_command_after_two_dashes_is_a_job(root: Path, tmp_path: Path) -> None:
    (root / "train.py").write_text(SCRIPT)
    cluster = {"cluster": {"workerpool0": ["a:2222"], "workerpool1": ["b:2222", "c:2222"]}}
    spec = json.dumps({**cluster, "task": {"type": "workerpool1", "index": 1}})
    process = start(
        root, "train", "--", "python", "train.py", "x", CLOUDML_OUTPUT_DIR=str(tmp_path / "out"), CLUSTER_SPEC=spec
    )
    code, said = finished(process)
    assert code == 0, said
    found = json.loads((tmp_path / "out/model/said.json").read_text())
    assert (found["argv"], found["rank"], found["master"]) == (["x"], "2", "a")


def test_a_job_that_nobody_told_of_is_refused(root: Path) -> None:
    code, said = finished(start(root, "train"))
    assert code == 2
    assert "there is no job" in said
