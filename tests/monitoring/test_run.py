"""A run over captured requests: what fits, what is redacted, what is answered, and the report that is kept."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudml.errors import ConfigError
from cloudml.monitoring import (
    Baseline,
    Comparison,
    Kind,
    Profile,
    Report,
    Verdict,
    check,
    compare,
    report_from_json,
    traffic_from_records,
)
from cloudml.monitoring.run import run
from cloudml.monitoring.table import table
from cloudml.states import Captured

NAMES = ["age", "income", "city"]


def rows(count: int, seed: int = 0) -> list[list[Any]]:
    random = np.random.default_rng(seed)
    return [
        [float(age), float(income), ["oslo", "rome"][city]]
        for age, income, city in zip(
            random.normal(50, 9, count), random.lognormal(8, 1, count), random.integers(0, 2, count), strict=True
        )
    ]


def captured(inputs: list[Any], outputs: list[Any] | None = None, names: list[str] | None = None) -> list[Captured]:
    """A request per row."""
    answers = outputs if outputs is not None else [None] * len(inputs)
    return [
        Captured(f"r{at}", f"2026-11-22T10:00:{at % 60:02}Z", [row], [answer], names, latency_ms=1.0 + at % 5)
        for at, (row, answer) in enumerate(zip(inputs, answers, strict=True))
    ]


@pytest.fixture(scope="module")
def baseline() -> dict[str, Any]:
    return Baseline.from_rows(rows(3000), names=NAMES).to_json()


def test_a_ragged_row_is_counted_and_left_out_and_not_an_error(baseline: dict[str, Any]) -> None:
    odd: list[Any] = [[1.0], [1.0, 2.0, "oslo", 4.0], "text", 7.0, None, {"nobody": 1}]
    report = run(baseline, captured([*rows(500, 1), *odd]), {"psi": 0.2}, 200)
    assert (report.verdict, report.samples, report.malformed, report.requests) == (Verdict.OK, 500, 6, 506)
    assert report == run(baseline, captured([*odd, *rows(500, 1)]), {"psi": 0.2}, 200)
    assert "malformed: 6 captured rows do not fit the baseline and were left out" in table(report)
    assert report.to_json()["malformed"] == 6


def test_only_if_no_row_fits_it_is_an_error(baseline: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="none of the 3 captured rows fits") as caught:
        run(baseline, captured([[1.0]] * 3), {}, 200)
    assert caught.value.hint == "it has 3 features: age, income, city"
    assert run(baseline, [], {}, 200).verdict is Verdict.TOO_FEW


def test_named_rows_meet_the_baseline_by_name(baseline: dict[str, Any]) -> None:
    straight = captured(rows(300, 1))
    turned = captured(
        [[city, 0, age, income] for age, income, city in rows(300, 1)], None, ["city", "id", "age", "income"]
    )
    objects = captured([dict(zip(NAMES, row, strict=True)) for row in rows(300, 1)])
    expected = compare(baseline, straight, {}, 200).profile
    assert compare(baseline, turned, {}, 200).profile == expected
    assert compare(baseline, objects, {}, 200).profile == expected
    part = compare(baseline, captured([row[:2] for row in rows(300, 1)], None, NAMES[:2]), {}, 200).profile
    assert [part.counts[name].missing for name in NAMES] == [0, 0, 300]
    strange = [*straight, *captured([[1.0, 2.0, 3.0]], None, ["a", "b", "c"])]
    assert compare(baseline, strange, {}, 200).report.malformed == 1


def test_predictions_stay_beside_the_rows_that_fit() -> None:
    records = [
        {"inputs": [[1.0], [2.0, 9.9], [3.0]], "outputs": ["a", "b", "c"]},
        {"inputs": [[4.0], [5.0]], "outputs": ["only one"]},
    ]
    traffic = traffic_from_records(records, ["x"])
    assert (traffic.rows, traffic.malformed) == ([[1.0], [3.0], [4.0], [5.0]], 1)
    assert traffic.predictions == ["a", "c", None, None]


def test_redacted_is_not_captured_and_whatever_else_is_missing_in_every_row_is_drift(baseline: dict[str, Any]) -> None:
    hidden = captured([[None, income, city] for _, income, city in rows(400, 1)])
    told = run(baseline, hidden, {"psi": 0.2}, 200, redacted=["age", "password"])
    assert (told.verdict, [feature.captured for feature in told.features]) == (Verdict.OK, [False, True, True])
    assert (told.features[0].statistics, told.features[0].drifted) == ({}, False)
    assert "not captured" in next(line for line in table(told).split("\n") if line.startswith("age"))
    untold = run(baseline, hidden, {"psi": 0.2}, 200)
    assert untold.reasons == ("age: missing_rate 1 over 0.1: missing in every row, so not sent or not captured",)


def test_redacted_from_the_middle_of_the_window_on_is_judged_by_the_values_there_are(baseline: dict[str, Any]) -> None:
    half = [[None if at % 2 else age, income, city] for at, (age, income, city) in enumerate(rows(800, 1))]
    assert run(baseline, captured(half), {}, 200).drifted
    assert not run(baseline, captured(half), {}, 200, redacted=["age"]).drifted
    older = [[age and age + 20, income, city] for age, income, city in half]
    found = run(baseline, captured(older), {"psi": 0.2, "out_of_range_rate": None}, 200, redacted=["age"])
    assert {(finding.feature, finding.statistic) for finding in found.findings} == {("age", "psi")}


ANSWERS: dict[str, tuple[Any, Any, Kind, int]] = {
    "classes as text": (lambda n: ["yes", "no"] * (n // 2), lambda n: ["no"] * n, Kind.CATEGORICAL, 1),
    "classes as ints": (lambda n: [0, 1, 2, 1] * (n // 4), lambda n: [2] * n, Kind.CATEGORICAL, 1),
    "classes as floats": (lambda n: [0.0, 1.0] * (n // 2), lambda n: [1] * n, Kind.CATEGORICAL, 1),
    "booleans": (lambda n: [True, False] * (n // 2), lambda n: [True] * n, Kind.CATEGORICAL, 1),
    "counts": (lambda n: [at % 90 for at in range(n)], lambda n: [at % 20 for at in range(n)], Kind.NUMERIC, 1),
    "floats": (lambda n: [at % 90 / 7 for at in range(n)], lambda n: [1.5] * n, Kind.NUMERIC, 1),
    "one probability, nested": (lambda n: [[at % 90 / 90] for at in range(n)], lambda n: [[0.1]] * n, Kind.NUMERIC, 1),
    "probabilities": (
        lambda n: [[at % 90 / 90, 1 - at % 90 / 90] for at in range(n)],
        lambda n: [[0.1, 0.9]] * n,
        Kind.NUMERIC,
        2,
    ),
    "sure probabilities": (lambda n: [[0.0, 1.0], [1.0, 0.0]] * (n // 2), lambda n: [[1.0, 0.0]] * n, Kind.NUMERIC, 2),
    "several classes": (lambda n: [[0, "a"], [1, "b"]] * (n // 2), lambda n: [[1, "b"]] * n, Kind.CATEGORICAL, 2),
    "objects": (
        lambda n: [{"label": "ab"[at % 2]} for at in range(n)],
        lambda n: [{"label": "a"}] * n,
        Kind.CATEGORICAL,
        1,
    ),
}


@pytest.mark.parametrize("shape", ANSWERS)
def test_answers_of_any_shape_drift(shape: str) -> None:
    before, after, kind, outputs = ANSWERS[shape]
    reference = Baseline.from_rows(rows(800), names=NAMES, predictions=before(800))
    answers = reference.features[3:]
    assert ([feature.kind for feature in answers], len(reference.names)) == ([kind] * outputs, 3)
    stored = json.loads(json.dumps(reference.to_json()))
    same = run(stored, captured(rows(400, 1), before(400)), {"psi": 0.2}, 200)
    assert same.verdict is Verdict.OK
    moved = run(stored, captured(rows(400, 1), after(400)), {"psi": 0.2}, 200)
    assert {finding.feature for finding in moved.findings} == {feature.name for feature in answers}


def test_an_answer_of_another_shape_is_missing_and_no_answers_at_all_are_not_captured() -> None:
    stored = Baseline.from_rows(rows(800), names=NAMES, predictions=[[0.25, 0.75], [0.5, 0.5]] * 400).to_json()
    answers: list[Any] = [[0.25, 0.75], [0.5, 0.5]] * 200
    odd = compare(stored, captured(rows(403, 1), [*answers, [1.0], "down", None]), {}, 200)
    assert odd.profile.counts["prediction[1]"].missing == 3
    assert not odd.report.drifted
    none = run(stored, captured(rows(400, 1)), {}, 200)
    assert not none.drifted
    assert [feature.name for feature in none.features if not feature.captured] == ["prediction[0]", "prediction[1]"]


def comparison(baseline: dict[str, Any]) -> Comparison:
    older = [[age + 9, income, "bonn"] for age, income, _ in rows(400, 1)]
    return compare(baseline, captured([*older, [1]]), {"psi": 0.2, "latency_p50": 0.5}, 200, redacted=["income"])


def test_a_kept_report_comes_back_equal_and_draws_the_same_page(baseline: dict[str, Any]) -> None:
    found = comparison(baseline)
    kept = json.loads(json.dumps([found.report.to_json(), found.profile.to_json()], allow_nan=False))
    report, profile = report_from_json(kept[0]), Profile.from_json(kept[1])
    assert (report, profile) == (found.report, found.profile)
    assert report.to_json() == kept[0]
    assert Comparison(report, Baseline.from_json(baseline), profile).html() == found.html()
    assert report._repr_html_() == found.report._repr_html_()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=2)), min_size=1, max_size=30),
    window=st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=2)), max_size=30),
)
def test_any_report_comes_back_equal(values: list[Any], window: list[Any]) -> None:
    reference = Baseline.from_rows({"x": values})
    report = check(reference, reference.window({"x": window}), {"psi": 0.0, "ks": 0.0}, min_samples=0)
    assert report_from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report
    page = Comparison(report, reference, reference.window({"x": window})).html()
    page.encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 9}, "schema_version 9"),
        ({"verdict": "perhaps"}, "no report"),
        ({"findings": [{}]}, "no report"),
        ({"surprise": 1}, "no report"),
    ],
)
def test_what_is_no_report_says_so(baseline: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        report_from_json({**comparison(baseline).report.to_json(), **change})
    with pytest.raises(ConfigError, match="schema_version None"):
        report_from_json({})


def test_the_report_knows_what_it_compared(baseline: dict[str, Any]) -> None:
    report: Report = comparison(baseline).report
    assert (report.reference_samples, report.thresholds["psi"], report.errors) == (3000, 0.2, 0)
    assert report.window == (1795341600.0, 1795341659.0)
