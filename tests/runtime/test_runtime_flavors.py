"""Loading models, and what batches make of them, without a server."""

from __future__ import annotations

import json
import queue
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pandas")
pytest.importorskip("sklearn")

import joblib
import numpy as np
import pandas
from serving_process import manifested
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from cloudml.errors import ConfigError
from cloudml.runtime import flavors
from cloudml.runtime.batching import FAST, Batcher, Work, outcomes
from cloudml.runtime.flavors import LoadedModel, Trust, read_signature
from cloudml.runtime.linear import shortcut
from cloudml.runtime.manifest import read_manifest
from cloudml.runtime.metrics import Metrics
from cloudml.runtime.rows import Features, Lists, Numbers, Refused
from cloudml.runtime.stopwatch import Stopwatch

load = partial(flavors.load, trust=Trust(pickles=True))
FRAME = pandas.DataFrame({"age": [1.0, 2.0, 30.0, 40.0], "job": ["a", "b", "c", "c"]})
TARGET = [0, 0, 1, 1]


def saved(model: Any, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    return manifested(folder)


def ask(model: LoadedModel, rows: list[Any], method: str = "predict") -> Any:
    (found,) = outcomes(model, [Work(model.features.ordered(rows, None), False, method, print)])
    return (found.status, found.message) if isinstance(found, Refused) else found


def test_a_model_of_named_numbers_takes_objects_without_a_warning(tmp_path: Path) -> None:
    model = load(saved(LogisticRegression().fit(FRAME[["age"]], TARGET), tmp_path), None)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=RuntimeWarning)
        assert ask(model, [{"age": 1}, [40.0]]) == [0, 1]
    with pytest.raises(Refused, match="has no feature 'age', but an unknown 'agee'; did you mean 'age'"):
        ask(model, [{"agee": 1}])


def test_a_model_that_picks_columns_by_name_gets_a_frame(tmp_path: Path) -> None:
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["job"]), remainder="passthrough")
    folder = saved(make_pipeline(encode, LogisticRegression()).fit(FRAME, TARGET), tmp_path)
    model = load(folder, None)
    assert ask(model, [{"job": "c", "age": 40}, [1.0, "a"]]) == [1, 0]
    assert ask(model, [["x", "a"]])[0] == 400
    typed = load(folder, (("job", "str"), ("age", "float")))
    assert typed.features.names == ("age", "job")
    assert ask(typed, [{"job": "c", "age": 40}]) == [1]
    assert ask(typed, [["x", "a"]]) == (400, "row 1: feature 'age' must be a number, not 'x'")


def test_a_model_of_texts(tmp_path: Path) -> None:
    texts = ["good fine", "fine good", "bad awful", "awful bad"]
    model = load(saved(make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, TARGET), tmp_path), None)
    assert ask(model, ["so good", "so bad"]) == [0, 1]
    assert ask(model, [3])[0] == 400


def test_a_signature_must_fit_the_model(tmp_path: Path) -> None:
    folder = saved(LogisticRegression().fit(FRAME[["age"]], TARGET), tmp_path)
    assert load(folder, (("job", "str"), ("age", "float"))).features == Features(1, ("age",))  # a table has more
    assert load(folder, (("feature_0", "float"),)).features == Features(1, ("age",))  # of a sample without names
    with pytest.raises(ConfigError, match="the signature names 2 features, the model takes 1"):
        load(folder, (("size", "float"), ("job", "str")))
    with pytest.raises(ConfigError, match="the model was trained on"):
        load(folder, (("size", "float"),))
    (tmp_path / "s.json").write_text(json.dumps({"inputs": [{"name": "age", "dtype": "float"}]}))
    assert read_signature(tmp_path / "s.json") == (("age", "float"),)
    assert read_signature({"inputs": None}) is None, "a version of which nobody said them"
    (tmp_path / "s.json").write_text(json.dumps({"inputs": [{"name": "age", "dtype": "float64"}]}))
    with pytest.raises(ConfigError, match="dtype 'float64'"):
        read_signature(tmp_path / "s.json")


def test_another_minor_version_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(LogisticRegression().fit(FRAME[["age"]], TARGET), tmp_path)
    load(folder, None)
    assert capsys.readouterr().err == ""
    path = folder / "cloudml-model.json"
    found = json.loads(path.read_text())
    pins = ["scikit-learn==0.1.0" if pin.startswith("scikit-learn") else pin for pin in found["requirements"]]
    path.write_text(json.dumps({**found, "requirements": pins}))
    load(folder, None)
    assert capsys.readouterr().err.startswith("cloudml: the model was made with scikit-learn 0.1.0, here is ")


def test_what_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a dict, which has no predict"):
        load(saved({}, tmp_path / "a"), None)
    manifest = tmp_path / "a" / "cloudml-model.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "flavor": "pmml"}))
    with pytest.raises(ConfigError, match="flavor 'pmml' is not known here; known are sklearn, python, onnx"):
        load(tmp_path / "a", None)
    assert read_manifest(tmp_path / "a").flavor == "pmml"


