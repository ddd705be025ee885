"""LocalStack as a process: it listens here alone, reaches nothing outside, and is gone afterwards."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aws_account import Account, eventually

from cloudml.emulation.running import Running, start
from cloudml_sagemaker.emulator import emulator
from cloudml_sagemaker.emulator.localstack import NEEDS, VARIABLE

ROOT = Path(__file__).resolve().parents[3]
OUTSIDE = "http://192.0.2.1/"  # TEST-NET-1, which leads nowhere


def processes(folder: Path) -> list[int]:
    """The LocalStacks that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                Path(os.readlink(process / "cwd")).is_relative_to(folder)
                and b"localstack" in (process / "cmdline").read_bytes()
            ):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def listening(pid: int) -> list[tuple[str, int]]:
    """Where a process listens."""
    held = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(each))
        except OSError:
            continue
    found = []
    for version, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
                words = [bytes.fromhex(address)[at : at + 4][::-1] for at in range(0, len(address) // 2, 4)]
                found.append((socket.inet_ntop(version, b"".join(words)), int(port, 16)))
    return found


def emulate(*words: str, localstack: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, VARIABLE: localstack}
    command = [sys.executable, "-m", "cloudml", "emulate", "sagemaker", *words]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=240)


def test_nothing_is_left_of_it(localstack: str) -> None:
    with start([emulator]) as up:
        account = Account(up)
        account.put("something")
        account.client("sns").create_topic(Name="something")
        account.close()
        folder = up.folder
        (pid,) = processes(folder)
        ((address, _),) = listening(pid)
        assert address == "127.0.0.1"
        assert [*folder.glob("sagemaker/localstack/root/*")]
        assert [*folder.glob(f"sagemaker/localstack/tmp/*/{account.bucket}")], "its objects are elsewhere"
    assert processes(folder) == []
    assert not folder.exists()


def test_it_ends_with_an_emulation_that_is_killed(localstack: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloudml", "emulate", "sagemaker", "--network", "proxy", "--", "sleep", "600"]
    env = {**os.environ, VARIABLE: localstack, "TMPDIR": str(tmp_path)}
    emulation = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        (pid,) = eventually(lambda: processes(tmp_path), "LocalStack")
        eventually(lambda: listening(pid), "its port")
    finally:
        os.killpg(emulation.pid, signal.SIGKILL)
        emulation.wait()
    eventually(lambda: not processes(tmp_path), "its end")


def test_it_reaches_nothing_outside(running: Running, aws: Account) -> None:
    log = running.folder / "sagemaker" / "localstack" / "log"

    def refused() -> set[str]:
        return set(re.findall(r"^refused \S+ (.*)$", log.read_text(), re.MULTILINE))

    topics = aws.client("sns")
    topic = topics.create_topic(Name="leak")["TopicArn"]
    topics.subscribe(TopicArn=topic, Protocol="http", Endpoint=OUTSIDE)
    eventually(lambda: "192.0.2.1" in refused(), "the call that is refused")
    # Which host S3's own name leads to is asked once; whatever else were tried by itself would stand here.
    assert refused() <= {"192.0.2.1", "s3.amazonaws.com"}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (sys.executable, "has no LocalStack: No module named 'twisted'"),
        ("./broken", "LocalStack did not start: ImportError: cannot import name 'nonsense'"),
        ("no-such-python", "no-such-python: no such program"),
    ],
)
def test_who_has_no_localstack_is_told_in_a_line_how_to_get_it(tmp_path: Path, named: str, said: str) -> None:
    broken = tmp_path / "broken"  # as a Python is whose versions do not fit
    broken.write_text("#!/bin/sh\necho \"ImportError: cannot import name 'nonsense'\"; exit 1\n")
    broken.chmod(0o755)
    done = emulate("--", "true", localstack=named, folder=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    for each in (*NEEDS, "pip install", VARIABLE):
        assert each in done.stderr.splitlines()[-1]


def test_what_people_are_told_to_install_is_what_is_tested() -> None:
    wanted = (ROOT / "requirements" / "localstack.in").read_text().splitlines()
    assert [line for line in wanted if not line.startswith("#")] == [*NEEDS]
    page = (ROOT / "providers" / "sagemaker" / "EMULATOR.md").read_text()
    assert " ".join(f'"{each}"' for each in NEEDS) in page
