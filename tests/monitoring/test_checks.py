"""Verdicts: what is found, what is left to chance, and how it reads."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cloudml.errors import ConfigError
from cloudml.monitoring import (
    Baseline,
    Report,
    Thresholds,
    Traffic,
    Verdict,
    check,
    rows_from_records,
    traffic_from_records,
)
from cloudml.monitoring.checks import DRIFT_STATISTICS, QUALITY_STATISTICS
from cloudml.monitoring.table import table


def people(seed: int, count: int, older: float = 0.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "age": random.normal(50 + older, 12, count),
        "income": random.lognormal(8, 1, count),
        "city": np.array(["paris", "oslo", "rome"])[random.integers(0, 3, count)],
    }


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return Baseline.from_rows(people(1, 4000))


def test_a_shift_is_drift_and_says_why(baseline: Baseline) -> None:
    report = check(baseline, baseline.window(people(2, 1000, older=12)), {"psi": 0.2})
    assert report.verdict is Verdict.DRIFT
    assert report.drifted
    assert [finding.feature for finding in report.findings] == ["age"]
    assert [feature.name for feature in report.features if feature.drifted] == ["age"]
    assert report.reasons == ("age: psi 0.903 over 0.2, mean 49.88 → 61.73",)
    assert people(2, 1000, older=12)["age"].mean() == pytest.approx(61.73, abs=0.005)
    assert report.findings[0].p_value is not None
    assert report.findings[0].p_value < 1e-10


def test_the_same_people_are_no_drift(baseline: Baseline) -> None:
    report = check(baseline, baseline.window(people(3, 1000)))
    assert (report.verdict, report.findings, report.reasons) == (Verdict.OK, (), ())


def test_a_real_shift_below_the_threshold_is_no_drift(baseline: Baseline) -> None:
    profile = baseline.window(people(2, 4000, older=3))
    small = check(baseline, profile, {"psi": 0.2})
    assert not small.drifted
    assert small.features[0].p_values["psi"] < 1e-6
    assert check(baseline, profile, {"psi": 0.01}).drifted


def test_too_few_rows_give_no_verdict(baseline: Baseline) -> None:
    profile = baseline.window(people(2, 150, older=40))
    report = check(baseline, profile)
    assert (report.verdict, report.drifted) == (Verdict.TOO_FEW, False)
    assert report.reasons == ("150 rows in the window, 200 are needed for a verdict",)
    assert check(baseline, profile, min_samples=150).drifted
    empty = check(baseline, baseline.window([]))
    assert empty.verdict is Verdict.TOO_FEW
    assert json.dumps(empty.to_json(), allow_nan=False)


def test_a_missing_column_unseen_categories_and_text_for_numbers_are_found(baseline: Baseline) -> None:
    rows = people(4, 600)
    window = {"income": [*rows["income"][:450].tolist(), *["n/a"] * 150], "city": ["bonn"] * 200 + ["oslo"] * 400}
    found = {(finding.feature, finding.statistic) for finding in check(baseline, baseline.window(window)).findings}
    assert found == {
        ("age", "missing_rate"),
        ("income", "type_error_rate"),
        ("city", "unseen_rate"),
        ("city", "psi"),
    }


def test_a_rate_is_judged_by_its_increase_over_the_baselines() -> None:
    half = [None, 1.0, None, 2.0] * 500
    baseline = Baseline.from_rows({"x": half})
    assert not check(baseline, baseline.window({"x": half})).drifted
    report = check(baseline, baseline.window({"x": half[:1000] + [None] * 500}))
    assert report.reasons == ("x: missing_rate 0.667 over 0.1 (baseline 0.5)",)


def test_no_false_alarm_beyond_the_stated_rate_where_only_chance_is_left() -> None:
    zero = dict.fromkeys((*DRIFT_STATISTICS, *QUALITY_STATISTICS), 0.0)
    alarms, repetitions = 0, 60
    for seed in range(repetitions):
        random = np.random.default_rng(seed)
        shares = 1 / np.arange(1, 61)
        rows = [
            {
                **{f"n{at}": random.lognormal(size=size) for at in range(6)},
                "k": random.choice([f"c{at}" for at in range(60)], size, p=shares / shares.sum()),
            }
            for size in (500, 1000)
        ]
        baseline = Baseline.from_rows(rows[0])
        alarms += check(baseline, baseline.window(rows[1]), zero).drifted
    assert alarms <= 4  # P(more | 1 %) < 0.0004; without the guard every window alarms


def test_thresholds_name_their_mistakes() -> None:
    with pytest.raises(ConfigError, match="unknown statistic 'pis'") as caught:
        Thresholds({"pis": 0.2})
    assert caught.value.hint == "did you mean 'psi'?"
    for wrong in (-1, float("nan"), "0.2", True):
        with pytest.raises(ConfigError, match="threshold of psi"):
            Thresholds({"psi": wrong})  # type: ignore[dict-item]


def test_naming_a_distribution_statistic_replaces_psi_and_none_switches_off() -> None:
    assert dict(Thresholds()) == {"psi": 0.2, **dict.fromkeys(QUALITY_STATISTICS, 0.1)}
    assert dict(Thresholds({"ks": 0.1, "missing_rate": None})) == {
        "ks": 0.1,
        **dict.fromkeys(QUALITY_STATISTICS[1:], 0.1),
    }


def records(count: int) -> list[dict[str, object]]:
    return [
        {
            "inputs": [[float(at), "a"]],
            "names": ["x", "k"],
            "outputs": [at % 2],
            "status": 200,
            "latency_ms": float(at),
            "time": 1000.0 + at,
        }
        for at in range(count)
    ]


def test_captured_requests_become_rows_latencies_and_errors() -> None:
    captured = [*records(100), {"inputs": [["bad"]], "names": None, "outputs": None, "status": 400, "time": 5.0}]
    captured[3] = {**captured[3], "inputs": [["a", 3.0]], "names": ["k", "x"]}
    rows, names, latencies, errors = rows_from_records(captured)
    assert (len(rows), names, len(latencies), errors) == (100, ("x", "k"), 100, 1)
    assert list(rows[3]) == [3.0, "a"]
    traffic = traffic_from_records(captured)
    assert traffic.predictions == [0, 1] * 50
    assert traffic.latency == {"p50": 49.0, "p95": 94.0, "p99": 98.0}
    assert (traffic.window, traffic.error_rate) == ((5.0, 1099.0), 1 / 101)
    with pytest.raises(ConfigError, match="different features"):
        rows_from_records([*records(1), {"inputs": [[1.0, 2.0]], "names": ["x", "z"]}])
    cut = traffic_from_records([*records(2), {"inputs": None, "status": 200}])
    assert (len(cut.rows), cut.requests, cut.errors, cut.predictions) == (2, 3, 0, [0, 1])
    assert traffic_from_records([]) == Traffic([], None, None, [], 0, 0, None)


def test_predictions_drift_and_latency_and_errors_have_thresholds() -> None:
    reference = traffic_from_records(records(1000))
    baseline = Baseline.from_rows(reference.rows, names=reference.names, predictions=reference.predictions)
    now = traffic_from_records([{**record, "outputs": [1]} for record in records(1000)] + [{"status": 503}] * 50)
    profile = baseline.window(now.rows, names=now.names, predictions=now.predictions)
    report = check(baseline, profile, {"psi": 0.2, "latency_p95": 500, "error_rate": 0.01}, traffic=now)
    found = {(finding.feature, finding.statistic) for finding in report.findings}
    assert found == {("prediction", "psi"), (None, "latency_p95"), (None, "error_rate")}
    assert report.latency == {"p50": 499.0, "p95": 949.0, "p99": 989.0}
    assert "latency_p95 949 over 500" in report.reasons


def drifted_report(baseline: Baseline) -> Report:
    traffic = traffic_from_records(records(10))
    return check(baseline, baseline.window(people(2, 1000, older=12)), {"psi": 0.2}, traffic=traffic)


def test_the_table_is_aligned_and_the_worst_feature_comes_first(baseline: Baseline) -> None:
    lines = table(drifted_report(baseline)).split("\n")
    assert lines[0] == "DRIFT in 1 of 3 features (1000 rows)"
    assert lines[1].startswith("  age: psi")
    assert lines[2] == "  latency and errors: p50 4.0 ms, p95 9.0 ms, p99 9.0 ms, errors 0.00%"
    heading = next(at for at, line in enumerate(lines) if line.startswith("feature"))
    assert [line.split()[0] for line in lines[heading + 1 :]] == ["age", *sorted_by_psi(baseline)]
    columns = {line.index(word) for line in lines[heading + 1 :] for word in ("DRIFT", "ok") if word in line}
    assert columns == {lines[heading].index("verdict")}
    assert "\x1b" not in "\n".join(lines)


def test_a_report_is_printed_as_its_table(baseline: Baseline, capsys: pytest.CaptureFixture[str]) -> None:
    report = drifted_report(baseline)
    print(report)  # noqa: T201 - as people do
    assert capsys.readouterr().out == table(report) + "\n"


def sorted_by_psi(baseline: Baseline) -> list[str]:
    rest = [feature for feature in drifted_report(baseline).features if not feature.drifted]
    return [feature.name for feature in sorted(rest, key=lambda feature: -feature.statistics["psi"])]


def test_the_tables_first_line_is_the_verdict(baseline: Baseline) -> None:
    assert table(check(baseline, baseline.window(people(3, 1000)))).startswith("OK: no drift in 3 features (1000 rows)")
    assert table(check(baseline, baseline.window([]))).startswith("TOO FEW SAMPLES (0 rows)\n  0 rows in the window")


def test_the_report_is_plain_json(baseline: Baseline) -> None:
    report = drifted_report(baseline)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (data["schema_version"], data["verdict"], data["drifted"]) == (1, "drift", True)
    assert data["reasons"] == list(report.reasons)
    assert data["features"][0]["statistics"]["psi"] == report.features[0].statistics["psi"]
    assert data["window"] == [1000.0, 1009.0]