def test_a_pickle_is_loaded_only_if_somebody_vouches_for_it(tmp_path: Path) -> None:
    folder = saved(LogisticRegression().fit(FRAME[["age"]], TARGET), tmp_path / "a")
    registered = Trust(read_manifest(folder).digest)
    with pytest.raises(ConfigError, match="is a pickle, which can run any code, and nobody says that it is registered"):
        flavors.load(folder, None, Trust())
    assert flavors.load(folder, None, registered).flavor == "sklearn"
    (folder / "cloudml-model.json").unlink()  # a folder that no job made
    assert flavors.load(folder, None, registered).flavor == "sklearn"
    assert flavors.load(tmp_path, None, registered).flavor == "sklearn"
    saved(LogisticRegression(C=2).fit(FRAME[["age"]], TARGET), folder)
    for trust in (registered, replace(registered, pickles=True)):
        with pytest.raises(ConfigError, match="is not the model that was registered"):
            flavors.load(folder, None, trust)
    (folder / "link").symlink_to(folder)
    with pytest.raises(ConfigError, match="is a symbolic link"):
        flavors.load(folder, None, registered)


def test_code_beside_a_pickle_is_the_model(tmp_path: Path) -> None:
    saved(LogisticRegression().fit(FRAME[["age"]].to_numpy(), TARGET), tmp_path)
    (tmp_path / "model.py").write_text("""
import joblib
class Model:
    def __init__(self, folder): self.model = joblib.load(folder / "model.joblib")
    def predict(self, rows): return [float(row[1]) for row in self.model.predict_proba(rows)]
""")
    manifest = read_manifest(manifested(tmp_path))
    assert (manifest.flavor, manifest.entry) == ("python", "model.py")
    assert any(pin.startswith("scikit-learn==") for pin in manifest.requirements)
    found = ask(flavors.load(tmp_path, None, Trust()), [[1.0], [40.0]])
    assert found[0] < 0.5 < found[1]


