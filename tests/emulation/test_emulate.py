"""``cloudml emulate``: what the command finds, how both end, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulated_waiting import processes, unlikely_sleep, until

EMULATE = (sys.executable, "-m", "cloudml", "emulate")
STRENGTHS = pytest.mark.parametrize("strength", ["isolated", "proxy"])


@pytest.fixture
def env(installed: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where the tests' provider is installed, with folders of the test's own, in which nothing may be left."""
    places = {"HOME": tmp_path / "home", "TMPDIR": tmp_path / "tmp"}
    for place in places.values():
        place.mkdir()
    yield installed | {name: str(place) for name, place in places.items()}
    assert [*places["TMPDIR"].iterdir()] == []


def emulate(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EMULATE, *arguments], env=env, capture_output=True, text=True, timeout=120)


@STRENGTHS
def test_a_command_runs_against_the_cloud(env: dict[str, str], strength: str) -> None:
    line = 'curl -sS https://api.tiny.example/; echo " $TINY_REGION $AWS_PROFILE"; curl -s https://no.example; exit 7'
    done = emulate(env | {"AWS_PROFILE": "real"}, "tiny", "--network", strength, "--", "sh", "-c", line)
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith('{"host": "api.tiny.example"')
    assert done.stdout.endswith(" here \n")
    assert done.stderr == "cloudml: your program also tried to reach no.example\n"


@STRENGTHS
def test_the_exit_code_tells_the_signal(env: dict[str, str], strength: str) -> None:
    assert emulate(env, "tiny", "--network", strength, "--", "sh", "-c", "kill -KILL $$").returncode == 137


def test_a_command_that_is_not_there(env: dict[str, str]) -> None:
    done = emulate(env, "tiny", "--", "no-such-program", "--engine")
    assert done.returncode == 127
    assert "no-such-program" in done.stderr


