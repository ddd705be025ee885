"""``monitor``: a run over captured requests, by options and by SageMaker's contract for monitoring containers."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httptools")

from cloudml.errors import ConfigError
from cloudml.monitoring.profile import Baseline
from cloudml.runtime.captured import Records
from cloudml.runtime.monitor import DRIFTED, monitor

KINDS = ("red", "green", "blue")


def rows(count: int, shift: float = 0.0, seed: int = 1) -> list[list[Any]]:
    chance = random.Random(seed)
    return [[chance.gauss(shift, 1), KINDS[chance.randrange(3)]] for _ in range(count)]


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    sidecar = {"schema_version": 1, "baseline": Baseline.from_rows(rows(2000), ["size", "color"]).to_json()}
    path = tmp_path / "baseline/fraud.json"
    path.parent.mkdir()
    path.write_text(json.dumps(sidecar))
    return path


def own(path: Path, found: list[list[Any]], hour: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {"id": str(n), "time": f"2026-11-20T{hour}:00:00Z", "inputs": [row], "names": ["size", "color"], "outputs": [1],
         "status": 200, "latency_ms": 1.5}
        for n, row in enumerate(found)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def sagemaker(path: Path, found: list[list[Any]]) -> Path:
    """The envelope of SageMaker's data capture, as its developer guide documents it; all three encodings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        for n, row in enumerate(found):
            text = f"{row[0]},{row[1]}"
            data = (
                {"observedContentType": "text/csv", "data": text, "encoding": "CSV"},
                {
                    "observedContentType": "application/json",
                    "data": json.dumps({"instances": [row]}),
                    "encoding": "JSON",
                },
                {
                    "observedContentType": "text/csv",
                    "data": base64.b64encode(text.encode()).decode(),
                    "encoding": "BASE64",
                },
            )[n % 3]
            output = {"observedContentType": "application/json", "data": '{"predictions": [1]}', "encoding": "JSON"}
            captured = {"endpointInput": {**data, "mode": "INPUT"}, "endpointOutput": {**output, "mode": "OUTPUT"}}
            about = {"eventId": str(n), "inferenceTime": "2026-11-20T10:15:00Z"}
            file.write(json.dumps({"captureData": captured, "eventMetadata": about, "eventVersion": "0"}) + "\n")
    return path


