"""Jobs that have bad luck: scripts that fail, hang or flood, and a machine that is full, read-only or switched off."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_things import STACK, TIMEOUT, connected, destroy, until

from cloudml import specs
from cloudml.client import Client, connect_plugin
from cloudml.errors import ConfigError, RunFailed, Unsupported
from cloudml.handles import Job
from cloudml.states import Phase
from cloudml_local.plugin import plugin

Train = Callable[..., Job]
QUICK = {"local": {"env": {"CLOUDML_STOP_GRACE": "0.1"}}}


@pytest.fixture
def train(client: Client, tmp_path: Path) -> Train:
    def start(script: str, wait: bool = True, **fields: Any) -> Job:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "train.py").write_text(script)
        job = client.train("fit", source=str(source), command="python train.py", **fields)
        return job.wait(TIMEOUT) if wait else job

    return start


def processes(folder: Path) -> list[int]:
    """Those that work below a folder or name it in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            named = os.fsencode(folder) in (process / "cmdline").read_bytes()
            if (named or os.readlink(process / "cwd").startswith(str(folder))) and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found


def test_attempts_share_their_checkpoints(train: Train) -> None:
    script = """
import os, pathlib, sys, cloudml
checkpoints = pathlib.Path(os.environ["CLOUDML_CHECKPOINT_DIR"])
step = len(list(checkpoints.iterdir()))
print(f"attempt {os.environ['CLOUDML_ATTEMPT']} {cloudml.context().attempt} from step {step}", flush=True)
model = pathlib.Path(os.environ["CLOUDML_MODEL_DIR"])
assert not list(model.iterdir()), "what an earlier attempt began is gone"
(model / f"weights-{step}").touch()
(checkpoints / str(step)).touch()
if step < 2: sys.exit(1)
"""
    job = train(script, retries=2)
    state = job.state
    assert (state.phase, state.facts["attempt"]) == (Phase.SUCCEEDED, 3)
    assert "weights-2" in os.listdir(state.facts["model"])
    said = [line for line in job.logs() if line.startswith("attempt") or "attempt" in line]
    assert said == [
        "attempt 1 1 from step 0",
        "cloudml: exit code 1; attempt 2 of 3",
        "attempt 2 2 from step 1",
        "cloudml: exit code 1; attempt 3 of 3",
        "attempt 3 3 from step 2",
    ]


def test_a_script_that_exits_3(train: Train) -> None:
    with pytest.raises(RunFailed, match="code 3"):
        train("import sys; sys.exit(3)")


def test_a_job_without_a_model_has_nothing_to_register(train: Train, client: Client) -> None:
    job = train("print('no model')")
    with pytest.raises(RunFailed, match="model"):
        job.register("family")
    assert not [state for state in client.models.list() if state.of("version")]


def test_a_script_that_forks_and_hangs(train: Train, tmp_path: Path) -> None:
    """Children in its group, in a session of their own, and all deaf."""
    script = """
import os, signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
for own in (False, True):
    subprocess.Popen(["sleep", "600"], start_new_session=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("begun", flush=True)
while True: time.sleep(60)
"""
    job = train(script, wait=False, timeout=5, patch=QUICK)
    until(lambda: "begun" in list(job.logs()))
    assert len(processes(tmp_path)) >= 4
    with pytest.raises(RunFailed, match=r"still running after 5 s"):
        job.wait(TIMEOUT)
    until(lambda: not processes(tmp_path))


def test_a_job_that_prints_without_end_is_read_in_pieces(train: Train, home: Path) -> None:
    job = train(f"import sys\nfor n in range(1000): sys.stdout.write({'x' * 99 + chr(10)!r} * 1000)\nprint('end')")
    kept = sum(path.stat().st_size for path in (home / "jobs" / job.id).glob("log*"))
    assert 32_000_000 < kept <= 64_000_000
    lines, telemetry, cursor, most = 0, job.session.provider.telemetry, None, 0
    cut = []
    while True:
        found, cursor = telemetry.logs(job.state, cursor)
        if not found:
            break
        lines, most = lines + len(found), max(most, sum(len(line.text) + 1 for line in found))
        cut += [line.text for line in found if line.text.startswith("cloudml: ")]
        last = found[-1].text
    assert (most, last) == (pytest.approx(1_000_000, rel=0.01), "end")
    assert len(cut) == 1
    assert int(cut[0].split()[1]) + kept == pytest.approx(100_000_000, rel=0.001)
    assert 320_000 < lines < 640_000


def test_jobs_wait_for_cpus(home: Path, client: Client, tmp_path: Path) -> None:
    two = connect_plugin(plugin, STACK, [], {"home": str(home), "cpus": 2})
    go = tmp_path / "go"
    line = f"echo $CLOUDML_JOB_ID >> {tmp_path}/order; until [ -e {go} ]; do sleep 0.01; done"
    resources = specs.Resources(cpu=1.5)
    first = two.train("first", command=line, resources=resources)
    waits = two.train("second", command=line, resources=resources)
    never = two.train("third", command=line, resources=resources, wait_timeout=0.2)
    assert (waits.state.phase, waits.state.facts["waiting"]) == (Phase.PENDING, "waiting for 2 of 2 CPUs")
    with pytest.raises(RunFailed, match=r"waited 0\.2 s for 2 of 2 CPUs"):
        never.wait(TIMEOUT)
    cancelled = two.train("fourth", command=line)
    cancelled.cancel()
    assert cancelled.state.phase is Phase.CANCELLED
    go.touch()
    assert [job.wait(TIMEOUT).state.phase for job in (first, waits)] == [Phase.SUCCEEDED] * 2
    assert (tmp_path / "order").read_text().split() == [first.id, waits.id]
    with pytest.raises(Unsupported, match="asks for 3 CPUs, and there are 2"):
        two.train("large", command="true", resources=specs.Resources(cpu=3))
    assert len(list(client.jobs.list())) == 4


