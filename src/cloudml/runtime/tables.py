"""Bodies that are tables without an envelope: CSV, JSON Lines and Parquet; CSV and JSON Lines as answers too."""

from __future__ import annotations

import csv
import importlib
import io
from typing import Any

import orjson

from cloudml.runtime.rows import Query, Refused

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
MOST_CELLS = 10_000_000  # of a Parquet file: a short one may hold very many
MOST_UNPACKED = 256 << 20  # bytes, as the file itself tells them


def read_csv(body: bytes) -> Query:
    """Rows of strings, with names if the first line is a header. Raises Refused."""
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"))) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"the body is not CSV: {error}") from None
    if not lines:
        raise Refused("the body is empty")
    # a first line without any number is a header where the second has one
    header = len(lines) > 1 and not any(map(is_number, lines[0])) and any(map(is_number, lines[1]))
    return Query(lines[1:], [cell.strip() for cell in lines[0]], cells=True) if header else Query(lines, cells=True)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_json_lines(body: bytes) -> Query:
    """One row a line, each a list or an object; empty lines are none. Raises Refused."""
    rows = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            try:
                rows.append(orjson.loads(line))
            except orjson.JSONDecodeError as error:
                raise Refused(f"line {number} of the body is not JSON: {error}") from None
    if not rows:
        raise Refused("the body is empty")
    return Query(rows, plain=b'"' not in body)


def read_parquet(body: bytes) -> Query:
    """The columns of a file by their names, without a pandas index. Raises Refused: 415 where pyarrow is missing."""
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise Refused("Parquet is not read here: pyarrow is not installed beside the model", 415) from None
    try:
        return _columns(arrow, parquet, body)
    except (arrow.ArrowException, OSError, ValueError, LookupError) as error:  # broken texts, indices
        raise Refused(f"the body is not Parquet: {str(error)[:200]}") from None


def _columns(arrow: Any, parquet: Any, body: bytes) -> Query:
    """Raises Refused, 413, for a file that unpacks to more than fits; whatever pyarrow raises for a broken one."""
    about = parquet.read_metadata(io.BytesIO(body))
    unpacked = sum(about.row_group(index).total_byte_size for index in range(about.num_row_groups))
    if about.num_rows * about.num_columns > MOST_CELLS or unpacked > MOST_UNPACKED:
        raise Refused(f"the Parquet file holds more than {MOST_CELLS} values or {MOST_UNPACKED} bytes", 413)
    kinds = arrow.types
    # texts stay shared, for a short file may say a long one very often
    shared = [field.name for field in about.schema.to_arrow_schema() if kinds.is_string(field.type)]
    table = parquet.ParquetFile(io.BytesIO(body), read_dictionary=shared).read(use_threads=False)
    index = [name for name in (table.schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)]
    table = table.drop_columns([name for name in index if name in table.column_names])
    columns = [_texts(column) if kinds.is_dictionary(column.type) else column.to_pylist() for column in table.columns]
    return Query([list(row) for row in zip(*columns, strict=True)], table.column_names)


def _texts(column: Any) -> list[Any]:
    values: list[Any] = []
    for chunk in column.chunks:
        known = chunk.dictionary.to_pylist()
        values += [None if place is None else known[place] for place in chunk.indices.to_pylist()]
    return values


def write_csv(outputs: list[Any]) -> bytes:
    """One line for each row's answer."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for output in outputs:
        writer.writerow(output if isinstance(output, (list, tuple)) else [output])
    return text.getvalue().encode()


def write_json_lines(outputs: list[Any]) -> bytes:
    """One line for each row's answer. Raises TypeError when one cannot be written."""
    return b"".join(orjson.dumps(output, option=OPTIONS | orjson.OPT_APPEND_NEWLINE) for output in outputs)
