"""Every command over every cloud in memory: what it does, what it writes where, and its exit code."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import yaml
from cli_shell import Shell

from cloudml import plugins
from cloudml.cli import COMMANDS
from cloudml.cli.output import Printer
from cloudml.client import connect_plugin
from cloudml.specs import Model
from cloudml.spi import Capability, Yes

STACK = "shop-dev"


def test_validate_names_what_is_in_the_file(one_shell: Shell) -> None:
    said = one_shell.ok("validate")
    assert said == "cloudml.yaml is valid: 1 job, 1 model, 1 endpoint, for environment dev at provider nested\n"
    assert one_shell.json("validate")["endpoints"] == ["fraud-api"]


def test_the_way_of_a_file_from_plan_to_destroy(shell: Shell) -> None:
    planned = shell("plan", "--detailed-exitcode")
    assert planned.exit_code == 10
    assert re.search(r"\nendpoint fraud-api   \(if accuracy >= 0\.5\)\n  \+ \S+.*\(.+\)\n", planned.stdout)
    last = planned.stdout.splitlines()[-1]
    assert re.fullmatch(r"Plan: \d+ to create, \d+ to change, 0 to delete\.", last)
    assert shell.world.attempts == 0, "a plan sends nothing"

    applied = shell("apply")
    assert applied.exit_code == 0, applied.output
    assert re.search(r"endpoint fraud-api +ready\n", applied.stdout)
    assert "job shop-train-" in applied.stderr
    assert applied.stderr.endswith("endpoint fraud-api: ready\n")

    sent = len(shell.world.log)
    assert shell.ok("plan", "--detailed-exitcode") == "Plan: 0 to create, 0 to change, 0 to delete.\n"
    shell.ok("apply", "-q")
    assert len(shell.world.log) == sent, "a second apply sends nothing"

    assert shell.json("predict", "fraud-api", "-d", "[[1], [2]]")["predictions"][0]
    removed = shell("destroy", "-y")
    assert removed.stdout.splitlines()[-1] == "removed endpoint fraud-api"
    assert shell.ok("models", "list", "-o", "name") == "fraud\n"
    shell.ok("destroy", "--all", "-y")
    assert shell.ok("models", "list") == ""
    assert shell.ok("destroy", "-y") == "nothing is left to remove\n"


def test_the_documents_of_a_plan(one_shell: Shell) -> None:
    document = one_shell.json("plan")
    calls = [call for step in document["steps"] for call in step["calls"]]
    assert document["changes"] is True
    assert document["summary"]["create"] == sum(call["effect"] == "create" for call in calls)
    assert any("<" in json.dumps(call["document"]) for call in calls), "a value that nobody knows yet stands as <what>"
    assert yaml.safe_load(one_shell.ok("plan", "-o", "yaml")) == document
    assert one_shell.ok("plan", "-o", "name").splitlines()[-2] == "endpoint fraud-api"
    assert '      "labels": {' in one_shell.ok("plan", "-v")


def test_what_left_the_file_is_named_and_pruned_only_when_asked(shell: Shell) -> None:
    shell.ok("apply", "-q")
    start = (shell.folder / "cloudml.yaml").read_text()
    shell.edit(start[start.index("endpoints:") : start.index("environments:")], "")
    assert "not in the file, --prune deletes it: endpoint fraud-api\n" in shell.ok("apply")
    assert [each["name"] for each in shell.json("apply")["left"]][-1] == "fraud-api"
    assert "  - " in shell.ok("plan", "--prune")
    shell.ok("apply", "--prune")
    assert shell.json("endpoints", "list")["endpoints"] == []


def test_several_runs_are_waited_for(shell: Shell) -> None:
    started = [shell.json("train", f"slow-{number}", "--command", "sleep", "--no-wait")["name"] for number in range(2)]
    done = shell.ok("jobs", "wait", *started)
    assert len(re.findall(r"succeeded", done)) == 2
    failing = shell.json("train", "failing", "--command", "fail", "--no-wait")["name"]
    failed = shell("jobs", "wait", *started, failing)
    assert failed.exit_code == 6
    assert f"job {failing} failed" in failed.stderr
    assert shell("jobs", "wait", "slow-ffffffff-1").exit_code == 5
    last = shell.json("train", "slow-2", "--command", "sleep", "--no-wait")["name"]
    late = shell("jobs", "wait", *started, last, "--timeout", "1s")
    assert late.exit_code == 9
    assert f"job {last} is " in late.stderr


def test_jobs(shell: Shell) -> None:
    first = shell.json("train", "train", "--param", "depth=5", "--param", "fast=true")
    assert (first["phase"], first["facts"]["metrics"]) == ("succeeded", {"accuracy": 0.9})
    shell.ok("train", "train", "-q")
    names = shell.ok("jobs", "list", "-o", "name").split()
    assert names[0] == first["name"]
    assert names[0].startswith("shop-train-")
    assert len(set(names)) == 2
    assert shell.ok("jobs", "logs", names[0]).splitlines()[-1] == "epoch 1"
    assert json.loads(shell.ok("jobs", "logs", "-f", names[0], "-o", "json").splitlines()[-1])["text"] == "epoch 1"
    assert re.search(r"METRICS +accuracy=0\.9\n", shell.ok("jobs", "get", names[0]))
    assert shell.ok("jobs", "logs", "train").splitlines()[-1] == "epoch 1", "the last run of a job of the file"
    assert shell("jobs", "logs", "evaluate").exit_code == 5
    assert shell.ok("jobs", "delete", "-y", names[0]) == f"removed job {names[0]}\n"
    assert shell.ok("jobs", "list", "-o", "name").split() == names[1:]


def test_a_job_that_is_not_waited_for_can_be_cancelled(shell: Shell) -> None:
    started = shell.json("train", "slow", "--command", "sleep", "--no-wait")
    assert started["phase"] in ("pending", "preparing", "running")
    assert shell.json("jobs", "cancel", started["name"])["phase"] == "cancelled"


def test_a_job_that_fails_or_takes_too_long(shell: Shell) -> None:
    failed = shell("train", "adhoc", "--command", "fail")
    assert failed.exit_code == 6
    assert re.search(r"error: job adhoc-\w+-1 failed: .*exit code 1", failed.stderr)
    assert re.search(r"  hint: 'cloudml jobs logs adhoc-\w+-1' shows why\n$", failed.stderr)
    late = shell("train", "slow", "--command", "sleep", "--timeout", "1s")
    assert late.exit_code == 9
    assert "cloudml jobs cancel slow-" in late.stderr


def test_models(shell: Shell) -> None:
    shell.ok("apply")
    made = shell.json("models", "register", "fraud", "model/weights", "--alias", "candidate")
    assert (made["version"], made["aliases"]) == ("2", ["candidate"])
    moved = shell.json("models", "alias", "fraud", "champion", "--version", "2")
    assert sorted(moved["aliases"]) == ["candidate", "champion"]
    assert shell.json("models", "get", "fraud@champion")["version"] == "2"
    assert len(shell.json("models", "list", "fraud")["versions"]) == 2
    assert re.match(r"NAME +VERSIONS +ALIASES +STACK\nfraud +2 ", shell.ok("models", "list"))
    assert shell("models", "get", "fraud@chmpion").exit_code == 5


def test_a_deleted_run_keeps_its_id_and_is_not_run_again_while_its_model_is_there(shell: Shell) -> None:
    shell.ok("apply", "-q")
    (first,) = shell.ok("jobs", "list", "-o", "name").split()
    shell.ok("jobs", "delete", "-y", first)
    assert shell.json("plan")["changes"] == 0
    shell.ok("apply", "-q")
    assert shell.ok("jobs", "list") == ""
    assert shell.json("models", "get", "fraud")["lineage"]["job"] == first
    again = shell.json("train", "train")["name"]
    assert again.rpartition("-")[::2] == (first.rpartition("-")[0], "2"), "an id is used once"
    shell.ok("jobs", "delete", "-y", again)
    assert shell.json("plan")["changes"] == 0, "the first run made the model"
    shell.ok("endpoints", "delete", "-y", "fraud-api")
    shell.ok("models", "delete", "-y", "fraud")
    shell.ok("apply", "-q")
    assert shell.ok("jobs", "list", "-o", "name").rstrip().endswith("-3")


def test_one_version_is_archived_brought_back_and_removed(shell: Shell) -> None:
    shell.ok("apply", "-q")
    shell.ok("models", "register", "fraud", "model/weights")
    for verb in (("archive",), ("delete", "-y")):
        for name, why in (("fraud:1", "has the alias champion"), ("fraud@champion", "has the alias champion")):
            refused = shell("models", *verb, name)
            assert (refused.exit_code, refused.stdout) == (5, "")
            assert why in refused.stderr
    assert shell.json("models", "archive", "fraud:2")["archived"] is True
    assert "  archived  yes" in shell.ok("models", "get", "fraud:2")
    assert shell.json("models", "get", "fraud")["version"] == "1", "an archived version is not the newest"
    refused = shell("deploy", "other-api", "fraud:2")
    assert refused.exit_code == 5
    assert "cloudml models unarchive fraud:2" in refused.stderr
    assert shell.json("models", "unarchive", "fraud:2")["archived"] is False
    assert shell.json("models", "get", "fraud")["version"] == "2"
    asked = shell("models", "delete", "fraud:2")
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert shell.ok("models", "delete", "-y", "fraud:2") == "removed model fraud:2\n"
    assert [each["version"] for each in shell.json("models", "list", "fraud")["versions"]] == ["1"]
    assert shell.json("models", "register", "fraud", "model/weights")["version"] == "3", "a number is used once"


def test_a_version_that_serves_is_kept(one_shell: Shell) -> None:
    one_shell.ok("models", "register", "fraud", "model/weights")
    one_shell.ok("deploy", "other-api", "fraud:1")
    refused = one_shell("models", "delete", "-y", "fraud:1")
    assert refused.exit_code == 5
    assert "serves at endpoint other-api" in refused.stderr
    one_shell.ok("endpoints", "delete", "-y", "other-api")
    assert one_shell.ok("models", "delete", "-y", "fraud:1") == "removed model fraud:1\n"


def test_a_family_that_serves_is_kept(one_shell: Shell) -> None:
    """Its servers read its files again whenever they start."""
    one_shell.ok("models", "register", "fraud", "model/weights")
    one_shell.ok("models", "register", "fraud-two", "model/weights")
    one_shell.ok("deploy", "other-api", "fraud")
    refused = one_shell("models", "delete", "-y", "fraud")
    assert (refused.exit_code, refused.stdout) == (5, "")
    assert "model fraud serves at endpoint other-api" in refused.stderr
    assert one_shell.ok("models", "delete", "-y", "fraud-two") == "removed model fraud-two\n"
    one_shell.ok("endpoints", "delete", "-y", "other-api")
    assert one_shell.ok("models", "delete", "-y", "fraud") == "removed model fraud\n"


def test_a_family_is_removed_whole_and_nothing_without_a_yes(shell: Shell) -> None:
    shell.ok("apply", "-q")
    (job,) = shell.ok("jobs", "list", "-o", "name").split()
    for words in (("jobs", "delete", job), ("models", "delete", "fraud"), ("endpoints", "delete", "fraud-api")):
        refused = shell(*words)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "-y is needed" in refused.stderr
    assert shell("models", "delete", "-y", "frod").exit_code == 5
    assert shell.ok("models", "list", "-o", "name") == "fraud\n"
    shell.ok("endpoints", "delete", "-y", "fraud-api")
    assert shell.json("models", "delete", "-y", "fraud")["removed"] == [
        {"kind": "model", "name": "fraud", "stack": STACK}
    ]
    assert shell.ok("models", "list") == ""
    shell.ok("models", "register", "fraud", "model/weights")
    assert shell.ok("models", "delete", "-y", "fraud") == "removed model fraud\n"


def test_a_family_that_was_left_without_versions_can_be_removed(one_shell: Shell) -> None:
    session = connect_plugin(plugins.load(one_shell.provider), STACK, clock=one_shell.clock).session
    wanted = session.model("fraud", Model(path="model"))
    session.provider.models.send(session.preview(wanted)[-1].calls[0])  # and then it was killed
    assert one_shell.json("models", "list", "fraud")["versions"] == []
    assert one_shell.ok("models", "delete", "-y", "fraud") == "removed model fraud\n"
    assert one_shell.ok("models", "list") == ""


def test_a_second_deployment_and_back(shell: Shell) -> None:
    shell.ok("apply")
    shell.ok("models", "register", "fraud", "model/weights")
    share = ("--traffic", "blue=90", "--traffic", "green=10")
    said = shell.ok("deploy", "fraud-api", "fraud:2", "--deployment", "green", *share)
    assert "TRAFFIC  blue 90 %, green 10 %\n" in said
    pinned = {shell.ok("predict", "fraud-api", "-d", "[[1]]", "--deployment", name) for name in ("blue", "green")}
    assert len(pinned) == 2
    assert "blue 50 %, green 50 %" in shell.ok("deploy", "fraud-api", "--traffic", "blue=50", "--traffic", "green=50")
    assert "TRAFFIC  blue 90 %, green 10 %\n" in shell.ok("rollback", "fraud-api")
    assert shell.ok("endpoints", "delete", "-y", "fraud-api") == "removed endpoint fraud-api\n"
    assert shell("rollback", "fraud-api").exit_code == 5


def test_an_endpoint_of_the_file_with_another_model(one_shell: Shell) -> None:
    one_shell.edit("capture: 1.0", "env: {MODE: fast}")
    one_shell.ok("apply", "-q")
    before = one_shell.ok("predict", "fraud-api", "-d", "[[1]]")
    one_shell.ok("models", "register", "fraud", "model/weights")
    one_shell.ok("deploy", "fraud-api", "fraud:2", "--capture", "0.5")
    assert one_shell.ok("predict", "fraud-api", "-d", "[[1]]") != before
    endpoint = one_shell.json("endpoints", "get", "fraud-api")
    one_shell.ok("deploy", "fraud-api")
    assert one_shell.ok("predict", "fraud-api", "-d", "[[1]]") == before
    assert one_shell.json("endpoints", "get", "fraud-api")["spec"] != endpoint["spec"]
    assert one_shell("deploy", "other-api").exit_code == 2
    assert one_shell.json("deploy", "other-api", "fraud:1")["name"] == "other-api"


def test_no_option_of_deploy_is_dropped(one_shell: Shell) -> None:
    one_shell.ok("apply", "-q")
    one_shell.ok("models", "register", "fraud", "model/weights")
    sent = len(one_shell.world.log)
    even, green = ("--traffic", "blue=50", "--traffic", "green=50"), ("fraud:2", "--deployment", "green")
    for arguments, code, says in [
        (("fraud:2", *even), 3, "traffic names 'green', which is not one of the deployments"),
        ((*green, "--capture", "0.5"), 2, "--capture does not go with --deployment"),
        ((*green, "--no-wait"), 2, "--no-wait does not go with --deployment"),
        ((*even, "--capture", "0"), 2, "--capture does not go with --traffic without MODEL"),
        ((*even, "--no-wait"), 2, "--no-wait does not go with --traffic without MODEL"),
        (("--deployment", "green"), 2, "--deployment needs MODEL"),
    ]:
        refused = one_shell("deploy", "fraud-api", *arguments)
        assert (refused.exit_code, refused.stdout) == (code, ""), arguments
        assert says in refused.stderr
    assert len(one_shell.world.log) == sent
    assert "TRAFFIC  blue 100 %" in one_shell.ok("deploy", "fraud-api", "fraud:2", "--traffic", "blue=100")


def test_drift_is_reported_and_fails_only_when_asked(one_shell: Shell) -> None:
    one_shell.ok("apply")
    rows = json.dumps([[100.0 + number] for number in range(40)])
    one_shell.ok("predict", "fraud-api", "-d", rows)
    assert one_shell.ok("monitors", "list", "-o", "name") == "fraud-api\n"
    assert one_shell.ok("monitors", "run", "fraud-api").startswith("DRIFT in 1 of 1 features (40 rows)\n")
    failed = one_shell("monitors", "run", "fraud-api", "--fail-on", "drift", "-o", "json")
    assert failed.exit_code == 7
    assert json.loads(failed.stdout)["drifted"] is True
    assert one_shell.json("monitors", "run", "fraud-api", "--last", "1h")["samples"] == 0
    assert one_shell.json("monitors", "run", "fraud-api", "--since", "2026-11-22T20:00:00Z")["samples"] == 0
    assert one_shell.json("monitors", "run", "fraud-api", "--since", "0")["samples"] == 40
    assert one_shell("monitors", "run", "fraud-api", "--since", "soon").exit_code == 2
    one_shell.ok("monitors", "delete", "fraud-api", "-y")
    assert one_shell("monitors", "run", "fraud-api").exit_code == 5


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("{bad", "--data is not JSON"),
        ("3", "--data holds no rows"),
        ("@nothing.json", "cannot read nothing.json"),
        ('{"rows": 3}', "send a JSON object with 'instances'"),
    ],
)
def test_data_that_is_not_right(one_shell: Shell, data: str, says: str) -> None:
    one_shell.ok("apply", "-q")
    result = one_shell("predict", "fraud-api", "-d", data)
    assert (result.exit_code, result.stdout) == (3, "")
    assert says in result.stderr


def test_data_from_a_file_and_from_stdin(one_shell: Shell) -> None:
    one_shell.ok("apply", "-q")
    (one_shell.folder / "rows.json").write_text('{"instances": [[1], [2]]}')
    assert len(json.loads(one_shell.ok("predict", "fraud-api", "-d", "@rows.json"))) == 2
    assert len(json.loads(one_shell("predict", "fraud-api", "-d", "-", input="[[1]]").stdout)) == 1


def test_providers_and_their_reasons(one_shell: Shell) -> None:
    said = one_shell.ok("providers", "nested")
    assert re.search(r"^endpoints +yes \(conformance\)$", said, re.MULTILINE)
    assert "nested: no jobs.gpu: a cloud in memory has none; use a real provider\n" in said
    [found] = one_shell.json("providers", "nested")["providers"]
    assert found["capabilities"]["jobs"] == {"can": True, "evidence": "conformance"}
    assert found["capabilities"]["jobs.gpu"]["can"] is False
    assert one_shell("providers", "nestde").exit_code == 3


def test_the_matrix_stays_narrow_and_loses_no_evidence(one_shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = plugins.load(one_shell.provider)
    long = {**plugin.capabilities, Capability.JOBS: Yes("a whole sentence, and no word")}
    Printer().matrix([replace(plugin, capabilities=long)])
    said = capsys.readouterr().out
    assert re.search(r"^jobs +yes \(below\)$", said, re.MULTILINE)
    assert f"{plugin.name}: jobs by a whole sentence, and no word\n" in said


def test_without_a_file_the_stack_is_the_default_one(one_shell: Shell) -> None:
    (one_shell.folder / "cloudml.yaml").unlink()
    made = one_shell.json("train", "adhoc", "--command", "true", "-p", "nested")
    assert made["stack"] == "default-nested"
    assert one_shell("plan", "-p", "nested").exit_code == 3


def test_every_command_has_a_help_that_names_it(one_shell: Shell) -> None:
    for name in COMMANDS:
        result = one_shell(name, "--help")
        assert result.exit_code == 0
        assert f"Usage: cloudml {name} " in result.stdout


def test_what_the_platform_counted_is_a_table(shell: Shell) -> None:
    shell.ok("apply", "-q")
    for _ in range(2):
        shell.ok("predict", "fraud-api", "-d", "[[1.0]]")
    assert re.fullmatch(r"TIME +DEPLOYMENT  REQUESTS\n.* UTC  - +2\n", shell.ok("endpoints", "metrics", "fraud-api"))
    (sample,) = shell.json("endpoints", "metrics", "fraud-api", "--last", "1h")["metrics"]
    assert (sample["name"], sample["value"]) == ("requests", 2.0)
    assert shell("endpoints", "metrics", "nothing").exit_code == 5