def test_the_number_of_cpus_is_configured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDML_CPUS", "many")
    with pytest.raises(ConfigError, match="CLOUDML_CPUS='many'"):
        connected(home)
    monkeypatch.setenv("CLOUDML_CPUS", "1000")
    one = connected(home)
    assert one.train("fit", command="true", resources=specs.Resources(cpu=900)).wait(TIMEOUT)
    destroy(one)


def test_everything_is_killed_at_once(train: Train, client: Client, home: Path, tmp_path: Path) -> None:
    """As by a reboot: nobody is left to write down what happened."""
    slow = "import time; print('begun', flush=True); time.sleep(600)"
    jobs = [train(slow, wait=False, resources=specs.Resources(cpu=client_cpus(client))) for _ in range(2)]
    until(lambda: "begun" in list(jobs[0].logs()))
    assert jobs[1].state.phase is Phase.PENDING
    while found := processes(tmp_path):
        for stop in (signal.SIGSTOP, signal.SIGKILL):  # nobody may see another one die
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, stop)
        time.sleep(0.01)
    for job in jobs:
        assert job.state.phase is Phase.FAILED
        assert job.state.failure is not None
        assert job.state.failure.reason == "its supervisor was killed"
    assert [state.phase for state in client.jobs.list()] == [Phase.FAILED] * 2
    assert train("print(1)").state.phase is Phase.SUCCEEDED, "and it goes on, with slots that nobody holds"


def client_cpus(client: Client) -> int:
    cpus: int = client.session.provider.jobs._cpus  # type: ignore[attr-defined]
    return cpus


def test_a_killed_supervisor_leaves_a_failed_job_and_no_process(train: Train, home: Path, tmp_path: Path) -> None:
    script = "import subprocess, time; p = subprocess.Popen(['sleep', '600']); print('begun', flush=True); p.wait()"
    job = train(script, wait=False)
    until(lambda: "begun" in list(job.logs()))
    os.kill(int((home / "jobs" / job.id / "alive").read_text().split()[0]), signal.SIGKILL)
    with pytest.raises(RunFailed, match="its supervisor was killed"):
        job.wait(TIMEOUT)
    until(lambda: not processes(tmp_path))


# -- a file system of its own: the program runs in a mount namespace, which leaves nothing behind ----------------------

FULL = """
import json, sys, cloudml
from cloudml.errors import CloudmlError
cloud = cloudml.connect("local", home=sys.argv[1] + "/home")
said = {}
job = cloud.train("fit", source=sys.argv[2], command="python train.py", retries=1)
try: job.wait(60)
except CloudmlError as error: said["wait"] = f"{type(error).__name__}: {error}"
state = job.state
said |= {"phase": state.phase.value, "reason": state.failure.reason, "jobs": [s.phase.value for s in cloud.jobs.list()]}
said["log"] = list(job.logs())
try: cloud.train("other", source=sys.argv[2], command="true").wait(60)
except CloudmlError as error: said["next"] = f"{type(error).__name__}: {error} | {error.hint}"
said["left"] = len(list(cloud.jobs.list()))
job.delete()
said["after"] = cloud.train("other", command="true").wait(60).state.phase.value
print(json.dumps(said))
"""
FILLS = """
import os, pathlib
block = os.urandom(65536)
with open(pathlib.Path(os.environ["CLOUDML_MODEL_DIR"], "weights"), "wb", buffering=0) as file:
    print("#cloudml.metric name=loss value=1")
    try:
        while True: file.write(block)
    except OSError: pass
    while True:
        try: file.write(b"x")
        except OSError: break
for name in "abc": print("#cloudml.metric name=auc value=2", flush=True)
raise SystemExit("cannot save")
"""


def mounted(folder: Path, size: str, program: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program in a mount namespace of its own, in which a small file system is at ``folder``."""
    folder.mkdir()
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    line = f'mount -t tmpfs -o size={size} none {folder} && exec "$@"'
    env = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["unshare", "--mount", *user, "sh", "-c", line, "sh", *program]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=TIMEOUT)


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
def test_a_script_that_fills_the_disk(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.py").write_text(FILLS)
    disk, source = tmp_path / "disk", str(tmp_path / "source")
    ended = mounted(disk, "4m", [sys.executable, "-c", FULL, str(disk), source])
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["phase"], said["jobs"]) == ("failed", ["failed"])
    assert "disk" in said["reason"]
    assert "is full" in said["reason"]
    assert said["wait"].startswith("RunFailed: ")
    assert said["next"].startswith("QuotaExceeded: "), said["next"]
    assert "make room on the disk" in said["next"]
    assert said["left"] <= 2
    assert said["after"] == "succeeded"


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
def test_a_home_that_is_read_only(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    program = """
"$0" -m cloudml train fit --command 'echo hello' -p local -q || exit 90
mount -o remount,ro "$1" || exit 91
find "$1" | sort > before
"$0" -m cloudml jobs list -p local -o name || exit 92
"$0" -m cloudml train fit --command 'echo hello' -p local; echo "code $?"
find "$1" | sort | diff before - || exit 93
"""
    (tmp_path / "work").mkdir()
    script = f"cd {tmp_path}/work; export CLOUDML_HOME={disk}/home; {program}"
    ended = mounted(disk, "8m", ["sh", "-c", script, sys.executable, str(disk)])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "code 1"
    assert "Read-only file system" in ended.stderr
    assert "CLOUDML_HOME" in ended.stderr
    assert "Traceback" not in ended.stderr
