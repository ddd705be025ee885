"""What ``predict`` sends, from an argument, a file or stdin, and what it gets back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cloudml.errors import ConfigError


def request(data: str) -> tuple[bytes, str]:
    """The body of a request and its content type. Rows become ``instances``; an object goes as it is."""
    body, name = _read(data)
    if name.endswith(".csv"):
        return body, "text/csv"
    try:
        document = json.loads(body, parse_constant=_no_number)
    except ValueError as error:
        raise ConfigError(f"{name} is not JSON: {error}", hint="rows are a list of lists: [[1, 2], [3, 4]]") from error
    if isinstance(document, list):
        document = {"instances": document}
    elif not isinstance(document, dict):
        raise ConfigError(f"{name} holds no rows", hint="rows are a list of lists: [[1, 2], [3, 4]]")
    return json.dumps(document).encode(), "application/json"


def answer(body: bytes) -> Any:
    """The predictions in an answer; the whole answer if it has another form."""
    try:
        document = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
    return document["predictions"] if isinstance(document, dict) and "predictions" in document else document


def _no_number(word: str) -> None:
    """What Python's reader would take for a number, and no server does."""
    raise ValueError(f"{word} is none of its numbers")


def _read(data: str) -> tuple[bytes, str]:
    if data == "-":
        return sys.stdin.buffer.read(), "stdin"
    if not data.startswith("@"):
        return data.encode(), "--data"
    try:
        return Path(data[1:]).read_bytes(), data[1:]
    except OSError as error:
        raise ConfigError(f"cannot read {data[1:]}: {error.strerror}") from error
