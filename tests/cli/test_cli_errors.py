"""What goes wrong: one line, a hint, an exit code; JSON where JSON was asked for; never a traceback unasked."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from cli_shell import Shell

from cloudml.errors import ConfigError, NotFound
from cloudml.testing.world import Fault

TYPES = [
    (("plan", "-f", "none.yaml"), 3, "ConfigErrors"),
    (("plan", "-e", "nowhere"), 3, "ConfigErrors"),
    (("plan", "--rerun", "nothing"), 3, "ConfigError"),
    (("endpoints", "get", "nothing"), 5, "NotFound"),
    (("models", "get", "nothing@best"), 5, "NotFound"),
    (("train", "fails", "--command", "fail"), 6, "RunFailed"),
    (("train", "slow", "--command", "sleep", "--timeout", "1"), 9, "Timeout"),
    (("train", "unknown"), 2, "UsageError"),
    (("plan", "--wat"), 2, "NoSuchOption"),
    (("jobs", "get"), 2, "MissingParameter"),
    (("train", "train", "--param", "lr"), 2, "UsageError"),
    (("train", "train", "--timeout", "soon"), 2, "BadParameter"),
    (("deploy", "fraud-api", "--deployment", "green"), 2, "UsageError"),
    (("deploy", "fraud-api", "--traffic", "blue=most"), 2, "UsageError"),
    (("wat",), 2, "UsageError"),
    (("jobs", "wat"), 2, None),
    (("destroy",), 2, "UsageError"),
]


def test_a_closed_stdout_is_no_defect() -> None:
    command = f"{shlex.quote(sys.executable)} -m cloudml providers >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("arguments", "code", "kind"), TYPES, ids=lambda value: str(value))
def test_exit_code_and_form(one_shell: Shell, arguments: tuple[str, ...], code: int, kind: str | None) -> None:
    plain = one_shell(*arguments)
    assert (plain.exit_code, plain.stdout) == (code, "")
    assert "\nerror: " in f"\n{plain.stderr}"
    assert "Traceback" not in plain.output
    result = one_shell(*arguments, "-o", "json")
    document = json.loads(result.stdout)
    assert result.exit_code == code
    assert document["schema_version"] == 1
    assert kind is None or document["error"]["type"] == kind
    assert document["error"]["exit_code"] == code
    if arguments[0] != "train":  # whose second run has another name
        assert document["error"]["message"] in plain.stderr


def test_all_errors_of_a_file_are_in_the_json(one_shell: Shell) -> None:
    one_shell.edit("params: {depth: 3}", "parms: {depth: 3}\n    nodes: none")
    error = json.loads(one_shell("validate", "-qojson").stdout)["error"]
    assert error["where"] == "cloudml.yaml:7:5"
    assert [each["hint"] for each in error["errors"]] == ["did you mean 'params'?", None]


def test_what_a_provider_cannot_do_is_refused_before_anything_is_sent(one_shell: Shell) -> None:
    one_shell.edit("params: {depth: 3}", "resources: {gpu: 1}")
    result = one_shell("apply")
    assert result.exit_code == 8
    assert "resources.gpu: a cloud in memory has none" in result.stderr
    assert one_shell.world.attempts == 0


def test_a_gate_that_is_not_passed(one_shell: Shell) -> None:
    one_shell.edit("accuracy >= 0.5", "accuracy >= 0.99")
    assert one_shell("apply").exit_code == 7


def test_a_provider_that_rolls_back(shell_of: Callable[[str], Shell]) -> None:
    """Only one of the clouds goes back silently."""
    shell = shell_of("named")
    shell.ok("apply")
    shell.ok("models", "register", "fraud", "model/weights")
    shell.world.inject(Fault.ROLL_BACK, "UpdateEndpoint")
    assert shell("deploy", "fraud-api", "fraud:2").exit_code == 7


def test_somebody_elses_endpoint(shell: Shell) -> None:
    shell.ok("apply")
    shell.edit("project: shop", "project: stall")
    assert shell("apply").exit_code == 5


def test_a_traceback_only_when_asked_for(one_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" in one_shell("endpoints", "get", "nothing", "-v").stderr
    monkeypatch.setenv("CLOUDML_DEBUG", "1")
    assert "Traceback" in one_shell("endpoints", "get", "nothing").stderr


def test_a_defect_is_a_line_too(one_shell: Shell) -> None:
    def broken(seconds: float) -> None:
        raise ZeroDivisionError("sleeping")

    one_shell.clock = replace(one_shell.clock, sleep=broken)
    result = one_shell("train", "slow", "--command", "sleep")
    assert result.exit_code == 1
    assert "error: ZeroDivisionError: sleeping\n  hint: this is a defect of cloudml; -v shows where\n" in result.stderr


def test_an_interrupt_says_that_the_job_goes_on_and_how_to_end_it(shell: Shell) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    working, shell.clock = shell.clock, replace(shell.clock, sleep=interrupt)
    result = shell("train", "slow", "--command", "sleep")
    assert result.exit_code == 130
    said = result.stderr.splitlines()[-1]
    assert said.startswith("interrupted: job slow-")
    job = said.split()[2]
    assert f"'cloudml jobs cancel {job}' ends it" in said
    quiet = shell("train", "slow", "--command", "sleep", "-qo", "json")
    assert json.loads(quiet.stdout)["error"]["exit_code"] == 130
    assert "interrupted: job slow-" in json.loads(quiet.stdout)["error"]["message"]
    shell.clock = working
    assert shell.json("jobs", "cancel", job)["phase"] == "cancelled"


def test_a_question_needs_a_terminal(one_shell: Shell) -> None:
    one_shell.ok("apply", "-q")
    asked = one_shell("destroy", input="y\n")
    assert asked.exit_code == 2
    assert "-y is needed" in asked.stderr
    assert "endpoint fraud-api\n  - " in asked.stderr, "what would go is shown"
    assert one_shell.ok("endpoints", "list", "-o", "name") == "fraud-api\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "has nothing in it"),
        (b"x,y\n", "has no rows below its line of names"),
        (b"x,z\n1,2\n", "has no column 'y'"),
        (b"\xff\xfe\x00", "is not text"),
    ],
)
def test_a_file_is_valid_only_with_a_baseline_that_can_be_one(one_shell: Shell, data: bytes, says: str) -> None:
    (one_shell.folder / "data.csv").write_bytes(data)
    done = one_shell("validate")
    assert done.exit_code == ConfigError.exit_code
    assert f"model fraud: the baseline {one_shell.folder / 'data.csv'} {says}" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("monitors", "run", "nope"), "there is no endpoint nope in stack shop-dev"),
        (("predict", "fraud-api", "-d", "[[NaN]]"), "NaN is none of its numbers"),
        (("models", "alias", "fraud", "Not One", "--version", "1"), "alias: 'Not One' is not a valid value"),
        (("deploy", "fraud-api", "fraud", "--traffic", "a=1,b=2"), "--traffic blue=90 --traffic green=10"),
    ],
)
def test_what_is_written_wrongly_is_said_in_words(one_shell: Shell, arguments: tuple[str, ...], says: str) -> None:
    one_shell.ok("apply")
    done = one_shell(*arguments)
    assert done.exit_code in (2, ConfigError.exit_code, NotFound.exit_code)
    assert says in done.output
