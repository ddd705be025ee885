"""The training half's parts by themselves: requirement lines, manifests, metrics, the verbs."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from cloudml.errors import ConfigError
from cloudml.runtime import __main__ as verbs
from cloudml.runtime import installing, metric_lines
from cloudml.runtime.manifest import find_model, read_manifest, write_manifest

VERSION = metadata.version("pytest")
MAJOR = VERSION.split(".")[0]


@pytest.mark.parametrize(
    "line",
    [
        "pytest",
        "PyTest >= 1",
        f"pytest=={VERSION}",
        f"pytest == {MAJOR}.*",
        f"pytest>1,<{int(MAJOR) + 1},!=1.2.3  # why",
        f"pytest~={MAJOR}.0",
        "# pytest>=9999",
        "",
    ],
)
def test_satisfied(line: str) -> None:
    assert installing.missing(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "no-such-distribution",
        "pytest>9999",
        "pytest==1.2.3",
        f"pytest!={VERSION}",
        f"pytest<{VERSION}",
        "pytest~=1.0",
        "pytest==1.*",
        f"pytest!={MAJOR}.*",
        "pytest[extra]",
        "pytest; python_version > '3'",
        "-r other.txt",
        "./folder",
        "pytest @ file:///x",
    ],
)
def test_missing_or_for_pip_to_judge(line: str) -> None:
    assert installing.missing(line) == [line]


@pytest.mark.parametrize(
    ("have", "operator", "want", "holds"),
    [
        ("1.2", "==", "1.2.0", True),
        ("1.10", ">", "1.9", True),
        ("1.2.5", "~=", "1.2.3", True),
        ("1.3.0", "~=", "1.2.3", False),
        ("2", "~=", "1.4", False),
    ],
)
def test_versions_are_numbers(have: str, operator: str, want: str, holds: bool) -> None:
    assert installing._holds(installing._numbers(have), operator, want, "") is holds


@pytest.mark.parametrize(
    ("names", "flavor", "entry"),
    [
        (["model.joblib"], "sklearn", "model.joblib"),
        (["model.pkl", "metrics.json"], "sklearn", "model.pkl"),
        (["model.py", "weights.bin"], "python", "model.py"),
        (["model.py", "model.joblib"], "python", "model.py"),
        (["model.joblib", "model.pkl"], "files", ""),
        (["weights.bin"], "files", ""),
    ],
)
def test_manifest(tmp_path: Path, names: list[str], flavor: str, entry: str) -> None:
    for name in names:
        (tmp_path / name).write_text("x")
    (tmp_path / "requirements.txt").write_text("pytest>=1\n# no\n-r x\nno-such-distribution\n")
    written = write_manifest(tmp_path)
    assert (written.flavor, written.entry) == (flavor, entry)
    assert f"pytest=={VERSION}" in written.requirements
    assert read_manifest(tmp_path) == written
    assert write_manifest(tmp_path) == written  # the manifest is not part of what it describes
    (tmp_path / names[0]).write_text("y")
    assert write_manifest(tmp_path).digest != written.digest


def test_find_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model in"):
        find_model(tmp_path)
    for name in ("a/b/c", "a/d"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.py").touch()
    write_manifest(tmp_path / "a/b/c")
    assert find_model(tmp_path) == tmp_path / "a/b/c"
    write_manifest(tmp_path / "a/d")
    assert find_model(tmp_path) == tmp_path / "a/d"
    (tmp_path / "a" / "b" / "cloudml-model.json").touch()
    with pytest.raises(ConfigError, match="several models"):
        find_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "has no cloudml-model.json"),
        ("{", "is not readable"),
        ("[]", "must be a JSON object"),
        ('{"schema_version": 2}', "schema_version 2; this version reads 1"),
        ('{"schema_version": 1, "requirements": [1]}', "'requirements' must be a list of strings"),
        ('{"schema_version": 1}', "'flavor' must be a string"),
    ],
)
def test_a_manifest_that_is_wrong(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "cloudml-model.json").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_manifest(tmp_path)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no files"):
        write_manifest(tmp_path)


@pytest.mark.parametrize("name", ["a b", "", "1a", "a\n#cloudml.metric name=b value=1"])
def test_metric_names_that_would_break_the_line(name: str) -> None:
    with pytest.raises(ValueError, match="metric name"):
        metric_lines.render(metric_lines.Metric(name, 1.0, None, 0.0))


@pytest.mark.parametrize("value", [0.1, -1e-300, 1e300, 3.0, float("inf")])
def test_a_metric_survives_its_line(value: float) -> None:
    line = metric_lines.render(metric_lines.Metric("a/b.c-d", value, -4, 0.0))
    found = metric_lines.parse(line.encode() + b"\r")
    assert found is not None
    assert (found.name, found.value, found.step) == ("a/b.c-d", value, -4)


def test_metrics_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    assert metric_lines.from_file(path, {}) == ([], [])
    for text, says in (("{", "is not read"), ("[1]", "must be an object"), ('{"a": true}', "'a' is left out")):
        path.write_text(text)
        assert says in metric_lines.from_file(path, {})[1][0]
    path.write_text(json.dumps({"a": 1, "b": 2}))
    assert [metric.name for metric in metric_lines.from_file(path, {"a": 1.0, "b": 3.0})[0]] == ["b"]


def test_an_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.main(["fly"]) == 2
    assert capsys.readouterr().err == "usage: python -m cloudml.runtime train | serve | batch | monitor\n"
