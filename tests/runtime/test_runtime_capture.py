"""What is kept of requests: never at their cost, within limits, and without what must not be kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("orjson")

from serving_process import Served, until

from cloudml.errors import ConfigError
from cloudml.runtime import dialects
from cloudml.runtime.capture import LEAST_SEGMENT, MOST_BYTES, Capture, Record
from cloudml.runtime.rows import Features

RECORD = Record("a", 0.0, [[1.0]], None, [1], 200, 0.001)


def kept(folder: Path) -> list[Any]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_it_drops_rather_than_waits(tmp_path: Path) -> None:
    capture = Capture(tmp_path, 1.0, 7, {})
    try:
        capture.add(replace(RECORD, size=MOST_BYTES))
        assert capture.dropped == 1
        capture.add(RECORD)
        capture.add(replace(RECORD, time=3600.0, outputs=[2**70]))
    finally:
        capture.close()
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("19700101T00-7-")
    assert (capture.written, capture.dropped) == (1, 2)


def test_a_folder_keeps_to_its_limit_and_counts_what_went(tmp_path: Path) -> None:
    (tmp_path / "19700101T00-1.jsonl").write_text("{}\n{}\n")  # of a process that ended
    os.utime(tmp_path / "19700101T00-1.jsonl", (0, 0))
    limit = 4 * LEAST_SEGMENT
    capture = Capture(tmp_path, 1.0, 7, {}, limit)
    try:
        for number in range(1000):
            capture.add(replace(RECORD, id=str(number)))
    finally:
        capture.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit
    found = [int(record["id"]) for record in kept(tmp_path)]
    assert found == list(range(1000 - len(found), 1000))
    assert (capture.written, capture.dropped, capture.removed) == (1000, 0, 1002 - len(found))
    assert len(found) > 50


def test_a_write_that_fails_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        """A file on a disk that takes 30 more bytes."""

        def __init__(self, file: Any) -> None:
            self._file, self._room = file, 30

        def write(self, data: bytes) -> int:
            if not self._room:
                raise OSError(28, "No space left on device")
            self._room, count = 0, self._file.write(data[:30])
            return int(count)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

    made = lambda path, mode, buffering: Full(path.open(mode, buffering))  # noqa: E731
    monkeypatch.setattr("cloudml.runtime.capture.open", made, raising=False)
    capture = Capture(tmp_path, 1.0, 7, {})
    capture.add(RECORD)
    capture.close()
    assert (capture.written, capture.dropped) == (0, 1)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b""]


AGE = [[None, 2.0]]


@pytest.mark.parametrize(
    ("features", "body", "kind", "expected"),
    [
        (("age", "pay"), b'{"instances": [[1, 2.0]]}', b"application/json", AGE),
        (("age", "pay"), b'{"instances": [{"pay": 2.0, "age": 1}]}', b"application/json", AGE),
        (("age", "pay"), b'{"dataframe_split": {"columns": ["pay", "age"], "data": [[2.0, 1]]}}', None, AGE),
        (("age", "pay"), b'{"dataframe_records": [{"pay": 2.0, "age": 1}]}', None, AGE),
        (("age", "pay"), b'{"inputs": {"pay": [2.0], "age": [1]}}', None, AGE),
        (("age", "pay"), b"pay,age\n2,1\n", b"text/csv", AGE),
        (("age", "pay"), b"1,2\n", b"text/csv", AGE),
        (
            ("age", "pay"),
            b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}',
            None,
            AGE,
        ),
        (None, b'{"instances": [{"pay": 2.0, "age": 1}]}', None, [{"pay": 2.0, "age": None}]),
        (None, b'{"dataframe_split": {"columns": ["pay", "age"], "data": [[2.0, 1]]}}', None, [[2.0, None]]),
        (
            None,
            b'{"inputs": [{"name": "age", "shape": [1], "datatype": "INT64", "data": [1]},'
            b' {"name": "pay", "shape": [1], "datatype": "FP64", "data": [2]}]}',
            None,
            AGE,
        ),
        (None, b'{"instances": [[1, 2.0]]}', None, [[None, None]]),  # who knows which is which
        (None, b'{"instances": ["text"]}', None, [None]),
    ],
)
def test_redaction(features: tuple[str, ...] | None, body: bytes, kind: bytes | None, expected: Any) -> None:
    takes = Features(features and len(features), features)
    query = dialects.read(body, kind)
    order = takes.from_cells if query.cells else takes.ordered
    rows = order(query.rows, query.columns)
    before = json.dumps(rows)
    assert takes.hidden(rows, query.columns, frozenset({"age"})) == expected
    assert json.dumps(rows) == before  # the model's rows are another matter


def test_a_field_to_redact_must_exist() -> None:
    with pytest.raises(ConfigError, match="'redact' names 'aeg', which is not a feature of this model") as wrong:
        Features(2, ("age", "pay")).must_have(frozenset({"pay", "aeg"}))
    assert wrong.value.hint == "did you mean 'age'?"
    Features(None).must_have(frozenset({"any"}))


def test_a_server_redacts_and_keeps_to_its_limit(echo: Path, tmp_path: Path) -> None:
    place = tmp_path / "captured"
    names: Callable[[str], str] = lambda name: json.dumps([name])  # noqa: E731
    served = Served(
        echo, tmp_path / "run", CLOUDML_CAPTURE_DIR=str(place), CLOUDML_CAPTURE_REDACT=names("card"),
        CLOUDML_CAPTURE_LIMIT=str(1 << 16),
    )  # fmt: skip
    try:
        split = {"dataframe_split": {"columns": ["pay", "card"], "data": [[1, 4444]]}}
        assert served.predict(split) == (200, {"predictions": [[2, 8888]]})
        for _ in range(3):
            served.predict([[1] * 8000])
        until(lambda: b"cloudml_captured_total 4" in served.call("GET", "/metrics")[2])
        assert b"cloudml_capture_removed_total 0" not in served.call("GET", "/metrics")[2]
    finally:
        served.stop()
    assert "4444" not in "".join(path.read_text() for path in place.iterdir())
    assert sum(path.stat().st_size for path in place.iterdir()) <= 1 << 16
