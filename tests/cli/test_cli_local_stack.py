"""The command line over ``local``: environments, prune, adopt, rerun, judging, and where secrets go."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloudml.cli import main

FILE = """\
version: 1
project: real
vars: {depth: 3}
jobs:
  train: {source: src, command: "python train.py {params.depth}", params: {depth: "${vars.depth}"}}
models:
  deep: {from: jobs.train, alias: champion, sample_input: [[1, 2]]}
  other: {from: jobs.train}
environments:
  dev: {provider: local, home: state}
  test: {provider: local, home: state, vars: {depth: 5}, models: {other: null}}
"""
TRAIN = """\
import os, pathlib, sys
if sys.argv[1] == "0":
    sys.exit("no depth")
model = pathlib.Path(os.environ["CLOUDML_MODEL_DIR"])
(model / "model.py").write_text('''
import os
class Model:
    def __init__(self, folder): self.known = len(os.environ.get("TOKEN", ""))
    def predict(self, rows): return [self.known for row in rows]
''')
print("#cloudml.metric name=depth value=" + sys.argv[1])
print("the token has %d characters" % len(os.environ.get("TOKEN", "")))
"""
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cloudml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs a command in a project folder; its exit code, stdout and stderr. Both stacks are removed at the end."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(TRAIN)
    (tmp_path / "cloudml.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, list(arguments), env=environ)
        return result.exit_code, result.stdout, result.stderr

    yield run
    (tmp_path / "cloudml.yaml").write_text(FILE)
    for env in ("dev", "test"):
        code, _, err = run("destroy", "--all", "-y", "-q", "-e", env)
        assert (code, err) == (0, "")


def names(cloudml: Command, kind: str, *arguments: str) -> list[str]:
    code, out, err = cloudml(kind, "list", "-o", "name", *arguments)
    assert code == 0, err
    return out.split()


def test_environments_stand_beside_each_other(cloudml: Command, tmp_path: Path) -> None:
    assert cloudml("apply", "-q", "--wait")[0] == 0
    refused = cloudml("apply", "-q", "-e", "test")
    assert (refused[0], "belongs to stack 'real-dev'" in refused[2]) == (5, True), "names are the home's"
    assert "--adopt" in refused[2]
    assert cloudml("apply", "-q", "-e", "test", "--adopt")[0] == 0
    assert names(cloudml, "models", "-e", "test") == ["deep"], "null deletes, and --adopt takes over"
    assert names(cloudml, "models") == ["other"]
    [job] = names(cloudml, "jobs", "-e", "test")
    assert "value=5" in cloudml("jobs", "logs", job, "-e", "test")[1]
    assert cloudml("plan", "-e", "test", "--detailed-exitcode", CLOUDML_ENV="dev")[0] == 0, "the flag goes first"


def test_what_left_the_file_goes_when_asked(cloudml: Command, tmp_path: Path) -> None:
    assert cloudml("apply", "-q")[0] == 0
    (tmp_path / "cloudml.yaml").write_text(
        FILE.replace("  other: {from: jobs.train}\n", "").replace(", models: {other: null}", "")
    )
    assert "not in the file, --prune deletes it: model other\n" in cloudml("apply", "-q")[1]
    assert "  - DeleteFamily other" in cloudml("plan", "--prune")[1]
    assert names(cloudml, "models") == ["deep", "other"]
    assert cloudml("apply", "-q", "--prune")[0] == 0
    assert names(cloudml, "models") == ["deep"]


def test_a_failed_run_is_run_again_only_when_asked(cloudml: Command) -> None:
    failed = cloudml("apply", "--var", "depth=0")
    assert failed[0] == 6
    assert "cloudml jobs logs real-train-" in failed[2]
    assert cloudml("apply", "-q", "--var", "depth=0")[0] == 6
    assert len(names(cloudml, "jobs")) == 1, "a failed run is not submitted again"
    assert cloudml("apply", "-q", "--var", "depth=0", "--rerun", "train")[0] == 6
    assert [name[-2:] for name in names(cloudml, "jobs")] == ["-1", "-2"]
    assert "fail" in cloudml("status")[1]


def test_versions_are_judged(cloudml: Command) -> None:
    assert cloudml("apply", "-q")[0] == 0
    assert json.loads(cloudml("models", "approve", "deep@champion", "-o", "json")[1])["approval"] == "approved"
    assert re.search(r"\n  approval +rejected\n", cloudml("models", "reject", "deep:1")[1])
    assert json.loads(cloudml("models", "pending", "deep", "-o", "json")[1])["approval"] == "pending"
    made = json.loads(cloudml("models", "get", "deep", "-o", "json")[1])
    assert made["lineage"]["source"].startswith("sha256:")
    assert (made["lineage"]["params"], made["lineage"]["flavor"], made["metrics"]) == (
        {"depth": 3},
        "python",
        {"depth": 3},
    )
    assert re.search(r"\n  registered +20", cloudml("models", "get", "deep")[1])


def test_uploads_that_take_their_time_are_told_with_their_size(cloudml: Command, tmp_path: Path) -> None:
    (tmp_path / "src" / "big.bin").write_bytes(os.urandom(3 << 20))
    told = cloudml("train", "train")[2].splitlines()
    assert told[0].startswith("uploading content/")
    assert told[0].endswith(", 3.0 MiB")
    assert " 3.0 MiB in 0." in told[1]


def test_what_init_writes_works_at_once(cloudml: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDML_HOME", str(tmp_path / "state"))
    assert cloudml("init", "fresh")[0] == 0
    monkeypatch.chdir(tmp_path / "fresh")
    try:
        code, out, err = cloudml("apply")
        assert code == 0, err
        assert re.search(r"endpoint spend-api +ready\n", out)
        assert 20 < json.loads(cloudml("predict", "spend-api", "-d", "[[30, 2]]")[1])[0] < 40
        assert cloudml("doctor")[0] == 0
    finally:
        assert cloudml("destroy", "--all", "-y", "-q")[0] == 0
        monkeypatch.chdir(tmp_path)


SECRET = "s3cr3t-" + "f00d" * 8
WITH_SECRET = """\
version: 1
project: real
jobs:
  train: {source: src, command: "python train.py 3", env: {TOKEN: "${secret:env:TESTS_TOKEN}"}}