def azure(folder: Path, found: list[list[Any]]) -> Path:
    """The two collections of Azure's data collector, as CloudEvents; the answer of the last request was not kept."""
    for name, bodies in (
        ("request", [{"instances": [row]} for row in found]),
        ("response", [{"predictions": [n]} for n, _ in enumerate(found[:-1])]),
    ):
        path = folder / f"fraud-api-1a2b/blue-3c4d/{name}/2026/11/20/10/x.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        source = "/subscriptions/s/onlineEndpoints/fraud-api-1a2b/deployments/blue-3c4d"
        about = {"specversion": "1.0", "type": f"azureml.inference.{name}", "source": source}
        about["time"] = "2026-11-20T10:15:00+00:00"
        lines = [{**about, "id": f"{name}{n}", "correlationid": str(n), "data": body} for n, body in enumerate(bodies)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"type": "azureml.infer')
    return folder


def run(baseline: Path, captured: Path, output: Path, *more: str) -> int:
    given = ["--baseline", str(baseline), "--captured", str(captured), "--output", str(output)]
    return monitor([*given, "--limit", "psi=0.2", *more], root=output / "nothing")


def test_no_drift_is_ok_and_every_file_is_written(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own(tmp_path / "capture/a.jsonl", rows(500, seed=2))
    assert run(baseline, tmp_path / "capture", tmp_path / "out", "--fail-on", "drift") == 0
    assert capsys.readouterr().out == "ok\n"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.json", "report.html", "statistics.json", "constraint_violations.json"}
    assert json.loads((tmp_path / "out/constraint_violations.json").read_text()) == {"violations": []}


def test_drift_is_a_violation_and_an_exit_code(baseline: Path, tmp_path: Path) -> None:
    own(tmp_path / "capture/a.jsonl", rows(500, shift=2, seed=2))
    assert run(baseline, tmp_path / "capture", tmp_path / "out") == 0
    assert run(baseline, tmp_path / "capture", tmp_path / "out", "--fail-on", "drift") == DRIFTED
    found = json.loads((tmp_path / "out/constraint_violations.json").read_text())["violations"]
    assert {(each["feature_name"], each["constraint_check_type"]) for each in found} == {
        ("size", "baseline_drift_check")
    }
    assert "psi 3." in found[0]["description"]


def test_the_statistics_are_those_of_the_rows(baseline: Path, tmp_path: Path) -> None:
    found = rows(1000, shift=1, seed=3)
    run(baseline, own(tmp_path / "a.jsonl", found), tmp_path / "out")
    statistics = json.loads((tmp_path / "out/statistics.json").read_text())
    assert statistics["dataset"] == {"item_count": 1000}
    size, color = statistics["features"][:2]
    numbers = [row[0] for row in found]
    mean = sum(numbers) / 1000
    spread = (sum((x - mean) ** 2 for x in numbers) / 1000) ** 0.5
    assert size["inferred_type"] == "Fractional"
    numeric = size["numerical_statistics"]
    assert numeric["common"] == {"num_present": 1000, "num_missing": 0}
    assert numeric["mean"] == pytest.approx(mean, rel=1e-3)
    assert numeric["std_dev"] == pytest.approx(spread, rel=1e-2)
    assert (numeric["min"], numeric["max"]) == (min(numbers), max(numbers))
    buckets = numeric["distribution"]["kll"]["buckets"]
    assert len(buckets) == 10
    assert sum(bucket["count"] for bucket in buckets) == 1000
    assert (buckets[0]["lower_bound"], buckets[-1]["upper_bound"]) == (min(numbers), max(numbers))
    categories = color["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert {each["value"]: each["count"] for each in categories} == {
        kind: sum(row[1] == kind for row in found) for kind in KINDS
    }
    assert color["string_statistics"]["distinct_count"] == 3


def test_sagemakers_contract_needs_no_option(baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    (root / "opt/ml/output").mkdir(parents=True)
    sagemaker(tmp_path / "in/fraud-api/blue/2026/11/20/10/x.jsonl", rows(600, shift=2, seed=4))
    for name, value in {
        "dataset_source": str(tmp_path / "in"),
        "dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}',
        "output_path": str(tmp_path / "out"),
        "baseline_statistics": str(baseline.parent),
        "start_time": "2026-11-20T10:00:00Z",
        "end_time": "2026-11-20T11:00:00Z",
        "publish_cloudwatch_metrics": "Enabled",
        "sagemaker_endpoint_name": "fraud-api",
        "sagemaker_monitoring_schedule_name": "hourly",
        "CLOUDML_LIMITS": '{"psi": 0.2}',
    }.items():
        monkeypatch.setenv(name, value)
    assert monitor([], root) == 0
    assert json.loads((tmp_path / "out/constraint_violations.json").read_text())["violations"]
    message = (root / "opt/ml/output/message").read_text()
    assert message == "CompletedWithViolations: Job completed successfully with 2 violations."
    lines = (root / "opt/ml/output/metrics/cloudwatch/cloudwatch_metrics.jsonl").read_text().splitlines()
    metrics = {each["MetricName"]: each for each in map(json.loads, lines)}
    assert metrics["feature_baseline_drift_size"]["Value"] > 0.3
    assert metrics["feature_baseline_drift_size"]["Dimensions"] == [
        {"Name": "Endpoint", "Value": "fraud-api"},
        {"Name": "MonitoringSchedule", "Value": "hourly"},
    ]


def test_a_schedule_of_sagemakers_keeps_its_run_besides_without_a_shadow_and_what_came_before(
    baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("blue/2026/11/20/10", "green/2026/11/20/10"):
        sagemaker(tmp_path / f"in/{place}/x.jsonl", rows(30, seed=4))
    env = {
        "dataset_source": str(tmp_path / "in"),
        "output_path": str(tmp_path / "out"),
        "baseline_statistics": str(baseline.parent),
        "publish_cloudwatch_metrics": "Enabled",
        "CLOUDML_ENDPOINT": "fraud-api",
        "CLOUDML_MODEL": "fraud:1a2b3c4d",
        "CLOUDML_WITHOUT": "green,red",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert monitor([], tmp_path) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    (run,) = names - {"report.json", "report.html", "statistics.json", "constraint_violations.json"}
    found = json.loads((tmp_path / "out" / run).read_text())
    assert (found["model"], found["report"]["samples"]) == ("fraud:1a2b3c4d", 30)
    monkeypatch.setenv("output_path", str(tmp_path / "later"))
    monkeypatch.setenv("start_time", "2026-11-20T10:00:00Z")
    monkeypatch.setenv("CLOUDML_SINCE", "2026-11-20T10:16:00Z")
    assert monitor([], tmp_path) == 0
    (run,) = [path for path in (tmp_path / "later").iterdir() if path.name.startswith("20")]
    assert json.loads(run.read_text())["report"]["samples"] == 0


def test_folders_of_a_pattern_do_not_count(baseline: Path, tmp_path: Path) -> None:
    for place in ("blue-12345678", "green-12345678", "green-9abcdef0", "green-two-12345678"):
        own(tmp_path / f"capture/{place}/a.jsonl", rows(10, seed=4))
    assert run(baseline, tmp_path / "capture", tmp_path / "out", "--without", "green-????????") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["samples"] == 20


def test_only_the_window_counts_and_a_broken_line_does_not(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own(tmp_path / "capture/a.jsonl", rows(500, seed=2), hour=10)
    own(tmp_path / "capture/b.jsonl", rows(500, shift=5, seed=2), hour=12)
    with open(tmp_path / "capture/a.jsonl", "a") as file:
        file.write('{"id": "half wr')
    window = ("--start", "2026-11-20T10:00:00Z", "--end", "2026-11-20T11:00:00Z")
    run(baseline, tmp_path / "capture", tmp_path / "out", *window)
    said = capsys.readouterr()
    assert said.out == "ok\n"
    assert "1 captured lines could not be read" in said.err
    assert json.loads((tmp_path / "out/report.json").read_text())["samples"] == 500


def test_the_rows_of_every_encoding_are_the_same(tmp_path: Path) -> None:
    found = rows(3)
    records = list(Records(sagemaker(tmp_path / "x.jsonl", found)))
    assert [record.inputs for record in records] == [[row] for row in found]
    assert [record.outputs for record in records] == [[1]] * 3


def test_azures_requests_have_their_answers(tmp_path: Path) -> None:
    found = rows(3)
    records = Records(azure(tmp_path, found))
    assert [record.inputs for record in records] == [[row] for row in found]
    assert [record.outputs for record in records] == [[0], [1], []]
    assert {record.deployment for record in records} == {"blue-3c4d"}
    assert len(list(Records(tmp_path, end=records.start or 1.0))) == 0


def test_a_run_that_is_kept_is_one_document_named_by_its_time(baseline: Path, tmp_path: Path) -> None:
    captured = azure(tmp_path / "in", rows(500, shift=2, seed=2))
    named = ("--endpoint", "fraud-api", "--model", "fraud:1a2b3c4d")
    assert run(baseline, captured, tmp_path / "out", *named) == 0
    (path,) = (tmp_path / "out").iterdir()
    found = json.loads(path.read_text())
    assert (found["endpoint"], found["model"], found["report"]["verdict"]) == ("fraud-api", "fraud:1a2b3c4d", "drift")
    assert path.name == f"{found['time'][:23].replace('-', '').replace(':', '')}Z.json"
    assert run(baseline, captured, tmp_path / "late", *named, "--window", "60") == 0
    (late,) = (tmp_path / "late").iterdir()
    assert json.loads(late.read_text())["report"]["samples"] == 0
    with pytest.raises(ConfigError, match="--endpoint and --model"):
        run(baseline, captured, tmp_path / "out", "--endpoint", "fraud-api")


def test_a_feature_that_is_never_kept_is_no_finding(baseline: Path, tmp_path: Path) -> None:
    own(tmp_path / "a.jsonl", [[None, row[1]] for row in rows(500, seed=2)])
    assert run(baseline, tmp_path / "a.jsonl", tmp_path / "seen", "--fail-on", "drift") == DRIFTED
    redacted = ("--redacted", "size", "--fail-on", "drift")
    assert run(baseline, tmp_path / "a.jsonl", tmp_path / "hidden", *redacted) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [("{}", "is no baseline of cloudml"), ('{"version": 0, "features": []}', "is no baseline"), ("{", "not readable")],
)
def test_a_baseline_of_somebody_else_is_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "statistics.json").write_text(content)
    own(tmp_path / "a.jsonl", rows(5))
    with pytest.raises(ConfigError, match=said):
        run(tmp_path / "statistics.json", tmp_path / "a.jsonl", tmp_path / "out")


def test_without_options_and_variables_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dataset_source", "output_path", "baseline_statistics"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="neither options nor the variable baseline_statistics"):
        monitor([])
