"""ONNX graphs: what they take, what they refuse, and a server of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")  # not onnxruntime: its import writes a file, unless the product has told it not to

import onnx_models
from serving_process import Served, manifested

from cloudml.errors import ConfigError
from cloudml.runtime.batching import Work, outcomes
from cloudml.runtime.flavors import LoadedModel, Trust, load
from cloudml.runtime.graphs import Graph
from cloudml.runtime.manifest import read_manifest
from cloudml.runtime.rows import Refused


def ask(model: LoadedModel, *requests: list[Any], method: str = "predict") -> list[Any]:
    works = [Work(model.features.ordered(rows, None), False, method, print) for rows in requests]
    found = outcomes(model, works)
    return [(each.status, each.message) if isinstance(each, Refused) else each for each in found]


def test_a_classifier_as_sklearn_onnx_writes_it(tmp_path: Path) -> None:
    folder = manifested(onnx_models.classifier(tmp_path / "m"))
    manifest = read_manifest(folder)
    assert (manifest.flavor, manifest.entry) == ("onnx", "model.onnx")
    assert any(pin.startswith("onnxruntime==") for pin in manifest.requirements)
    model = load(folder, None, Trust())
    assert sorted(model.methods) == ["predict", "predict_proba"]
    assert ask(model, [[1, 0, 0], [-1.5, 0, 0]], [[2.0, 0, 0]]) == [[1, 0], [1]]
    ((likely, other),) = ask(model, [[0, 0, 0], [50, 0, 0]], method="predict_proba")
    assert likely == pytest.approx([0.5, 0.5])
    assert other[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[1, 2]], "expected 3 features, row 1 has 2"),
        ([[1, 2, "3"]], "row 1: feature 3 must be a number, not '3'"),
        ([[1, 2, [3]]], "row 1: feature 3 must be a number, not a list"),
        ([7], "row 1 must be a list of 3 features or an object, not 7"),
    ],
)
def test_what_does_not_fit_is_refused_alone(tmp_path: Path, rows: list[Any], says: str) -> None:
    model = load(onnx_models.classifier(tmp_path / "m"), None, Trust())
    assert ask(model, [[1, 0, 0]], rows) == [[1], (400, says)]


def test_a_signature_names_the_features(tmp_path: Path) -> None:
    signature = (("a", "float"), ("b", "float"), ("c", "float"))
    model = load(onnx_models.classifier(tmp_path / "m"), signature, Trust())
    assert ask(model, [{"c": 0, "b": 0, "a": 3}]) == [[1]]
    with pytest.raises(ConfigError, match="the signature names 2 features, the model takes 3"):
        load(tmp_path / "m", signature[:2], Trust())


def test_one_tensor_a_column(tmp_path: Path) -> None:
    model = load(onnx_models.by_column(tmp_path / "m"), None, Trust())
    assert model.features.names == ("age", "size", "job")
    row = {"job": "smith", "size": 2, "age": 1.5}
    assert ask(model, [row, {**row, "age": 4}], [[0.5, 1, "x"]]) == [[3.5, 6.0], [1.5]]
    assert ask(model, [{**row, "size": 2.5}]) == [(400, "feature 'size' must be an integer of int64")]
    assert ask(model, [{**row, "size": None}]) == [(400, "feature 'size' must be an integer of int64")]
    assert ask(model, [{**row, "job": 1}]) == [(400, "row 1: feature 'job' must be a string, not 1")]


def test_a_graph_of_one_row_at_a_time(tmp_path: Path) -> None:
    model = load(onnx_models.classifier(tmp_path / "m", batch=1), None, Trust())
    assert ask(model, [[1, 0, 0], [-1, 0, 0]], [[1, 0, 0]]) == [[1, 0], [1]]
    with pytest.raises(ConfigError, match="takes batches of exactly 8 rows"):
        load(onnx_models.classifier(tmp_path / "n", batch=8), None, Trust())


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    with pytest.raises(ConfigError, match=r"broken\.onnx is no graph that ONNX Runtime can load"):
        Graph(tmp_path / "broken.onnx")


def test_a_file_that_is_no_graph_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(Exception, match=r"model\.onnx failed"):
        load(tmp_path, None, Trust())


def test_a_file_of_any_name_is_served_without_a_trace_beside_it(tmp_path: Path) -> None:
    folder = onnx_models.classifier(tmp_path / "m", name="fraud.onnx")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    for place in (folder, folder / "fraud.onnx"):
        server = Served(place, tmp_path / f"run-{place.name}", CLOUDML_ALLOW_PICKLE="", TMPDIR=str(temporary))
        try:
            assert server.predict({"instances": [[1, 0, 0]]}) == (200, {"predictions": [1]})
        finally:
            assert server.stop() == 0
    assert os.listdir(folder) == ["fraud.onnx"]
    assert os.listdir(temporary) == []  # ONNX Runtime's telemetry would leave a file
