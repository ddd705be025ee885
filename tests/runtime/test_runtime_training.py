"""One run of a job as a process, on this Python and, where it is installed, on 3.9: the oldest that images have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest
from serving_process import SRC, until

OLDEST = Path.home() / ".pyenv/versions/3.9.18/bin/python"
PYTHONS = [sys.executable, *([str(OLDEST)] if OLDEST.exists() else [])]
PLAIN = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "python": sys.executable}))
print("#cloudml.metric name=loss value=0.5 step=1")
print("epoch 2 #cloudml.metric name=loss value=2.5e-1 step=2")
print("#cloudml.metric name=bad value=x", "#cloudml.metric nothing")
json.dump({"auc": 0.9, "loss": 0.25, "note": "x"}, open(os.environ["CLOUDML_OUTPUT_DIR"] + "/data/metrics.json", "w"))
open(os.environ["CLOUDML_MODEL_DIR"] + "/model.py", "w").write("def load(folder): ...")
"""


class Job:
    """A source folder and a job.json, run by the runtime."""

    def __init__(self, folder: Path, script: str, python: str = sys.executable, **fields: Any) -> None:
        self.output = folder / "run" / "output"
        self.source = folder / "source"
        self.source.mkdir(parents=True)
        (self.source / "train.py").write_text(script)
        self.python = python
        self.file = folder / "job.json"
        job = {"id": "j-1", "name": "j", "command": "python train.py", "source": str(self.source), **fields}
        self.file.write_text(json.dumps(job))

    def start(self, log: IO[bytes] | None = None, **env: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDML_", "PET_"))}
        given = {"CLOUDML_JOB": str(self.file), "CLOUDML_OUTPUT_DIR": str(self.output), "PYTHONPATH": SRC}
        return subprocess.Popen(
            [self.python, "-m", "cloudml.runtime", "train"],
            env={**clean, **given, **env},
            stdout=log or subprocess.PIPE,
            stderr=log or subprocess.PIPE,
            text=True,
        )

    def run(self, **env: str) -> subprocess.CompletedProcess[str]:
        process = self.start(**env)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def failure(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.output / "failure.json").read_text())
        return found

    def metrics(self) -> list[tuple[str, float, int | None]]:
        path = self.output / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        assert all(abs(line["time"] - time.time()) < 600 for line in lines)
        return [(line["name"], line["value"], line["step"]) for line in lines]


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: Path(python).parts[-3])
def test_a_plain_script(tmp_path: Path, python: str) -> None:
    command = "python train.py --lr {params.lr} {params.name} {inputs.train} {node_rank} {{x}} ${HOME:+set}"
    job = Job(tmp_path, PLAIN, python, command=command, params={"lr": 3e-4, "name": "a b'c"}, inputs={"train": "/x y"})
    done = job.run()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[0])
    assert said["argv"] == ["--lr", "0.0003", "a b'c", "/x y", "0", "{{x}}", "set"]
    assert said["cwd"] == str(job.source)
    assert said["python"] == python
    assert job.metrics() == [("loss", 0.5, 1), ("loss", 0.25, 2), ("auc", 0.9, None)]
    assert "metrics.json: 'note' is left out" in done.stderr
    manifest = json.loads((job.output / "model" / "cloudml-model.json").read_text())
    assert (manifest["flavor"], manifest["entry"], manifest["schema_version"]) == ("python", "model.py", 1)
    assert not (job.output / "failure.json").exists()
    assert sorted(path.name for path in job.output.iterdir()) == ["checkpoints", "data", "metrics.jsonl", "model"]


CONTEXT = """
import json, sys
from cloudml.runtime.context import context, log_metric
ctx = context()
ctx.log_metric("auc", 0.5)
log_metric("auc", 0.75, step=3)
log_metric("nan", float("nan"))
print(json.dumps([ctx.id, ctx.name, ctx.attempt, ctx.params, {k: str(v) for k, v in ctx.inputs.items()},
                  str(ctx.model_dir), ctx.model_dir.is_dir(), str(ctx.checkpoint_dir), ctx.node_rank, ctx.num_nodes]))
print(sorted({name.split(".")[0] for name in sys.modules} & {"numpy", "orjson", "httptools", "pydantic", "yaml"}))
"""


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: Path(python).parts[-3])
def test_a_script_that_asks_for_its_context(tmp_path: Path, python: str) -> None:
    job = Job(
        tmp_path, CONTEXT, python, command=["python", "train.py"], params={"a": [1]}, inputs={"x": "/d"}, attempt=2
    )
    done = job.run(PET_NNODES="1:4", PET_NODE_RANK="2", PET_MASTER_ADDR="h")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#cloudml")]
    model, checkpoints = str(job.output / "model"), str(job.output / "checkpoints")
    assert json.loads(lines[0]) == ["j-1", "j", 2, {"a": [1]}, {"x": "/d"}, model, True, checkpoints, 2, 4]
    assert lines[1] == "[]"
    assert job.metrics() == [("auc", 0.5, None), ("auc", 0.75, 3), ("nan", None, None)]


