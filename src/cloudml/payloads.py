"""What the body of a request or an answer holds: rows, and the names of their columns, or why it is refused.

For captured requests, which platforms keep as they were sent. Standard library only.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

SHOWN = 500  # bytes of an answer whose form is not known
Rows = tuple[list[Any], list[str] | None]


def of_csv(text: str) -> Rows:
    return [[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row], None


def of_json_lines(text: str) -> Rows:
    return of_json([json.loads(line) for line in text.splitlines()])


def of_json(body: Any) -> Rows:
    """The structures that the server understands: a list, or an object that names its rows."""
    if isinstance(body, list):
        return body, None
    for name, rows in SHAPES:
        if isinstance(body, Mapping) and name in body:
            return rows(body[name])
    return [body], None


def error(body: bytes) -> Any:
    """What stands under ``error`` of a JSON object; None of anything else."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get("error") if isinstance(found, dict) else None


def message(body: bytes) -> str:
    """What a server says that refuses: its own words where it is cloudml's, else how its answer begins."""
    said = error(body)
    return said if said and isinstance(said, str) else body[:SHOWN].decode(errors="replace") or "no message"


def _split(frame: Any) -> Rows:
    return list(frame.get("data", ())), [str(name) for name in frame.get("columns", ())] or None


def _as_they_are(rows: Any) -> Rows:
    return rows if isinstance(rows, list) else [rows], None


def _inputs(rows: Any) -> Rows:
    """Columns by name (MLflow), tensors (Open Inference Protocol), or plain rows."""
    if isinstance(rows, Mapping):
        columns = [values if isinstance(values, list) else [values] for values in rows.values()]
        return [list(row) for row in zip(*columns, strict=False)], [str(name) for name in rows]
    if rows and all(isinstance(each, Mapping) and {"name", "shape", "data"} <= each.keys() for each in rows):
        return _tensors(rows)
    return _as_they_are(rows)


def _tensors(tensors: list[Mapping[str, Any]]) -> Rows:
    if len(tensors) > 1:
        return [list(row) for row in zip(*(each["data"] for each in tensors), strict=False)], [
            str(each["name"]) for each in tensors
        ]
    shape, data = tensors[0]["shape"], tensors[0]["data"]
    if len(shape) < 2 or (data and isinstance(data[0], list)):
        return list(data), None
    width = max(1, shape[-1])
    return [data[at : at + width] for at in range(0, len(data), width)], None


def _cell(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


SHAPES: tuple[tuple[str, Callable[[Any], Rows]], ...] = (
    ("instances", _as_they_are),
    ("predictions", _as_they_are),
    ("dataframe_split", _split),
    ("dataframe_records", _as_they_are),
    ("inputs", _inputs),
    ("outputs", _inputs),
    ("data", _as_they_are),
    ("input_data", lambda found: _split(found) if isinstance(found, Mapping) else _as_they_are(found)),
)
