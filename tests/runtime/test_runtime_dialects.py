"""Bodies in and out, and rows against features, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("orjson")

from cloudml.runtime import dialects
from cloudml.runtime.rows import Features, Lists, Numbers, Refused

ROWS = [[1.0, 2.0], [3.0, 4.0]]
TENSOR = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1.0, 2.0, 3.0, 4.0]}


def read(body: Any, kind: bytes | None = b"application/json", only_tensors: bool = False) -> dialects.Query:
    return dialects.read(body if isinstance(body, bytes) else json.dumps(body).encode(), kind, only_tensors)


def rows_of(body: Any, features: Features, kind: bytes | None = b"application/json") -> list[Any]:
    query = read(body, kind)
    if query.cells:
        return features.from_cells(query.rows, query.columns)
    return features.ordered(query.rows, query.columns)


@pytest.mark.parametrize(
    "body",
    [
        ROWS,
        {"instances": ROWS},
        {"inputs": ROWS},
        {"data": ROWS},
        {"inputs": {"a": [1.0, 3.0], "b": [2.0, 4.0]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": ROWS}},
        {"dataframe_split": {"columns": ["b", "a"], "data": [[2.0, 1.0], [4.0, 3.0]]}},
        {"dataframe_records": [{"a": 1.0, "b": 2.0}, {"b": 4.0, "a": 3.0}]},
        {"instances": [{"b": 2.0, "a": 1.0}, [3.0, 4.0]]},
        {"inputs": [TENSOR]},
        {"inputs": [{**TENSOR, "data": ROWS}]},
        {
            "inputs": [
                {"name": "b", "shape": [2, 1], "datatype": "FP64", "data": [2.0, 4.0]},
                {"name": "a", "shape": [2], "datatype": "FP64", "data": [1.0, 3.0]},
            ]
        },
    ],
)
def test_every_envelope_gives_the_same_rows(body: Any) -> None:
    assert rows_of(body, Features(2, ("a", "b"))) == ROWS


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "a,b\n1,2\n3,4", "b,a\r\n2,1\r\n4,3\r\n", "\ufeff1,2\n\n3,4"])
def test_csv_with_and_without_header(text: str) -> None:
    assert rows_of(text.encode(), Features(2, ("a", "b")), b"text/csv; charset=utf-8") == ROWS


def test_csv_keeps_text_where_the_signature_wants_text() -> None:
    features = Features(2, ("zip", "n"), frozenset({0}))
    assert rows_of(b"zip,n\n007,1\n,\n", features, b"text/csv") == [["007", 1.0], [None, None]]
    assert rows_of(b"n,zip\n", features, b"text/csv") == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is empty"),
        (b'{"instances": [[1, }', "line 1 column 20"),
        (b"[NaN]", "not JSON"),
        ({}, "it has none of them"),
        ({"instances": ROWS, "data": ROWS}, "it has instances and data"),
        ({"instances": 3}, "'instances' must be a list of rows"),
        (3, "must be a JSON object"),
        ({"instances": ROWS, "parameters": 3}, "'parameters' must be an object"),
        ({"instances": ROWS, "parameters": {"method": 3}}, "parameters.method must be a string"),
        ({"dataframe_split": [1]}, "'columns' and 'data'"),
        ({"dataframe_split": {"columns": [1], "data": []}}, "list of strings"),
        ({"dataframe_records": [{}, 3]}, "row 2 must be an object"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "different lengths"),
        ({"inputs": {"a": 1}}, "column 'a' must be a list"),
        ({"inputs": [{**TENSOR, "shape": [2, 3]}]}, "needs 6 values, data has 4"),
        ({"inputs": [{**TENSOR, "shape": [1 << 39, 0], "data": []}]}, "rows of no features"),
        ({"inputs": [{**TENSOR, "shape": "x"}]}, "shape must be a list of sizes"),
        ({"inputs": [{**TENSOR, "datatype": "FLOAT"}]}, "datatype must be one of"),
        ({"inputs": [{**TENSOR, "shape": [2, 2, 1]}]}, "one of [rows, features]"),
        ({"inputs": [TENSOR, {**TENSOR, "shape": [4]}]}, "shape [2, 2]"),
        ({"inputs": [{**TENSOR, "shape": [4]}, {**TENSOR, "shape": [4]}]}, "two tensors named 'x'"),
    ],
)
def test_a_wrong_body_is_400_and_says_what(body: Any, says: str) -> None:
    with pytest.raises(Refused) as refused:
        read(body)
    assert says in refused.value.message
    assert refused.value.status == 400


def test_content_types() -> None:
    assert read(ROWS, None).rows == ROWS
    assert read(ROWS, b"application/vnd.x+json; charset=utf-8").rows == ROWS
    with pytest.raises(Refused) as refused:
        read(ROWS, b"image/png")
    assert refused.value.status == 415
    with pytest.raises(Refused, match="this route takes 'inputs'"):
        read({"instances": ROWS}, only_tensors=True)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[1.0] * 30, [1.0] * 29], "expected 30 features, row 2 has 29"),
        ([[1.0] * 30, 5.0], "row 2 must be a list of 30 features or an object, not 5.0"),
        ([[1.0] * 29 + ["x"]], "row 1: feature 30 must be a number, not 'x'"),
        ([["1.5"] * 30], "row 1: feature 1 must be a number, not '1.5'"),
        ([[1.0] * 29 + [[1.0]]], "feature 30 must be a number, not a list"),
        ([[[1.0]] * 30], "feature 1 must be a number, not a list"),
        ([[1.0] * 29 + [{}]], "feature 30 must be a number, not an object"),
    ],
)
def test_numbers_name_the_row_and_the_feature(rows: list[Any], says: str) -> None:
    pytest.importorskip("numpy")
    query = read({"instances": rows})
    with pytest.raises(Refused) as refused:
        Numbers(Features(30))(query.rows, query.plain)
    assert says in refused.value.message


def test_numbers_are_one_float_array() -> None:
    numpy = pytest.importorskip("numpy")
    query = read({"instances": [[1, 2.5, True], [None, 2**70, -(2**63)]]})
    table = Numbers(Features(3))(query.rows, query.plain)
    assert table.dtype == numpy.float64
    assert table[0].tolist() == [1.0, 2.5, 1.0]
    assert numpy.isnan(table[1, 0])
    assert table[1, 1:].tolist() == [2.0**70, -(2.0**63)]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"age": 1}, "row 1 has no feature 'name'"),
        ({"age": 1, "name": "x", "z": 2}, "row 1 has an unknown feature 'z'"),
        ({"age": 1, "nmae": "x"}, "did you mean 'name'?"),
        ({"age": "x", "name": "x"}, "row 1: feature 'age' must be a number, not 'x'"),
        ({"age": 1, "name": 2}, "row 1: feature 'name' must be a string, not 2"),
    ],
)
def test_named_features(row: dict[str, Any], says: str) -> None:
    features = Features(2, ("age", "name"), frozenset({1}))
    with pytest.raises(Refused) as refused:
        Lists(features)(features.ordered([row], None), False)
    assert says in refused.value.message


def test_objects_need_a_model_with_names() -> None:
    with pytest.raises(Refused, match="does not name its features"):
        Features(2).ordered([{"a": 1}], None)
    assert Features(None).ordered([{"a": 1}, "text"], None) == [{"a": 1}, "text"]


def test_replies() -> None:
    plain, tensors = read({"instances": ROWS}), read({"id": "7", "inputs": [TENSOR]})
    assert dialects.write(plain, [0, 1], None, "m", None) == (dialects.JSON, b'{"predictions":[0,1]}')
    assert dialects.write(plain, [[0.5, 1], "a,b"], b"text/csv", "m", None)[1] == b'0.5,1\n"a,b"\n'
    reply = json.loads(dialects.write(tensors, [[0.5, 0.5], [1.0, 0.0]], None, "m", "3")[1])
    output = {"name": "predictions", "shape": [2, 2], "datatype": "FP64", "data": [0.5, 0.5, 1.0, 0.0]}
    assert reply == {"model_name": "m", "model_version": "3", "id": "7", "outputs": [output]}
    for outputs, datatype in (([1, 2], "INT64"), (["a", "b"], "BYTES"), ([True, False], "BOOL"), ([1, 2.5], "FP64")):
        assert json.loads(dialects.write(tensors, outputs, None, "m", None)[1])["outputs"][0]["datatype"] == datatype