def test_outside_any_job(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(CONTEXT)
    env = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDML_")}
    command = [sys.executable, "train.py"]
    subprocess.run(command, cwd=tmp_path, env={**env, "PYTHONPATH": SRC}, check=True, capture_output=True, timeout=30)
    records = [json.loads(line) for line in (tmp_path / "output" / "metrics.jsonl").read_text().splitlines()]
    assert [record["value"] for record in records] == [0.5, 0.75, None]
    assert (tmp_path / "output" / "model").is_dir()


VARIABLES = """
import json, os
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("CLOUDML_") or name == "MINE"}))
"""


def test_the_environment_of_the_command(tmp_path: Path) -> None:
    job = Job(
        tmp_path, VARIABLES, params={"lr": 0.1, "top-k": 3, "name": "x"}, inputs={"train": "/d"}, env={"MINE": "1"}
    )
    found = json.loads(job.run(CLOUDML_NODE_RANK="1", CLOUDML_NUM_NODES="2", PET_NODE_RANK="7").stdout)
    assert found["CLOUDML_PARAMS"] == '{"lr": 0.1, "top-k": 3, "name": "x"}'
    expected = {
        "CLOUDML_PARAM_LR": "0.1",
        "CLOUDML_PARAM_TOP_K": "3",
        "CLOUDML_PARAM_NAME": "x",
        "CLOUDML_INPUT_TRAIN": "/d",
        "CLOUDML_MODEL_DIR": str(job.output / "model"),
        "CLOUDML_CHECKPOINT_DIR": str(job.output / "checkpoints"),
        "CLOUDML_OUTPUT_DIR": str(job.output),
        "CLOUDML_JOB_ID": "j-1",
        "CLOUDML_ATTEMPT": "1",
        "CLOUDML_NODE_RANK": "1",
        "CLOUDML_NUM_NODES": "2",
        "CLOUDML_MASTER_ADDR": "127.0.0.1",
        "CLOUDML_MASTER_PORT": "29500",
        "MINE": "1",
    }
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("script", "code", "kind", "message", "exit_code"),
    [
        ("def f():\n  raise ValueError('bad lr')\nf()", 1, "ValueError", "bad lr", 1),
        ("try: 1/0\nexcept Exception as e: raise RuntimeError('x') from e", 1, "RuntimeError", "x", 1),
        ("import json; json.loads('{')", 1, "JSONDecodeError", "Expecting property name", 1),
        ("x = (", 1, "SyntaxError", "'(' was never closed", 1),
        ("import sys; sys.exit(3)", 1, "ExitCode", "the command ended with exit code 3", 3),
        ("import sys; sys.exit(2)", 1, "ExitCode", "the command ended with exit code 2", 2),
        ("import sys; sys.exit('no such file: x')", 1, "ExitCode", "exit code 1; its last line: no such file: x", 1),
        ("import sys; sys.exit('x' * 300 + '\\n\\n')", 1, "ExitCode", f"; its last line: {'x' * 200}…", 1),
        ("import sys; sys.exit(75)", 75, "ExitCode", "the command ended with exit code 75", 75),
        ("import os; os.kill(os.getpid(), 9)", 1, "Killed", "the command was killed by SIGKILL", 137),
    ],
)
def test_a_failure_says_why(tmp_path: Path, script: str, code: int, kind: str, message: str, exit_code: int) -> None:
    job = Job(tmp_path, script, attempt=4)
    done = job.run()
    assert done.returncode == code
    found = job.failure()
    assert (found["type"], found["exit_code"], found["attempt"]) == (kind, exit_code, 4)
    assert message in found["message"]
    assert (found["traceback"] is not None) == kind.endswith("Error")
    if kind == "ValueError":
        assert found["traceback"].startswith("Traceback (most recent call last):\n")
        assert found["traceback"].endswith("in f\n    raise ValueError('bad lr')\nValueError: bad lr")
    assert not (job.output / "model" / "cloudml-model.json").exists()


