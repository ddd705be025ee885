"""Bodies in and out: JSON in its six envelopes, a bare list, Open Inference Protocol v2, and what ``tables`` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from cloudml.runtime import tables, tensors
from cloudml.runtime.rows import Query, Refused
from cloudml.runtime.tables import OPTIONS

JSON, CSV, TEXT = b"application/json", b"text/csv", b"text/plain; version=0.0.4; charset=utf-8"
BINARY = b"application/octet-stream"  # of JSON with tensors behind it
JSON_LINES, PARQUET = b"application/jsonlines", b"application/vnd.apache.parquet"


Columns = Sequence[str] | None
LINES = (
    JSON_LINES,
    *(b"application/" + name for name in (b"jsonl", b"json-lines", b"x-jsonlines", b"ndjson", b"x-ndjson")),
)
READERS: Mapping[bytes, Callable[[bytes], Query]] = {
    CSV: tables.read_csv,
    **dict.fromkeys(LINES, tables.read_json_lines),
    PARQUET: tables.read_parquet,
    b"application/x-parquet": tables.read_parquet,
}
WRITERS: Mapping[bytes, Callable[[list[Any]], bytes]] = {
    CSV: tables.write_csv,
    **dict.fromkeys(LINES, tables.write_json_lines),
}


def read(
    body: bytes, content_type: bytes | None, only_tensors: bool = False, head_length: bytes | None = None
) -> Query:
    """The rows that a body holds; ``head_length`` is the header that tells where its JSON ends and tensors begin.

    Raises Refused: 400 for what is in it, 415 for its type.
    """
    if head_length is not None:
        end = tensors.head_length(head_length, body)
        return _json(body[:end], True, body[end:])
    kind = content_type.partition(b";")[0].strip().lower() if content_type else JSON
    if kind == JSON or kind.endswith(b"+json"):
        return _json(body, only_tensors)
    reader = READERS.get(kind)
    if reader is None or only_tensors:
        known = [JSON] if only_tensors else [JSON, CSV, JSON_LINES, PARQUET]
        named = b", ".join(known).decode()
        raise Refused(f"content-type {kind.decode('latin-1')[:80]!r} is not read here; send one of {named}", 415)
    return reader(body)


def _json(body: bytes, only_tensors: bool, behind: bytes = b"") -> Query:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(f"the body is not JSON: {error}" if body else "the body is empty") from None
    if type(found) is list and not only_tensors:
        return Query(found, plain=b'"' not in body)
    if type(found) is not dict:
        raise Refused(f"the body must be a JSON object with {WANTED}, or a list of rows")
    if len(found) == 1 and "instances" in found and not only_tensors:  # the common case, ahead of the general one
        # two quotes are those of the key, so there is no other string in the body
        return Query(_list(found["instances"], "instances"), plain=body.count(b'"') == 2)
    keys = [key for key in ENVELOPES if key in found]
    if len(keys) != 1:
        has = " and ".join(keys) if keys else "none of them"
        raise Refused(f"the body must have exactly one of {WANTED}; it has {has}")
    method = _method(found)
    value = found[keys[0]]
    as_tensors = keys[0] == "inputs" and tensors.are_tensors(value)
    if only_tensors and not as_tensors:
        raise Refused("this route takes 'inputs': a list of tensors, each with name, shape, datatype and data")
    rows, columns = tensors.read(value, behind) if as_tensors else ENVELOPES[keys[0]](value, keys[0])
    binary = as_tensors and tensors.wants_binary(found)
    given = found.get("id")
    identity = given if type(given) is str else None
    return Query(rows, columns, method=method, tensors=as_tensors, binary=binary, id=identity)


def _method(found: Mapping[str, Any]) -> str:
    parameters = found.get("parameters", found.get("params"))
    if parameters is None:
        return "predict"
    if type(parameters) is not dict:
        raise Refused("'parameters' must be an object")
    method = parameters.get("method", "predict")
    if type(method) is not str:
        raise Refused("parameters.method must be a string")
    return method


def _list(value: Any, name: str) -> list[Any]:
    if type(value) is not list:
        raise Refused(f"{name!r} must be a list of rows")
    return value


def _rows(value: Any, name: str) -> tuple[list[Any], Columns]:
    return _list(value, name), None


def _records(value: Any, name: str) -> tuple[list[Any], Columns]:
    rows = _list(value, name)
    for number, row in enumerate(rows, 1):
        if type(row) is not dict:
            raise Refused(f"{name!r}: row {number} must be an object")
    return rows, None


def _split(value: Any, name: str) -> tuple[list[Any], Columns]:
    if type(value) is not dict or "data" not in value:
        raise Refused(f"{name!r} must be an object with 'columns' and 'data'")
    columns = value.get("columns")
    if columns is not None and not (type(columns) is list and all(type(column) is str for column in columns)):
        raise Refused(f"{name!r}: 'columns' must be a list of strings")
    return _list(value["data"], f"{name}.data"), columns


def _inputs(value: Any, name: str) -> tuple[list[Any], Columns]:
    return _by_column(value, name) if type(value) is dict else (_list(value, name), None)


def _data(value: Any, name: str) -> tuple[list[Any], Columns]:
    return _split(value, name) if type(value) is dict else (_list(value, name), None)


def _by_column(value: Mapping[str, Any], name: str) -> tuple[list[Any], Columns]:
    for column, values in value.items():
        if type(values) is not list:
            raise Refused(f"{name!r}: column {column[:40]!r} must be a list")
    lengths = {len(values) for values in value.values()}
    if len(lengths) > 1:
        raise Refused(f"{name!r}: the columns have different lengths, {sorted(lengths)[:5]}")
    return [list(row) for row in zip(*value.values(), strict=True)], list(value)


ENVELOPES: Mapping[str, Callable[[Any, str], tuple[list[Any], Columns]]] = {
    "instances": _rows,
    "inputs": _inputs,
    "dataframe_split": _split,
    "dataframe_records": _records,
    "data": _data,
    "input_data": _data,
}
WANTED = ", ".join(ENVELOPES)


def write(
    query: Query, outputs: list[Any], accept: bytes | None, model: str, version: str | None
) -> tuple[bytes, bytes, bytes]:
    """The answer's content type, body and further header lines, in the dialect of the request.

    Raises TypeError when it cannot be written.
    """
    if query.tensors:
        tensor, behind = tensors.reply(outputs, query.binary)
        named = {"model_version": version} if version else {}
        about = {"model_name": model, **named, **({"id": query.id} if query.id else {}), "outputs": [tensor]}
        head = orjson.dumps(about, option=OPTIONS)
        if not behind:
            return JSON, head, b""
        return BINARY, head + behind, b"inference-header-content-length: %d\r\n" % len(head)
    kind = _wanted(accept)
    if kind in WRITERS:
        return kind, WRITERS[kind](outputs), b""
    return JSON, orjson.dumps({"predictions": outputs}, option=OPTIONS), b""


def _wanted(accept: bytes | None) -> bytes:
    """The first type in the client's list that can be written; JSON if there is none."""
    if accept is None or accept == b"*/*":
        return JSON
    kinds = (part.partition(b";")[0].strip().lower() for part in accept.split(b","))
    return next((kind for kind in kinds if kind in WRITERS or kind in (JSON, b"*/*", b"application/*")), JSON)


def error(message: str) -> bytes:
    """The body of every answer that is not a success."""
    try:
        return orjson.dumps({"error": message})
    except TypeError:  # a lone surrogate, from a name that the client chose
        return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})
