"""Bodies in and out, and rows against features, without a server."""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
from typing import Any

import pytest

pytest.importorskip("orjson")

from cloudml.runtime import dialects
from cloudml.runtime.rows import Features, Lists, Numbers, Query, Refused

ROWS = [[1.0, 2.0], [3.0, 4.0]]
TENSOR = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1.0, 2.0, 3.0, 4.0]}


def read(body: Any, kind: bytes | None = b"application/json", only_tensors: bool = False) -> Query:
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
        {"input_data": ROWS},
        {"data": {"columns": ["b", "a"], "index": [0, 1], "data": [[2.0, 1.0], [4.0, 3.0]]}},
        {"input_data": {"columns": ["b", "a"], "index": [0, 1], "data": [[2.0, 1.0], [4.0, 3.0]]}},
        {"input_data": [{"b": 2.0, "a": 1.0}, {"a": 3.0, "b": 4.0}], "params": {"method": "predict"}},
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


@pytest.mark.parametrize("kind", [b"application/jsonlines", b"application/x-ndjson; charset=utf-8"])
@pytest.mark.parametrize("text", [b"[1,2]\n[3,4]", b'{"b":2,"a":1}\r\n\r\n{"a":3,"b":4}\r\n'])
def test_json_lines(text: bytes, kind: bytes) -> None:
    assert rows_of(text, Features(2, ("a", "b")), kind) == ROWS


@pytest.mark.parametrize(
    ("text", "says"),
    [(b"\n \n", "the body is empty"), (b"[1]\n\n[2,\n", "line 3 of the body"), (b"[1],[2]", "line 1 of the body")],
)
def test_wrong_json_lines(text: bytes, says: str) -> None:
    with pytest.raises(Refused) as refused:
        read(text, b"application/jsonlines")
    assert (refused.value.status, says in refused.value.message) == (400, True)


def test_json_lines_with_a_text_are_not_plain() -> None:
    assert read(b"[1]\n[2]", b"application/jsonlines").plain
    assert not read(b'[1]\n["2"]', b"application/jsonlines").plain


def parquet(table: Any) -> bytes:
    file = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(table, file)
    return file.getvalue()


def test_parquet_by_the_names_of_its_columns() -> None:
    arrow = pytest.importorskip("pyarrow")
    body = parquet(arrow.table({"b": [2.0, 4.0], "a": [1.0, 3.0]}))
    assert rows_of(body, Features(2, ("a", "b")), dialects.PARQUET) == ROWS
    texts = parquet(arrow.table({"a": ["x", None, "x"], "b": [1, None, 3]}))
    features = Features(2, ("a", "b"), frozenset({0}))
    assert rows_of(texts, features, dialects.PARQUET) == [["x", 1], [None, None], ["x", 3]]
    lists = parquet(arrow.table({"a": [[1], None], "b": [{"x": 1}, {"x": 2}]}))
    assert read(lists, dialects.PARQUET).rows == [[[1], {"x": 1}], [None, {"x": 2}]]
    with pytest.raises(Refused, match="the request has no feature 'c'"):
        rows_of(body, Features(3, ("a", "b", "c")), dialects.PARQUET)


def test_parquet_of_pandas_comes_without_its_index() -> None:
    pytest.importorskip("pyarrow")
    frame = pytest.importorskip("pandas").DataFrame({"a": [1.0, 3.0], "b": [2.0, 4.0]}, index=["x", "y"])
    assert rows_of(frame.to_parquet(), Features(2, ("a", "b")), dialects.PARQUET) == ROWS


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1" + b"\0" * 40 + b"PAR1", b"1,2\n3,4\n"])
def test_what_is_not_parquet_is_400(body: bytes) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(Refused, match="the body is not Parquet"):
        read(body, dialects.PARQUET)


def test_any_broken_parquet_file_is_refused_or_read() -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"a": ["x\u00e9", None, "zz"], "b": [1.0, None, 3.0], "c": [[1], [2], None]})
    file = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(table, file, compression="none")
    chance = random.Random(1)
    for _ in range(1000):
        body = bytearray(file.getvalue())
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        with contextlib.suppress(Refused):
            read(bytes(body), dialects.PARQUET)


def test_a_short_parquet_file_cannot_fill_the_memory() -> None:
    arrow = pytest.importorskip("pyarrow")
    column = arrow.array([1.0]).take(arrow.array([0] * 1000))
    many = arrow.chunked_array([column] * 10_001)
    body = parquet(arrow.table({"a": many}))
    assert len(body) < 1 << 20
    with pytest.raises(Refused) as refused:
        read(body, dialects.PARQUET)
    assert refused.value.status == 413
    long = "x" * 10_000
    query = read(parquet(arrow.table({"a": [long] * 20_000})), dialects.PARQUET)
    assert len({id(row[0]) for row in query.rows}) == 1


def test_parquet_without_pyarrow_is_415(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Refused, match="pyarrow is not installed") as refused:
        read(b"PAR1", dialects.PARQUET)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("accept", "kind", "body"),
    [
        (b"application/jsonlines", b"application/jsonlines", b'[0.5,1]\n"a"\n'),
        (b"application/x-ndjson;q=1, application/json", b"application/x-ndjson", b'[0.5,1]\n"a"\n'),
        (b"image/png, Text/CSV; charset=utf-8", b"text/csv", b"0.5,1\na\n"),
        (b"application/json, text/csv", dialects.JSON, b'{"predictions":[[0.5,1],"a"]}'),
        (b"*/*, text/csv", dialects.JSON, b'{"predictions":[[0.5,1],"a"]}'),
        (b"image/png", dialects.JSON, b'{"predictions":[[0.5,1],"a"]}'),
    ],
)
def test_the_reply_is_what_was_asked_for(accept: bytes, kind: bytes, body: bytes) -> None:
    assert dialects.write(read(ROWS), [[0.5, 1], "a"], accept, "m", None) == (kind, body, b"")


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
    assert dialects.write(plain, [0, 1], None, "m", None) == (dialects.JSON, b'{"predictions":[0,1]}', b"")
    assert dialects.write(plain, [[0.5, 1], "a,b"], b"text/csv", "m", None)[1] == b'0.5,1\n"a,b"\n'
    reply = json.loads(dialects.write(tensors, [[0.5, 0.5], [1.0, 0.0]], None, "m", "3")[1])
    output = {"name": "predictions", "shape": [2, 2], "datatype": "FP64", "data": [0.5, 0.5, 1.0, 0.0]}
    assert reply == {"model_name": "m", "model_version": "3", "id": "7", "outputs": [output]}
    for outputs, datatype in (([1, 2], "INT64"), (["a", "b"], "BYTES"), ([True, False], "BOOL"), ([1, 2.5], "FP64")):
        assert json.loads(dialects.write(tensors, outputs, None, "m", None)[1])["outputs"][0]["datatype"] == datatype