def test_the_strongest_network_there_is_is_said(env: dict[str, str]) -> None:
    weak = env | {"CLOUDML_BOXES": "off"}
    done = emulate(weak, "tiny", "--", "sh", "-c", "curl -sS https://api.tiny.example/ && env")
    assert done.returncode == 0, done.stderr
    assert "HTTPS_PROXY=http://127.0.0.1:" in done.stdout
    assert "CLOUDML_BOXES=off" in done.stderr
    refused = emulate(weak, "tiny", "--network", "isolated", "--", "true")
    assert refused.returncode == 1
    assert "--network proxy" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["local", "--", "true"], 8, "has no emulator"),
        (["elsewhere", "--", "true"], 3, "no provider 'elsewhere'"),
        (["tiny", "--engine", "steam", "--", "true"], 3, "steam"),
        (["tiny", "--lifecycle", "eternal", "--", "true"], 3, "eternal"),
        (["tiny", "--background", "--", "true"], 2, "--background"),
        (["stop"], 5, "no emulation is running"),
    ],
)
def test_what_cannot_be_is_refused(env: dict[str, str], arguments: list[str], code: int, said: str) -> None:
    done = emulate(env, *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr


@STRENGTHS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_the_command_and_what_that_left(
    env: dict[str, str], strength: str, number: signal.Signals
) -> None:
    mark = unlikely_sleep()
    line = f"setsid {mark} & {mark} & trap 'echo asked; exit 9' TERM INT; echo up; wait"
    with started(env, strength, line) as running:
        until(lambda: len(processes(mark)) == 2, "both sleep")
        running.send_signal(number)
        said, _ = running.communicate(timeout=120)
    assert running.returncode == 9
    assert said == b"asked\n"
    assert not processes(mark)


@STRENGTHS
def test_killed_it_takes_everything_along(env: dict[str, str], tmp_path: Path, strength: str) -> None:
    """SIGKILL of cloudml itself: no handler runs, and command, grandchildren and boxes end all the same."""
    mark = unlikely_sleep()
    with started(env, strength, f"setsid nohup {mark} & trap '' TERM; {mark} & echo up; wait; {mark}") as running:
        until(lambda: len(processes(mark)) == 2, "both sleep")
        running.kill()
    until(lambda: not processes(mark), "nobody sleeps any more")
    # The next emulation takes away the folder that this one could not.
    assert [*(tmp_path / "tmp").iterdir()] != []
    assert emulate(env, "tiny", "--", "true").returncode == 0


def started(env: dict[str, str], strength: str, line: str) -> subprocess.Popen[bytes]:
    """An emulation whose command has said that it is up."""
    command = [*EMULATE, "tiny", "--network", strength, "--", "sh", "-c", line]
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert running.stdout
    assert running.stdout.readline() == b"up\n"
    return running


def test_a_shell_is_led_to_an_emulation_in_the_background(env: dict[str, str]) -> None:
    cloudml = shlex.join(EMULATE)
    script = f"""
set -e
eval "$({cloudml} tiny --background)"
curl -sS https://api.tiny.example/from-the-shell >&2
{cloudml} faults add throttle --operation 'Create*' --times 2 -o json
{cloudml} faults clear
{cloudml} log -o json
{cloudml} reset
{cloudml} tiny --background && exit 1 || echo "again: $?"
eval "$({cloudml} stop)"
echo "after: $HTTPS_PROXY $AWS_CA_BUNDLE, $AWS_PROFILE, $(set | grep ^_cloudml)"
"""
    had = env | {"AWS_PROFILE": "my 'own'", "AWS_CA_BUNDLE": "/its own.pem"}
    had.pop("HTTPS_PROXY", None)
    done = subprocess.run(["bash", "-c", script], env=had, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '"path": "/from-the-shell"' in done.stderr
    assert '"trouble": "throttle"' in done.stdout
    assert '"/from-the-shell"' in done.stdout
    assert "empty: tiny" in done.stdout
    assert done.stdout.endswith("again: 5\nafter:  /its own.pem, my 'own', \n")
    assert not (Path(env["HOME"]) / ".local/state/cloudml/emulation").exists()


def test_a_command_orders_faults_from_its_own_network(env: dict[str, str]) -> None:
    line = f"{shlex.join(EMULATE)} faults add lose -o json"
    done = emulate(env, "tiny", "--network", "isolated", "--", "sh", "-c", line)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["faults"][0]["trouble"] == "lose"


def test_a_fault_goes_to_the_cloud_that_is_named_and_a_wrong_word_nowhere(env: dict[str, str]) -> None:
    add = f"{shlex.join(EMULATE)} faults add"
    line = f"{add} lose -p tiny -q; {add} throtle; {add} lose -p other; {shlex.join(EMULATE)} faults list -o json"
    done = emulate(env, "tiny", "--", "sh", "-c", line)
    assert done.stdout.count('"trouble": "lose"') == 1
    assert "there is no trouble 'throtle', only throttle, unavailable, slow" in done.stderr
    assert "there is no cloud 'other' here, only tiny" in done.stderr


def test_without_cryptography_it_says_what_to_install(env: dict[str, str]) -> None:
    line = "import sys; sys.modules['cryptography'] = None; from cloudml.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", line, "emulate", "tiny", "--", "true"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'pip install "cloudml-sdk[emulators]"' in done.stderr


def test_every_operation_has_its_evidence(env: dict[str, str]) -> None:
    done = emulate(env, "evidence", "tiny", "-o", "json")
    said = {"provider": "tiny", "operation": "GET /", "evidence": "guessed"}
    assert json.loads(done.stdout)["operations"] == [said], done.stderr


def test_in_the_foreground_it_says_what_to_set_and_waits(env: dict[str, str]) -> None:
    with subprocess.Popen([*EMULATE, "tiny"], env=env, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        lines = []
        while not (lines and lines[-1].startswith("export no_proxy")):
            lines.append(running.stdout.readline())
            assert lines[-1], lines
        assert "export TINY_REGION=here\n" in lines
        running.send_signal(signal.SIGINT)
    assert running.returncode == 0


def test_without_any_right_of_root(env: dict[str, str]) -> None:
    """As a user of no privilege: in a user namespace in which this one is somebody else."""
    becoming = """
import os, sys
from cloudml.emulation.box import kernel
uid, gid = os.getuid(), os.getgid()
kernel.unshare(kernel.NEWUSER)
for name, line in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
    open(f"/proc/self/{name}", "w").write(line)
os.execv(sys.argv[1], sys.argv[1:])
"""
    command = [*EMULATE, "tiny", "--network", "isolated", "--", "sh", "-c", "id -u; curl -sS https://api.tiny.example/"]
    done = subprocess.run(
        [sys.executable, "-c", becoming, *command], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('1000\n{"host"')


def test_indexes_are_those_that_are_configured(tmp_path: Path) -> None:
    from cloudml.emulation.network import indexes

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PIP_CONFIG_FILE", os.devnull)
        patched.setenv("PIP_INDEX_URL", "https://index.example/simple")
        patched.setenv("PIP_EXTRA_INDEX_URL", "https://more.example/simple")
        assert indexes.hosts(["pip", "files.example"]) == ["index.example", "more.example", "files.example"]
