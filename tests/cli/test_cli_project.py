"""A project from nothing: init, status, eject, doctor, completion, the history of a monitor, judging a version."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cli_shell import Shell
from click.testing import CliRunner

from cloudml.cli import main
from cloudml.config import load


def ask(shell: Shell, count: int, shift: float = 0.0) -> None:
    """Lets requests through the endpoint."""
    rows = json.dumps([[shift + number % 60 / 10] for number in range(count)])
    shell.ok("predict", "fraud-api", "-d", rows)


# -- init ------------------------------------------------------------------------------------------------------------


def test_init_writes_a_file_that_is_valid_and_a_script_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["init", "Fraud Detection 2"])
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("next: cd Fraud Detection 2 && cloudml plan, then cloudml apply\n")
    folder = tmp_path / "Fraud Detection 2"
    project = load(folder / "cloudml.yaml", environ={})
    assert (project.name, project.provider, list(project.endpoints)) == ("fraud-detection-2", "local", ["spend-api"])
    command = [sys.executable, "src/train.py", "--data", "data/train.csv", "--model-dir", "model"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "#cloudml.metric name=r2 value=0.9" in run.stdout
    served = (
        "import sys; sys.path.insert(0, 'model'); from model import Model; print(Model('model').predict([[30, 2]]))"
    )
    answer = subprocess.run([sys.executable, "-c", served], cwd=folder, capture_output=True, text=True, check=True)
    assert 20 < json.loads(answer.stdout)[0] < 40


def test_init_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("mine")
    refused = CliRunner().invoke(main, ["init", "--project", "fraud"])
    assert refused.exit_code == 3
    assert "src/train.py is there already" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["src"], "all or nothing"
    assert CliRunner().invoke(main, ["init", "new", "--project", "No_Name"]).exit_code == 3
    assert not (tmp_path / "new").exists()


def test_init_says_which_name_it_took_where_the_folder_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ab").mkdir()
    monkeypatch.chdir(tmp_path / "ab")
    done = CliRunner().invoke(main, ["init"])
    assert "the project is 'my-project': no name could be made of the folder's" in done.stdout
    assert load(Path("cloudml.yaml"), environ={}).name == "my-project"


# -- status ----------------------------------------------------------------------------------------------------------


def test_status_shows_all_of_a_stack(shell: Shell) -> None:
    assert shell.ok("status") == f"stack shop-dev at provider {shell.provider} has nothing\n"
    shell.ok("apply", "-q")
    lines = shell.ok("status").splitlines()
    assert lines[0].split() == ["KIND", "NAME", "PHASE", "AGE", "WHAT"]
    assert [line.split()[0] for line in lines[1:]] == ["job", "model", "endpoint", "monitor"]
    assert "succeeded" in lines[1]
    assert "accuracy=0.9" in lines[1]
    assert "1 version  champion=1" in lines[2]
    assert "blue fraud:1 100 %" in lines[3]
    assert "not run yet" in lines[4]
    ask(shell, 40, shift=100)
    assert shell("monitors", "run", "fraud-api", "--fail-on", "drift").exit_code == 7
    found = {each["kind"]: each for each in shell.json("status")["resources"]}
    assert found["monitor"]["verdict"] == "drift"
    assert found["endpoint"]["facts"]["traffic"] == {"blue": 100}
    assert found["endpoint"]["models"] == {"blue": "fraud:1"}
    assert re.search(r"\n  blue +ready  fraud:1\n", shell.ok("endpoints", "get", "fraud-api"))


# -- eject -----------------------------------------------------------------------------------------------------------


def test_eject_writes_the_calls_in_order_and_the_specs(shell: Shell) -> None:
    shell.edit("{depth: 3}\n", '{depth: 3}\n    env: {TOKEN: "${secret:env:TESTS_SECRET}", API_KEY: plain-text}\n')
    planned = shell.json("plan")
    said = shell.ok("eject", "out")
    calls = sorted((shell.folder / "out" / "calls").iterdir())
    documents = [json.loads(path.read_text()) for path in calls]
    assert [each["operation"] for each in documents] == [
        call["operation"] for step in planned["steps"] for call in step["calls"]
    ]
    assert said.startswith(f"wrote {len(calls)} calls and ")
    assert calls[0].name.startswith("001-artifact-PutArtifact")
    job = json.loads(next((shell.folder / "out" / "specs").glob("job-shop-train-*.json")).read_text())
    assert job["env"] == {"TOKEN": "${secret:env:TESTS_SECRET}", "API_KEY": "***"}
    assert any(each["if"] == "if accuracy >= 0.5" for each in documents)
    assert shell.world.attempts == 0, "nothing is sent"
    again = shell("eject", "out")
    assert again.exit_code == 3
    assert "out is not empty" in again.stderr


def test_eject_of_what_is_there_already(one_shell: Shell) -> None:
    one_shell.ok("apply", "-q")
    assert "wrote 0 calls and 3 specs to left; nothing is left to send" in one_shell.ok("eject", "left")
    assert one_shell.json("eject", "whole", "--all")["files"][0] == "README.txt"
    assert len(list((one_shell.folder / "whole" / "calls").iterdir())) >= 3


# -- doctor ----------------------------------------------------------------------------------------------------------


def levels(shell: Shell) -> dict[str, str]:
    return {each["what"]: each["level"] for each in json.loads(shell("doctor", "-o", "json").stdout)["checks"]}


def test_doctor_finds_nothing_wrong(one_shell: Shell) -> None:
    found = levels(one_shell)
    assert (found["Python"], found["provider nested"], found["file"], found["connection"]) == ("ok",) * 4
    result = one_shell("doctor")
    assert result.exit_code == 0
    assert re.search(r"extra sagemaker .*\bboto3\b", result.stdout), "a name may end with a digit"


def test_doctor_says_what_is_wrong_and_what_to_do(one_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDML_PLATFROM", "local")
    monkeypatch.setenv("AWS_PROFILE", "somebody-elses")
    one_shell.edit("version: 1", "version: 2")
    result = one_shell("doctor")
    assert result.exit_code == 1
    assert "fail  file" in result.stdout
    assert "did you mean CLOUDML_PLATFORM?" in result.stdout
    assert "set: AWS_PROFILE" in result.stdout
    assert "somebody-elses" not in result.stdout


def test_doctor_looks_at_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLOUDML_HOME", str(tmp_path / "file" / "home"))
    result = CliRunner().invoke(main, ["doctor", "-p", "local"])
    assert result.exit_code == 1
    assert "CLOUDML_HOME names another folder" in result.stdout
    monkeypatch.setenv("CLOUDML_HOME", str(tmp_path / "home"))
    assert "can be written to" in CliRunner().invoke(main, ["doctor", "-p", "local"]).stdout
    assert not (tmp_path / "home").exists(), "looking makes nothing"


# -- completion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zsh", "fish"])
def test_completion_prints_what_a_shell_reads(one_shell: Shell, kind: str) -> None:
    assert "_CLOUDML_COMPLETE" in one_shell.ok("completion", kind)


def completed(shell: Shell, line: str) -> list[str]:
    """What fish is told when the key is pressed at the end of a line."""
    words = line.split(" ")
    environ = {"_CLOUDML_COMPLETE": "fish_complete", "COMP_WORDS": line, "COMP_CWORD": words[-1]}
    result = CliRunner().invoke(main, [], env=environ, prog_name="cloudml", obj=shell.clock)
    return [each.partition("\t")[0].partition(",")[2] for each in result.stdout.splitlines()]


def test_names_of_what_is_there_are_completed(one_shell: Shell) -> None:
    one_shell.ok("apply", "-q")
    assert completed(one_shell, "cloudml mod") == ["models"]
    assert completed(one_shell, "cloudml predict fr") == ["fraud-api"]
    assert completed(one_shell, "cloudml deploy fraud-api fr") == ["fraud", "fraud:1", "fraud@champion"]
    for command in ("list", "alias", "register"):
        assert completed(one_shell, f"cloudml models {command} fr") == ["fraud"], command
    assert completed(one_shell, "cloudml models approve fr") == ["fraud", "fraud:1", "fraud@champion"]
    assert completed(one_shell, "cloudml train tr") == ["train"]
    assert completed(one_shell, "cloudml jobs logs shop-")[0].startswith("shop-train-")
    one_shell.edit("version: 1", "version: 2")
    assert not any(completed(one_shell, "cloudml predict fr"))


# -- monitors --------------------------------------------------------------------------------------------------------


def test_a_monitor_keeps_its_runs(shell: Shell) -> None:
    shell.ok("apply", "-q")
    assert shell("monitors", "get", "fraud-api").exit_code == 5
    ask(shell, 40, shift=100)
    first = shell.json("monitors", "run", "fraud-api", "--html", "page.html")
    assert "<figure" in (shell.folder / "page.html").read_text("utf-8")
    shell.ok("monitors", "run", "fraud-api", "--no-keep")
    shell.ok("monitors", "run", "fraud-api", "--last", "1s")
    kept = shell.json("monitors", "history", "fraud-api")["runs"]
    assert [each["verdict"] for each in kept] == ["drift", "too few samples"]
    assert kept[0]["time"] == first["time"]
    again = shell.json("monitors", "get", "fraud-api", first["time"], "--html", "again.html")
    assert again == first
    assert (shell.folder / "again.html").read_text("utf-8") == (shell.folder / "page.html").read_text("utf-8")
    assert shell.ok("monitors", "get", "fraud-api").startswith("TOO FEW SAMPLES")
    assert shell.ok("monitors", "list", "-o", "name") == "fraud-api\n", "a run is no monitor"
    shell.ok("monitors", "delete", "fraud-api", "-y")
    shell.ok("apply", "-q")
    assert shell.json("monitors", "history", "fraud-api")["runs"] == [], "runs go with their monitor"


def test_the_window_of_the_file_counts_unless_another_is_given(one_shell: Shell) -> None:
    one_shell.edit("min_samples: 10}", "min_samples: 10, window: 1s}")
    one_shell.ok("apply", "-q")
    ask(one_shell, 40)  # the clock in memory is far behind this machine's
    assert one_shell.json("monitors", "run", "fraud-api")["samples"] == 0
    assert one_shell.json("monitors", "run", "fraud-api", "--since", "0")["samples"] == 40


def test_runs_go_with_destroy(one_shell: Shell) -> None:
    one_shell.ok("apply", "-q")
    ask(one_shell, 20)
    one_shell.ok("monitors", "run", "fraud-api")
    one_shell.ok("destroy", "-y", "-q")
    assert [name for name in one_shell.world.rows("artifacts") if "/monitors/" in name] == []


def test_a_long_report_is_cut_on_the_terminal(one_shell: Shell) -> None:
    names = [f"x{number:02}" for number in range(14)]
    rows = [",".join(str((number * (at + 1)) % 59) for at in range(14)) + f",{number % 2}" for number in range(300)]
    (one_shell.folder / "data.csv").write_text(",".join([*names, "y"]) + "\n" + "\n".join(rows) + "\n")
    one_shell.edit("[[1.0]]", str([[1.0] * 14]))
    one_shell.ok("apply", "-q")
    asked = [[(number * (at + 1)) % 59 for at in range(14)] for number in range(250)]
    one_shell.ok("predict", "fraud-api", "-d", json.dumps(asked))
    short = one_shell.ok("monitors", "run", "fraud-api").splitlines()
    assert short[0].startswith("OK: no drift in 14 features")
    assert short[-1] == "… 4 more ok (-v shows all)"
    long = one_shell.ok("monitors", "run", "fraud-api", "-v").splitlines()
    assert len(long) == len(short) + 3
    assert len(one_shell.json("monitors", "run", "fraud-api")["features"]) == 14


# -- versions --------------------------------------------------------------------------------------------------------


def test_a_version_says_what_it_was_made_from(shell: Shell) -> None:
    shell.ok("apply", "-q")
    made = shell.json("models", "get", "fraud:1")
    assert made["metrics"] == {"accuracy": 0.9}
    assert made["lineage"]["job"].startswith("shop-train-")
    assert made["lineage"]["params"] == {"depth": 3}
    assert made["lineage"]["command"] == "train --lr 0.0003"
    assert [each["name"] for each in made["inputs"]] == ["x"]
    assert re.search(r"\n  params +depth=3\n", shell.ok("models", "get", "fraud:1"))
    assert [each["version"] for each in shell.json("models", "list", "fraud")["versions"]] == ["1"]
    refused = shell("models", "approve", "fraud:1")
    assert refused.exit_code == 8, "these clouds cannot"
    assert shell("models", "approve", "fraud:9").exit_code == 5


# -- words -----------------------------------------------------------------------------------------------------------


def test_errors_are_yaml_where_yaml_was_asked_for(one_shell: Shell) -> None:
    for form in (["-o", "yaml"], ["-oyaml"], ["--output=yaml"]):
        result = one_shell("models", "get", "nobody", *form)
        assert result.exit_code == 5
        assert yaml.safe_load(result.stdout)["error"]["exit_code"] == 5
    wrong = one_shell("apply", "--nonsense", "-o", "yaml")
    assert (wrong.exit_code, yaml.safe_load(wrong.stdout)["error"]["type"]) == (2, "NoSuchOption")


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_no_means_that_nothing_was_deleted(one_shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    one_shell.ok("apply", "-q")
    monkeypatch.setattr("cloudml.cli.options._at_a_terminal", lambda: True)
    sent = len(one_shell.world.log)
    result = one_shell("destroy", input=answer)
    assert result.exit_code == 1
    assert result.stderr.endswith("\nnothing was deleted\n")
    assert "Aborted" not in result.stderr
    assert len(one_shell.world.log) == sent