models:
  deep: {from: jobs.train, alias: champion, sample_input: [[1, 2]]}
endpoints:
  deep-api: {model: deep@champion, capture: 1.0, env: {TOKEN: "${secret:file:token.txt}"}}
environments:
  dev: {provider: local, home: state}
"""


def test_a_secret_reaches_the_processes_and_nothing_else(cloudml: Command, tmp_path: Path) -> None:
    """The one place that holds its value is the engine's task file, which nobody else may read."""
    (tmp_path / "cloudml.yaml").write_text(WITH_SECRET)
    token = tmp_path / "token.txt"
    token.write_text(SECRET + "\n")
    said: list[str] = []

    def tell(*arguments: str, expect: int = 0, **environ: str) -> str:
        code, out, err = cloudml(*arguments, **environ)
        assert code == expect, err
        said.extend((out, err))
        return out

    known = {"TESTS_TOKEN": SECRET}
    missing = cloudml("apply", "-v")
    assert missing[0] == 3
    assert "${secret:env:TESTS_TOKEN}: the environment variable TESTS_TOKEN is not set" in missing[2]
    assert "${secret:env:TESTS_TOKEN}" in tell("plan", "-v", **known)
    tell("plan", "-o", "json", **known)
    tell("eject", "ejected", **known)
    tell("apply", "-v", **known)
    assert json.loads(tell("predict", "deep-api", "-d", "[[1, 2]]", "-o", "json"))["predictions"] == [len(SECRET)]
    [job] = names(cloudml, "jobs")
    assert f"the token has {len(SECRET)} characters" in tell("jobs", "logs", job)
    for each in (
        ["jobs", "get", job],
        ["endpoints", "get", "deep-api"],
        ["models", "get", "deep"],
        ["status"],
        ["doctor"],
    ):
        tell(*each, "-o", "json", **known)
    tell("endpoints", "logs", "deep-api")
    tell("endpoints", "metrics", "deep-api")
    tell("predict", "deep-api", "-d", "[[1, 2], [1]]", expect=3)
    tell("plan", "-v", "--detailed-exitcode", **known)
    assert SECRET not in "".join(said)
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    holding.remove(token)
    assert {path.name for path in holding} <= {"task.json"}
    assert len(holding) == 2, "the job's and the server's"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holding)


def test_a_secret_inside_a_longer_value_is_refused(cloudml: Command, tmp_path: Path) -> None:
    (tmp_path / "cloudml.yaml").write_text(WITH_SECRET.replace('"${secret:env:T', '"Bearer ${secret:env:T'))
    code, _, err = cloudml("plan")
    assert (code, "env.TOKEN: a secret must be the whole value" in err) == (3, True)
