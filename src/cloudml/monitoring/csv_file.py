"""A CSV file with a header as columns, read a chunk at a time by the standard library."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cloudml.errors import ConfigError
from cloudml.monitoring.arrays import Floats, np
from cloudml.monitoring.columns import Column, named

MISSING_TEXT = frozenset({"", "na", "n/a", "nan", "null", "none"})
CSV_CHUNK = 50_000

Part = Floats | list[Any]


def read_csv(path: str | Path) -> dict[str, Column]:
    """Columns of a CSV file with a header: numbers where a cell reads as one, ``""``, ``NA``, ``NaN`` … missing.

    :raises ConfigError: no such file, no header, or a row with more or fewer cells than the header.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = next(reader, None)
            if not header:
                raise ConfigError("the file is empty: a header line is wanted", where=str(path))
            parts: list[list[Part]] = [[] for _ in header]
            for chunk in _csv_chunks(reader, len(header), path):
                for part, cells in zip(parts, zip(*chunk, strict=True), strict=True):
                    part.append(_cells(cells))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the file: {error}", where=str(path)) from error
    return named([_booleans(_joined(part)) for part in parts], header, len(header))


def _csv_chunks(reader: Iterator[list[str]], width: int, path: str | Path) -> Iterator[list[list[str]]]:
    line = 2
    while chunk := list(islice(reader, CSV_CHUNK)):
        for offset, row in enumerate(chunk):
            if len(row) not in (0, width):
                raise ConfigError(f"{len(row)} cells, the header has {width}", where=f"{path}:{line + offset}")
        line += len(chunk)
        yield [row for row in chunk if row]


def _cells(cells: Sequence[str]) -> Part:
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return [_cell(cell) for cell in cells]


def _cell(text: str) -> float | str | None:
    if text.strip().lower() in MISSING_TEXT:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _joined(parts: Sequence[Part]) -> Part:
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts):
        return np.concatenate([np.zeros(0), *arrays])
    return [value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part)]


def _booleans(column: Part) -> Part:
    """A column of nothing but true and false, as booleans: JSON requests carry them so."""
    if isinstance(column, np.ndarray):
        return column
    words = {"true": True, "false": False}
    if all(value is None or (isinstance(value, str) and value.lower() in words) for value in column):
        return [value if value is None else words[value.lower()] for value in column]
    return column
