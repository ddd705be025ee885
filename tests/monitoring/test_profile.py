"""Profiles: they merge exactly, take any input, and survive JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudml.errors import ConfigError
from cloudml.monitoring import Baseline, Encoded, Profile, check, read_csv
from cloudml.monitoring.buckets import BUCKETS, bounds, dense, sparse

NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**6), 10**6),
    st.none(),
    st.booleans(),
    st.sampled_from(["", "abc", 10**400, -(10**400), 5e-324, 1.7e308, -1.7e308]),
)
TEXTS = st.one_of(st.none(), st.text(max_size=2), st.booleans(), st.integers(0, 3), st.sampled_from([1.0, math.nan]))
ROWS = st.lists(st.tuples(NUMBERS, TEXTS, st.floats(-5, 5)), max_size=40)


@settings(max_examples=150, deadline=None)
@given(reference=ROWS.filter(bool), one=ROWS, two=ROWS)
def test_merging_two_windows_is_counting_them_together(reference: Any, one: Any, two: Any) -> None:
    baseline = Baseline.from_rows(reference, names=["n", "c", "z"], categorical=["c"])
    windows = [baseline.window(rows, names=["n", "c", "z"]) for rows in (one, two, one + two)]
    assert windows[0].merge(windows[1]) == windows[2]
    assert windows[1].merge(windows[0]) == windows[2]


@settings(max_examples=100, deadline=None)
@given(reference=ROWS.filter(bool), window=ROWS)
def test_anything_is_counted_checked_and_comes_back_from_json(reference: Any, window: Any) -> None:
    baseline = Baseline.from_rows(reference)
    profile = baseline.window(window)
    text = json.dumps([baseline.to_json(), profile.to_json()], allow_nan=False)
    again, counted = json.loads(text)
    assert Baseline.from_json(again) == baseline
    assert Profile.from_json(counted) == profile
    report = check(baseline, profile, {"psi": 0.0, "ks": 0.0, "wasserstein_normalized": 0.0}, min_samples=0)
    json.dumps(report.to_json(), allow_nan=False)


def test_merging_many_chunks_is_exact_to_the_last_unit_of_the_sum() -> None:
    random = np.random.default_rng(0)
    rows = {"x": random.standard_cauchy(200_000) * 1e3}
    baseline = Baseline.from_rows(rows)
    parts = [baseline.window({"x": part}) for part in np.array_split(rows["x"], 7)]
    whole = parts[3]
    for position in (0, 6, 2, 5, 1, 4):
        whole = whole.merge(parts[position])
    assert whole == baseline.profile
    feature, counts = baseline.features[0], whole.counts["x"]
    assert counts.mean(feature) == pytest.approx(rows["x"].mean(), rel=1e-6)  # type: ignore[union-attr, arg-type]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=30))
def test_buckets_never_decrease_and_hold_their_values(values: list[float]) -> None:
    lower, upper = bounds()
    places = [int(sparse(dense(np.array([value]))).index[0]) for value in sorted(values)]
    assert places == sorted(places)
    largest = float(np.finfo(np.float32).max)
    for value, place in zip(sorted(values), places, strict=True):
        rounded = min(max(float(np.clip(value, -largest, largest).astype(np.float32)), -largest), largest)
        assert lower[place] <= rounded <= upper[place]


def test_bucket_bounds_join_without_gap_or_overlap() -> None:
    lower, upper = bounds()
    assert len(lower) == BUCKETS
    assert (lower[1:] == upper[:-1]).all()


def test_every_shape_of_input_gives_the_same_baseline() -> None:
    lists: list[list[Any]] = [[1.5, "a"], [2.5, "b"], [None, "a"], [4.0, None]]
    names = ["x", "k"]
    frame = pd.DataFrame(lists, columns=names)
    shapes: list[Any] = [
        [dict(zip(names, row, strict=True)) for row in lists],
        {"x": np.array([1.5, 2.5, np.nan, 4.0]), "k": np.array(["a", "b", "a", None], dtype=object)},
        {"x": [1.5, 2.5, None, 4.0], "k": Encoded(np.array([0, 1, 0, -1], np.int8), ["a", "b"])},
        frame,
        frame.astype({"k": "category", "x": "Float64"}),
        frame.astype({"k": "string"}),
    ]
    expected = Baseline.from_rows(lists, names=names)
    for rows in shapes:
        assert Baseline.from_rows(rows) == expected


def test_a_two_dimensional_array_is_rows_by_columns() -> None:
    values = np.arange(12.0).reshape(4, 3)
    assert Baseline.from_rows(values) == Baseline.from_rows(values.tolist())
    with pytest.raises(ConfigError, match="2-D"):
        Baseline.from_rows(np.arange(3.0))


def test_what_is_wrong_with_values_is_counted_by_its_own_name() -> None:
    baseline = Baseline.from_rows([[float(value), "ab"[value % 2]] for value in range(100)])
    window = baseline.window([[None, "a"], [math.nan, None], ["7", "x"], [math.inf, "y"], [-3, "x"], [120.0, "b"]])
    numeric, text = (window.counts[name] for name in ("x0", "x1"))
    assert (numeric.missing, numeric.type_errors, numeric.infinite, numeric.below, numeric.above) == (2, 1, 1, 1, 1)  # type: ignore[union-attr]
    assert numeric.present == 2
    assert (text.missing, text.unlisted, text.examples) == (1, 3, (("x", 2), ("y", 1)))  # type: ignore[union-attr]


def test_categories_beyond_the_cap_are_others_and_not_unseen() -> None:
    rows = [[f"c{at:04}"] for at in range(1500)] + [["c0007"]] * 3
    baseline = Baseline.from_rows(rows)
    feature, counts = baseline.features[0], baseline.profile.counts["x0"]
    assert len(feature.categories) == 1000
    assert not feature.complete
    assert feature.categories[0] == "c0007"  # type: ignore[union-attr]
    assert counts.unlisted == 500  # type: ignore[union-attr]
    report = check(baseline, baseline.window([["new"]] * 300))
    assert "unseen_rate" not in report.features[0].statistics


def test_booleans_and_numbers_as_categories_match_however_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "reference.csv"
    path.write_text("flag,code,x\n" + "True,1,0.5\nfalse,2.0,\n" * 10)
    baseline = Baseline.from_csv(path, categorical=["code"])
    assert [str(feature.kind) for feature in baseline.features] == ["categorical", "categorical", "numeric"]
    window = baseline.window([[True, 1, 0.5], [np.True_, 2.0, 1], [False, "1", None]])
    assert [window.counts[name].unlisted for name in ("flag", "code")] == [0, 0]  # type: ignore[union-attr]
    assert baseline.profile.counts["x"].missing == 10


def test_csv_columns_are_numbers_with_gaps_or_text(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b,c\r\n1,x,\r\n,y,NA\r\n2.5,,null\r\n\r\n")
    assert {name: list(column) for name, column in read_csv(path).items()} == {  # type: ignore[call-overload]
        "a": [1.0, None, 2.5],
        "b": ["x", "y", None],
        "c": [None, None, None],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "empty"), ("a,b\n1,2\n3\n", r"data.csv:3: 1 cells, the header has 2"), ("a,a\n1,2\n", "repeated: a")],
)
def test_a_broken_csv_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_csv(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_csv(tmp_path / "none.csv")


def test_a_text_column_read_as_numbers_in_one_chunk_is_whole_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudml.monitoring.csv_file.CSV_CHUNK", 2)
    path = tmp_path / "data.csv"
    path.write_text("a\n1\n2\nx\n4\n5\n")
    assert read_csv(path)["a"] == [1.0, 2.0, "x", 4.0, 5.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Baseline.from_rows([]), "at least one row"),
        (lambda: Baseline.from_rows([[1], [1, 2]]), "row 1 has 2 values"),
        (lambda: Baseline.from_rows([[1], "a"]), "row 1 is no row of values but str"),
        (lambda: Baseline.from_rows([1.5]), "row 0 is no row of values but float"),
        (lambda: Baseline.from_rows([[1]], names=["a", "b"]), "2 names for 1 columns"),
        (lambda: Baseline.from_rows({"a": [1], "b": [1, 2]}), "differ in length"),
        (lambda: Baseline.from_rows({"fraud": [1], "b": [1]}, target="frauds"), "no column 'frauds'"),
        (lambda: Baseline.from_rows({"a": [1]}, target="a"), "at least one row and one feature"),
        (lambda: Baseline.from_rows({"prediction": [1]}, predictions=[1]), "kept for the model's predictions"),
        (lambda: Baseline.from_rows({"a": [1, 2]}, predictions=[1]), "1 predictions for 2 rows"),
        (lambda: Baseline.from_rows({"a": [1]}).window([[1, 2]]), "2 values, the baseline has 1"),
    ],
)
def test_bad_input_is_a_config_error(call: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


def test_profiles_of_different_baselines_do_not_meet() -> None:
    one, two = Baseline.from_rows({"a": [1.0, 2.0]}), Baseline.from_rows({"a": [1.0, 3.0]})
    with pytest.raises(ConfigError, match="different baselines"):
        one.window([[1.0]]).merge(two.window([[1.0]]))
    with pytest.raises(ConfigError, match="another baseline"):
        check(one, two.window([[1.0]]))
    forged = one.to_json()
    forged["features"][0]["center"] = 9.0
    with pytest.raises(ConfigError, match="digest"):
        Baseline.from_json(forged)
    with pytest.raises(ConfigError, match="schema_version 2"):
        Baseline.from_json({**one.to_json(), "schema_version": 2})


def test_columns_meet_by_name_and_one_left_out_is_missing() -> None:
    baseline = Baseline.from_rows({"a": [1.0, 2.0], "b": [5.0, 6.0], "y": [0, 1]}, target="y")
    assert baseline.names == ("a", "b")
    swapped = baseline.window([[5.0, 1.0], [6.0, 2.0]], names=["b", "a"])
    assert swapped == baseline.profile
    assert baseline.window([{"a": 1.0, "extra": 3}]).counts["b"].missing == 1


def test_predictions_are_features_of_their_own() -> None:
    single = Baseline.from_rows([[1.0], [2.0]], predictions=["no", "yes"])
    assert single.names == ("x0",)
    assert single.features[1].name == "prediction"
    assert single.window([[1.0]], predictions=["yes"]).counts["prediction"].counts == (0, 1)  # type: ignore[union-attr]
    several = Baseline.from_rows(np.zeros((3, 1)), predictions=np.ones((3, 2)))
    assert [feature.name for feature in several.features] == ["x0", "prediction[0]", "prediction[1]"]


@pytest.mark.parametrize(
    "values",
    [
        [7.0] * 50,
        [1.0],
        [None] * 5,
        [1e308, -1e308] * 9,
        [5e-324, 0.0] * 9,
        [0.0] * 90 + [1.0] * 10,
        [1e300] * 3,
        [-1.7976931348623157e308] * 3,
    ],
)
def test_odd_columns_do_not_drift_from_themselves_but_do_from_others(values: list[Any]) -> None:
    baseline = Baseline.from_rows({"x": values})
    same = check(baseline, baseline.window({"x": values * 50}), min_samples=1)
    assert not same.drifted
    other = check(baseline, baseline.window({"x": [-3.25] * 3000}), {"ks": 0.05, "psi": 0.2}, min_samples=1)
    assert other.drifted is (values not in ([1.0], [None] * 5))  # of one value nothing can be told


def test_monitoring_loads_numpy_only_when_it_is_used() -> None:
    import subprocess
    import sys

    code = (
        "import sys, cloudml.monitoring; assert 'numpy' not in sys.modules\n"
        "sys.modules['numpy'] = None\n"
        "from cloudml.errors import MissingExtra\n"
        "try: cloudml.monitoring.Baseline\n"
        "except MissingExtra as error: print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'pip install "cloudml-sdk[serve]"'


def test_minus_zero_is_zero() -> None:
    baseline = Baseline.from_rows({"x": [0.0, 0.0, -1.0, 1.0] * 100})
    negative = baseline.window({"x": [-0.0, -0.0, -1.0, 1.0] * 100})
    assert negative == baseline.profile