@pytest.mark.parametrize(
    ("fields", "env", "says"),
    [
        ({"command": "python train.py {params.lr}"}, {}, "the command names {params.lr}, which this job has not"),
        ({"command": ["python", "{what}"]}, {}, "the command names {what}"),
        ({"command": ""}, {}, "'command' must be"),
        ({"params": [1]}, {}, "'params' is missing or of the wrong type"),
        ({"inputs": {"x": 1}}, {}, "the values of 'inputs' must be strings"),
        ({"source": "/no/such/folder"}, {}, "is not a folder"),
        ({}, {"CLOUDML_NODE_RANK": "x"}, "CLOUDML_NODE_RANK='x' is not a number"),
        (
            {},
            {"CLOUDML_NODE_RANK": "2", "CLOUDML_NUM_NODES": "2"},
            "CLOUDML_NODE_RANK=2 is not below CLOUDML_NUM_NODES=2",
        ),
        ({}, {"CLOUDML_JOB": ""}, "CLOUDML_JOB is not set"),
        ({}, {"CLOUDML_OUTPUT_DIR": ""}, "CLOUDML_OUTPUT_DIR is not set"),
    ],
)
def test_a_bad_configuration_is_exit_code_2(tmp_path: Path, fields: Any, env: dict[str, str], says: str) -> None:
    job = Job(tmp_path, "raise SystemExit('the command was started')", **fields)
    done = job.run(**env)
    assert done.returncode == 2
    assert says in done.stderr
    assert "was started" not in done.stderr
    if "CLOUDML_OUTPUT_DIR" not in env:
        assert (job.failure()["type"], job.failure()["exit_code"]) == ("ConfigError", 2)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo a b", "a b"),
        ("A=1 sh -c 'echo $A'", "1"),
        ("echo a; echo b", "a\nb"),
        ("echo a | tr a b", "b"),
        ("echo 'a;b' \"c&d\"", "a;b c&d"),
        ("(echo a)", "a"),
        ("! false && echo it\\'s", "it's"),
        ("echo {params.p}", "x; echo y 'z'"),
        ("for i in 1 2; do echo $i; done", "1\n2"),
        ("echo a # b", "a"),
        ("echo a\necho b", "a\nb"),
        ("python3 -c 'print(1)'", "1"),
        (["echo", "{params.p}", "$HOME"], "x; echo y 'z' $HOME"),
    ],
    ids=str,
)
def test_commands_as_a_shell_reads_them(tmp_path: Path, command: Any, said: str) -> None:
    done = Job(tmp_path, "", command=command, params={"p": "x; echo y 'z'"}).run()
    assert (done.returncode, done.stdout) == (0, said + "\n"), done.stderr


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    job = Job(tmp_path, "", command=["/no/such/program"])
    assert job.run().returncode == 1
    assert job.failure()["type"] == "CommandNotStarted"


def test_a_later_attempt_forgets_the_failure_of_the_first(tmp_path: Path) -> None:
    job = Job(tmp_path, "import os; raise SystemExit(0 if os.path.exists('../fixed') else 1)")
    assert job.run().returncode == 1
    (tmp_path / "fixed").touch()
    assert job.run().returncode == 0
    assert not (job.output / "failure.json").exists()


TRAPS = """
import os, pathlib, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
def stop(number, frame):
    pathlib.Path("stopped").write_text(signal.Signals(number).name)
    child.wait()
    sys.exit({code})
signal.signal({which}, {handler})
pathlib.Path("child").write_text(str(child.pid))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("command", ["python train.py", "true && python train.py", ["python", "train.py"]], ids=str)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_whole_group(tmp_path: Path, number: signal.Signals, command: Any) -> None:
    """The script's own child gets it too: the handler waits for that child, and ends well, also below a shell."""
    job = Job(tmp_path, TRAPS.format(code=0, which=f"signal.{number.name}", handler="stop"), command=command)
    process = job.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert (job.source / "stopped").read_text() == number.name


def test_who_ignores_the_signal_is_killed_after_the_grace(tmp_path: Path) -> None:
    job = Job(tmp_path, TRAPS.format(code=0, which="signal.SIGTERM", handler="signal.SIG_IGN"))
    process = job.start(CLOUDML_STOP_GRACE="0.2")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert job.failure()["message"] == "the command was killed by SIGKILL"