class Calls:
    """A model's method that notes the batches, and a loop that runs when told."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.soon: queue.SimpleQueue[Any] = queue.SimpleQueue()
        methods = {"predict": self.predict, "double": lambda rows: [[2 * row[0]] for row in rows]}
        self.model = LoadedModel("python", Features(None), Lists(Features(None)), methods)
        self.batcher = Batcher(self, self.model, Metrics())  # type: ignore[arg-type]
        self.batcher._average = 0.0

    def predict(self, rows: list[Any]) -> list[Any]:
        self.batches.append(len(rows))
        if any(row[0] == "raise" for row in rows):
            raise RuntimeError("no")
        return [row[0] for row in rows]

    def call_soon(self, function: Any, *arguments: Any) -> None:
        self.soon.put((function, arguments))

    call_soon_threadsafe = call_soon

    def send(self, *requests: list[Any], method: str = "predict") -> list[Any]:
        found: list[Any] = []
        for rows in requests:
            self.batcher.add(Work(rows, False, method, found.append))
        while len(found) < len(requests):
            function, arguments = self.soon.get(timeout=60)
            function(*arguments)
        return found


def test_one_tick_is_one_batch_in_order() -> None:
    calls = Calls()
    assert calls.send([[1], [2]], [[3]], [[4]]) == [[1, 2], [3], [4]]
    assert calls.batches == [4]
    assert calls.send([[5]], method="double") == [[[10]]]


def test_a_culprit_fails_alone(capsys: pytest.CaptureFixture[str]) -> None:
    calls = Calls()
    first, culprit, last = calls.send([[1]], [["raise"]], [[3]])
    assert (first, last) == ([1], [3])
    assert (culprit.status, culprit.message) == (500, "the model failed: RuntimeError: no")
    assert calls.batches == [3, 1, 1, 1]
    assert "RuntimeError" in capsys.readouterr().err


def test_a_batch_has_at_most_so_many_rows_and_methods_do_not_mix() -> None:
    calls = Calls()
    calls.send(*[[[0]] * 500] * 9, [[0]])
    assert calls.batches == [4000, 501]
    calls.batches.clear()
    found: list[Any] = []
    for method in ("predict", "double", "predict"):
        calls.batcher.add(Work([[1]], False, method, found.append))
    calls.send([[2]])
    assert found == [[1], [[2]], [1]]
    assert calls.batches == [1, 2]


def test_a_long_request_goes_in_pieces_between_which_short_ones_have_their_turn() -> None:
    calls = Calls()
    order: list[str] = []
    rows = [[number] for number in range(5000)]
    answers: list[Any] = []
    calls.batcher.add(Work(rows, False, "predict", lambda found: (order.append("long"), answers.append(found))))
    for _ in range(3):
        calls.batcher.add(Work([[7]], False, "predict", lambda found: order.append("short")))
        function, arguments = calls.soon.get(timeout=60)
        function(*arguments)
    calls.send([[8]])
    while "long" not in order:
        function, arguments = calls.soon.get(timeout=60)
        function(*arguments)
    assert order == ["short"] * 3 + ["long"]
    assert answers == [list(range(5000))]
    assert max(calls.batches) <= 1024
    assert [line.waiting for line in calls.batcher._lines.values()] == [0, 0]


def test_many_rows_that_wait_refuse_no_short_request() -> None:
    calls = Calls()
    calls.batcher._lines[False].went(0, 100.0)  # single rows were slow of late, for others had the machine
    calls.batcher._lines[False].rows = 1.0
    found: list[Any] = []
    calls.batcher.add(Work([[1]] * 8000, False, "predict", found.append))
    assert calls.send([[7]]) == [[7]]


def test_a_long_request_that_is_wrong_names_the_row_of_the_whole() -> None:
    table = Numbers(Features(1))
    model = LoadedModel("python", Features(1), table, {"predict": lambda rows: rows[:, 0]})
    calls = Calls()
    calls.batcher = Batcher(calls, model, Metrics())  # type: ignore[arg-type]
    (found,) = calls.send([[1.0]] * 2999 + [["x"]])
    assert found.message == "row 3000: feature 1 must be a number, not 'x'"
    assert [line.waiting for line in calls.batcher._lines.values()] == [0, 0]
    assert calls.send([[1.0]] * 3000) == [[1.0] * 3000]


def test_the_stopwatch_leaves_out_what_others_did_and_counts_a_wait() -> None:
    watch = Stopwatch()
    time.sleep(0.05)
    assert watch.seconds() >= 0.05
    watch, began = Stopwatch(), time.perf_counter()
    while time.perf_counter() - began < 0.02:
        pass
    assert watch.seconds() <= time.perf_counter() - began


def test_one_slow_batch_among_fast_ones_changes_nothing() -> None:
    calls = Calls()
    batcher = calls.batcher
    for seconds in (0.0001, 0.0001, 5.0, 0.0001):
        batcher._turn_of_long = False
        batcher._finish([], [], seconds)
        assert batcher._average < FAST
    for _ in range(3):
        batcher._turn_of_long = False
        batcher._finish([], [], 5.0)
    assert batcher._average > FAST


def test_a_slow_model_moves_to_the_worker_and_back() -> None:
    calls = Calls()
    calls.batcher._average = 1.0
    assert calls.send([[1]]) == [[1]]
    assert calls.batcher._worker is not None
    for _ in range(40):
        calls.send([[1]])
    assert calls.batcher._average < 0.0015


RANDOM = np.random.default_rng(1)
TABLE = RANDOM.standard_normal((300, 5)) * [1, 10, 100, 0.1, 1]
SUMS = TABLE @ [3.0, 1, 0.1, -2, 0.5]
KINDS = np.digitize(SUMS, [-8, 8])


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (LogisticRegression(max_iter=5000), SUMS > 0),
        (LogisticRegression(max_iter=5000), np.array(["low", "mid", "high"])[KINDS]),
        (make_pipeline(StandardScaler(), LogisticRegression()), KINDS),
        (
            make_pipeline(
                StandardScaler(with_mean=False), StandardScaler(with_std=False), LinearSVC(dual=False, random_state=0)
            ),
            KINDS,
        ),
        (SGDClassifier(random_state=0), SUMS > 0),
        (LinearRegression(), SUMS),
        (LinearRegression(), np.stack([SUMS, -SUMS], axis=1)),
        (make_pipeline(StandardScaler(), Lasso()), SUMS),
    ],
    ids=["binary", "texts", "scaled", "scaled-twice", "sgd", "regression", "two-outputs", "lasso"],
)
def test_the_linear_shortcut_says_what_the_model_says(model: Any, target: Any) -> None:
    model = clone(model).fit(TABLE, target)
    faster = shortcut(model)
    assert faster is not None
    rows = RANDOM.standard_normal((500, 5)) * 50
    for table in (rows, *(rows[index : index + 1] for index in range(50))):
        left, right = model.predict(table), faster(table)
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        assert np.allclose(left, right, rtol=1e-10) if left.dtype.kind == "f" else (left == right).all()
    for value in (np.nan, np.inf):
        rows[3, 2] = value
        with pytest.raises(ValueError, match="Input X contains"):
            faster(rows)


class Own(LogisticRegression):  # type: ignore[misc]
    def predict(self, X: Any) -> Any:
        return 1 - super().predict(X)


class Lying(LogisticRegression):  # type: ignore[misc]
    def decision_function(self, X: Any) -> Any:
        return -super().decision_function(X)


@pytest.mark.parametrize(
    "model",
    [Own(), Lying(), make_pipeline(MinMaxScaler(), LogisticRegression()), DecisionTreeClassifier()],
    ids=lambda model: type(model).__name__,
)
def test_what_is_not_plainly_linear_has_no_shortcut(model: Any) -> None:
    assert shortcut(clone(model).fit(TABLE, SUMS > 0)) is None


def test_a_shortcut_that_differs_is_not_taken() -> None:
    model = LogisticRegression(max_iter=5000).fit(TABLE, SUMS > 0)
    model.predict = lambda table: np.zeros(len(table), dtype=bool)
    assert shortcut(model) is None
