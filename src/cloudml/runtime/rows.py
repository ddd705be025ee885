"""Rows of a request checked against what the model takes; whatever is wrong names its row and its feature.

Rows are counted from 1 in messages. NumPy is imported by ``Numbers`` alone, on the thread that loads the model.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudml.errors import ConfigError

NUMBERS = frozenset({"float", "int", "bool"})
SCALARS = (int, float, bool, str, type(None))


class Refused(Exception):
    """A request that gets an error as its answer; ``status`` is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass(slots=True)
class Query:
    """One request's rows. ``columns`` names the values of list rows; ``plain``: surely no value is a string;
    ``cells``: all are strings, for CSV tells no types."""

    rows: list[Any]
    columns: Sequence[str] | None = None
    plain: bool = False
    cells: bool = False
    method: str = "predict"
    tensors: bool = False
    binary: bool = False  # tensors go back as bytes
    id: str | None = None


@dataclass(frozen=True)
class Features:
    """What one row holds. ``width`` None: rows are taken as they come. ``texts`` None: values of any scalar type."""

    width: int | None = None
    names: tuple[str, ...] | None = None
    texts: frozenset[int] | None = frozenset()
    _known: frozenset[str] = field(init=False, default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", frozenset(self.names or ()))

    def ordered(self, rows: list[Any], columns: Sequence[str] | None) -> list[Any]:
        """Rows as lists in the model's order, from objects or from named columns. Raises Refused."""
        if columns is not None:
            return self._columns(rows, columns)
        if self.width is None or not any(type(row) is dict for row in rows):
            return rows
        names = self.names
        if names is None:
            raise Refused(f"this model does not name its features: send each row as a list of {self.width} values")
        return [self._object(row, number, names) if type(row) is dict else row for number, row in enumerate(rows, 1)]

    def from_cells(self, rows: list[list[str]], columns: Sequence[str] | None) -> list[Any]:
        """Rows in the model's order from CSV: numbers where the model does not want strings. Raises Refused."""
        if columns is None and self.names and {cell.strip() for cell in rows[0]} == self._known:
            columns, rows = [cell.strip() for cell in rows[0]], rows[1:]
        texts = self.texts or frozenset()
        return [[_cell(cell, index in texts) for index, cell in enumerate(row)] for row in self.ordered(rows, columns)]

    def check(self, rows: list[Any]) -> None:
        """Raises Refused at the first row or value that does not fit."""
        if self.width is None:
            return
        for number, row in enumerate(rows, 1):
            if type(row) is not list:
                raise Refused(f"row {number} must be a list of {self.width} features or an object, not {_short(row)}")
            if len(row) != self.width:
                raise Refused(f"expected {self.width} features, row {number} has {len(row)}")
            for index, value in enumerate(row):
                if wanted := self._wanted(index, value):
                    raise Refused(f"row {number}: {self._name(index)} must be {wanted}, not {_short(value)}")

    def must_have(self, fields: frozenset[str]) -> None:
        """Raises ConfigError for a field to redact that is no feature: a slip of the pen would keep what must go."""
        for name in sorted(fields - self._known if self.names else ()):
            close = difflib.get_close_matches(name, self.names or (), 1)
            hint = f"did you mean {close[0]!r}?" if close else f"its features: {', '.join(self.names or ())}"
            raise ConfigError(f"'redact' names {name!r}, which is not a feature of this model", hint=hint)

    def missing(self, rows: list[Any]) -> str | None:
        """The first null or NaN, for a message; None if no value is missing."""
        for number, row in enumerate(rows, 1):
            for index, value in enumerate(row if type(row) is list else ()):
                if value is None or value != value:
                    return f"row {number}: {self._name(index)} is missing, and this model takes no missing values"
        return None

    def hidden(self, rows: list[Any], columns: Sequence[str] | None, fields: frozenset[str]) -> list[Any]:
        """Rows without the values of some features, which become null; a list that nobody names is null throughout."""
        names = self.names or columns
        if names is not None:
            at = frozenset(index for index, name in enumerate(names) if name in fields)
            return [
                [None if index in at else value for index, value in enumerate(row)]
                if type(row) is list
                else _without(row, fields)
                for row in rows
            ]
        return [_without(row, fields) for row in rows]

    def _wanted(self, index: int, value: Any) -> str | None:
        if self.texts is None:
            return None if isinstance(value, SCALARS) else "a number or a string"
        if index in self.texts:
            return None if value is None or isinstance(value, str) else "a string"
        return None if value is None or isinstance(value, (int, float)) else "a number"

    def _name(self, index: int) -> str:
        return f"feature {self.names[index]!r}" if self.names else f"feature {index + 1}"

    def _columns(self, rows: list[Any], columns: Sequence[str]) -> list[Any]:
        for number, row in enumerate(rows, 1):
            if type(row) is not list or len(row) != len(columns):
                has = len(row) if type(row) is list else _short(row)
                raise Refused(f"expected {len(columns)} features, row {number} has {has}")
        if self.names is None or tuple(columns) == self.names:
            return rows
        self._same(frozenset(columns), "the request")
        if len(columns) != len(self.names):
            raise Refused("the request names a feature twice")
        order = [columns.index(name) for name in self.names]
        return [[row[index] for index in order] for row in rows]

    def _object(self, row: dict[str, Any], number: int, names: tuple[str, ...]) -> list[Any]:
        if row.keys() != self._known:
            self._same(row.keys(), f"row {number}")
        return [row[name] for name in names]

    def _same(self, given: Any, what: str) -> None:
        missing = [name for name in self.names or () if name not in given]
        unknown = [name for name in given if name not in self._known]
        if missing and unknown:
            close = difflib.get_close_matches(unknown[0][:100], missing, 1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise Refused(f"{what} has no feature {missing[0]!r}, but an unknown {_short(unknown[0])}{meant}")
        if missing:
            raise Refused(f"{what} has no feature {missing[0]!r}")
        if unknown:
            raise Refused(f"{what} has an unknown feature {_short(unknown[0])}")


class Numbers:
    """Rows of numbers as one float64 array of shape (rows, features); null is NaN."""

    def __init__(self, features: Features) -> None:
        import numpy as np

        self._np = np
        self._features = features

    def __call__(self, rows: list[Any], plain: bool) -> Any:
        """``plain`` says that no value can be a string, which NumPy would read as a number. Raises Refused."""
        if plain:
            try:
                table = self._np.array(rows, dtype=self._np.float64)
            except (TypeError, ValueError, OverflowError):
                table = None
            if table is not None and table.ndim == 2 and table.shape[1] == self._features.width:
                return table
        self._features.check(rows)
        return self._np.array(rows, dtype=self._np.float64)


class Frame:
    """Rows as a pandas DataFrame, for a model that asks for its columns by name."""

    def __init__(self, features: Features) -> None:
        import pandas

        self._pandas = pandas
        self._features = features

    def __call__(self, rows: list[Any], plain: bool) -> Any:
        self._features.check(rows)
        return self._pandas.DataFrame(rows, columns=list(self._features.names or ()))


class Lists:
    """Rows as they came, checked if it is known what they hold."""

    def __init__(self, features: Features) -> None:
        self._features = features

    def __call__(self, rows: list[Any], plain: bool) -> list[Any]:
        self._features.check(rows)
        return rows


def _without(row: Any, fields: frozenset[str]) -> Any:
    if type(row) is dict:
        return {name: None if name in fields else value for name, value in row.items()}
    return [None] * len(row) if type(row) is list else None


def strange(rows: list[Any]) -> bool:
    """Whether a value is missing, a text, or beyond float32: what a numeric model may rightly refuse."""
    for row in rows:
        for value in row if type(row) is list else (row,):
            if not isinstance(value, (int, float)) or not abs(value) <= 3.4e38:
                return True
    return False


def _cell(text: str, keep: bool) -> Any:
    if keep or not text.strip():
        return text or None
    try:
        return float(text)
    except ValueError:
        return text


def _short(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if value is None:
        return "null"
    text = repr(value[:41] if isinstance(value, str) else value)
    return text if len(text) <= 44 else text[:40] + "…"