def test_a_killed_runtime_takes_its_command_with_it(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("live: only Linux tells a child of its parent's end")
    job = Job(tmp_path, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    process = job.start()
    assert process.stdout is not None
    child = Path("/proc", process.stdout.readline().strip(), "cmdline")
    process.kill()
    process.communicate(timeout=60)
    until(lambda: not child.exists() or child.read_bytes() == b"")


def test_output_passes_through_as_it_comes_and_as_it_is(tmp_path: Path) -> None:
    script = "import sys, time\nsys.stdout.buffer.write(b'50%\\r\\xff')\nsys.stdout.flush()\ntime.sleep(60)"
    job = Job(tmp_path, script)
    process = subprocess.Popen(
        [sys.executable, "-m", "cloudml.runtime", "train"],
        env={**os.environ, "CLOUDML_JOB": str(job.file), "CLOUDML_OUTPUT_DIR": str(job.output), "PYTHONPATH": SRC},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"50%\r\xff"  # no line has ended, and the command still runs
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: Path(python).parts[-3])
def test_lines_of_both_streams_in_one_file_are_not_glued(tmp_path: Path, python: str) -> None:
    """A print is two writes without a buffer, and 500 of them on each side meet."""
    script = """
import sys, threading
def say(stream, word):
    for number in range(500):
        print(f"{word} {number}", file=stream)
threads = [threading.Thread(target=say, args=each) for each in ((sys.stdout, "out"), (sys.stderr, "err"))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.stderr.write("a bar: 50 %"); sys.stderr.flush()
print("said beside the bar")
"""
    job = Job(tmp_path, script, python)
    with open(tmp_path / "log", "wb") as log:
        assert job.start(log).wait(timeout=60) == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line for line in lines if line.count("out") + line.count("err") > 1] == []
    assert {f"{word} {number}" for word in ("out", "err") for number in range(500)} <= set(lines)
    assert {"said beside the bar", "a bar: 50 %"} <= set(lines)


def test_what_the_command_leaves_behind_does_not_hold_the_job(tmp_path: Path) -> None:
    script = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    began = time.monotonic()
    assert Job(tmp_path, script).run().returncode == 0
    assert time.monotonic() - began < 55


def test_a_model_with_a_link_fails_and_says_so(tmp_path: Path) -> None:
    job = Job(tmp_path, "import os; os.symlink('/etc/hosts', os.environ['CLOUDML_MODEL_DIR'] + '/model.pkl')")
    assert job.run().returncode == 1
    assert "is a symbolic link" in job.failure()["message"]


def test_only_the_first_node_writes_the_manifest(tmp_path: Path) -> None:
    script = "import os; open(os.environ['CLOUDML_MODEL_DIR'] + '/model.py', 'w')"
    job = Job(tmp_path, script)
    assert job.run(CLOUDML_NODE_RANK="1", CLOUDML_NUM_NODES="2").returncode == 0
    assert not (job.output / "model" / "cloudml-model.json").exists()
    assert job.run(CLOUDML_NODE_RANK="0", CLOUDML_NUM_NODES="2").returncode == 0
    assert (job.output / "model" / "cloudml-model.json").exists()


def test_requirements_are_installed_beside_the_job(tmp_path: Path) -> None:
    """Offline: the requirement is a folder, which pip builds with what is installed; the next attempt finds it."""
    pytest.importorskip("hatchling")
    package = tmp_path / "package"
    (package / "shiny_thing").mkdir(parents=True)
    (package / "shiny_thing" / "__init__.py").write_text("COLOUR = 'green'")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "shiny-thing"\nversion = "1.0"\n'
    )
    job = Job(tmp_path, "import shiny_thing; print(shiny_thing.COLOUR, shiny_thing.__file__)")
    (job.source / "requirements.txt").write_text(f"{package}\n")
    offline = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", **quiet_pip(tmp_path)}
    first = job.run(**offline)
    assert first.returncode == 0, first.stderr
    colour, place = first.stdout.split()
    (site,) = job.output.parent.glob("site-*")
    assert (colour, Path(place).parts[: len(site.parts)]) == ("green", site.parts)
    assert "installing" in first.stderr
    second = job.run(**offline)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "installing" not in second.stderr


def test_requirements_that_cannot_be_installed(tmp_path: Path) -> None:
    job = Job(tmp_path, "print('started')")
    (job.source / "requirements.txt").write_text("./no-such-folder\n")
    done = job.run(PIP_NO_INDEX="1", **quiet_pip(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert job.failure()["type"] == "InstallFailed"
    assert "no-such-folder" in job.failure()["traceback"]
    assert list(job.output.parent.glob("site-*")) == []


def quiet_pip(folder: Path) -> dict[str, str]:
    """pip asks a Rust compiler for its version, and some of those write into the home folder."""
    return {
        "RUSTUP_HOME": str(folder / "rustup"),
        "CARGO_HOME": str(folder / "cargo"),
        "PIP_CACHE_DIR": str(folder / "pip"),
    }
