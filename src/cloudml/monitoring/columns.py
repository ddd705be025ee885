"""Rows in any of the shapes that people have, as columns of numbers or of categories."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudml.errors import ConfigError
from cloudml.monitoring.arrays import Floats, np, npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A column of categories by index: ``codes`` (integers, -1 = missing) into ``categories``; the quick path."""

    codes: Array
    categories: Sequence[Any]


Column = Array | Encoded | Sequence[Any]
Rows = Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]] | Mapping[str, Column] | Array


@dataclass(frozen=True)
class Numbers:
    """``values``: 1-D, NaN = missing, infinities kept; ``type_errors``: values that were not numbers, left out."""

    values: Array
    type_errors: int = 0


@dataclass(frozen=True)
class Categories:
    counts: Mapping[str, int]
    missing: int


def columns(rows: Any, names: Sequence[str] | None = None) -> dict[str, Column]:
    """Columns by name.

    ``rows``: sequence of sequences, sequence of mappings (a key left out is missing), 2-D array, mapping of columns,
    or a pandas DataFrame. Without ``names``, columns without names are ``x0, x1, …``.
    :raises ConfigError: ragged rows, or as many names as there are not columns.
    """
    if hasattr(rows, "columns") and hasattr(rows, "iloc"):
        return _checked({str(name): _from_pandas(rows[name]) for name in rows.columns})
    if isinstance(rows, Mapping):
        return _checked({str(name): _one_dimensional(name, column) for name, column in rows.items()})
    if isinstance(rows, np.ndarray):
        if rows.ndim != 2:
            raise ConfigError(f"rows must be a 2-D array, this one has {rows.ndim} dimensions")
        return named(list(rows.T), names, rows.shape[1])
    rows = list(rows)
    if rows and isinstance(rows[0], Mapping):
        keys = list(dict.fromkeys(key for row in rows for key in row))
        return {str(key): [row.get(key) for row in rows] for key in keys}
    for position, row in enumerate(rows):
        if not isinstance(row, (Sequence, np.ndarray)) or isinstance(row, (str, bytes)):
            raise ConfigError(f"row {position} is no row of values but {type(row).__name__}")
    width = len(rows[0]) if rows else len(names or ())
    for position, row in enumerate(rows):
        if len(row) != width:
            raise ConfigError(f"row {position} has {len(row)} values, row 0 has {width}")
    return named(list(zip(*rows, strict=True)) if rows else [()] * width, names, width)


def named(found: Sequence[Column], names: Sequence[str] | None, width: int) -> dict[str, Column]:
    names = [f"x{position}" for position in range(width)] if names is None else [str(name) for name in names]
    if len(names) != width:
        raise ConfigError(f"{len(names)} names for {width} columns")
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise ConfigError(f"column names are repeated: {', '.join(repeated)}")
    return dict(zip(names, found, strict=True))


def _checked(found: dict[str, Column]) -> dict[str, Column]:
    if len({length(column) for column in found.values()}) > 1:
        raise ConfigError(f"columns differ in length: { {name: length(column) for name, column in found.items()} }")
    return found


def _one_dimensional(name: str, column: Any) -> Column:
    if hasattr(column, "to_numpy"):
        return _from_pandas(column)
    if isinstance(column, np.ndarray) and column.ndim != 1:
        raise ConfigError(f"column {name!r} has {column.ndim} dimensions, 1 is wanted")
    found: Column = column
    return found


def _from_pandas(series: Any) -> Column:
    """Categoricals keep their codes; pandas' own missing value becomes None, which everything here knows."""
    if hasattr(series, "cat"):
        return Encoded(series.cat.codes.to_numpy(), series.cat.categories.tolist())
    if not isinstance(series.dtype, np.dtype):
        series = series.astype(object).where(series.notna(), None)
    found: Array = series.to_numpy()
    return found


def length(column: Column) -> int:
    return len(column.codes) if isinstance(column, Encoded) else len(column)


def is_number(kind: type) -> bool:
    return issubclass(kind, (int, float, np.number, np.bool_)) and not issubclass(kind, np.complexfloating)


def looks_numeric(column: Column) -> bool:
    """Whether most of what is present is a number; booleans alone are categories."""
    if isinstance(column, Encoded):
        return False
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiubUS":
        return column.dtype.kind in "fiu"
    kinds = Counter(map(type, column))
    kinds.pop(type(None), None)
    if not kinds:
        return True
    numeric = sum(times for kind, times in kinds.items() if is_number(kind))
    booleans = kinds[bool] + kinds[np.bool_]
    return 2 * numeric > kinds.total() and booleans < kinds.total()


def numbers(column: Column) -> Numbers:
    """The column as numbers; None and NaN are missing, anything else that is no number is a type error."""
    if isinstance(column, Encoded):
        column = [None if code < 0 else column.categories[code] for code in column.codes.tolist()]
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return Numbers(column)
    values: Sequence[Any] = column.tolist() if isinstance(column, np.ndarray) else column
    if all(kind is type(None) or is_number(kind) for kind in set(map(type, values))):
        try:
            return Numbers(np.asarray(values, np.float64))
        except OverflowError:  # an integer beyond 1e308: one by one
            pass
    found = [_number(value) for value in values]
    kept = [value for value in found if value is not None]
    return Numbers(np.asarray(kept, np.float64), len(found) - len(kept))


def _number(value: Any) -> float | None:
    """NaN for a missing value, None for what is no number."""
    if value is None:
        return float("nan")
    if not is_number(type(value)):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def categories(column: Column) -> Categories:
    """How often each category occurs: text as it is, ``true``/``false``, whole numbers without a point."""
    found: Counter[str | None] = Counter()
    for value, times in _tallied(column):
        found[category(value)] += times
    missing = found.pop(None, 0)
    return Categories({name: times for name, times in found.items() if name is not None}, missing)


def _tallied(column: Column) -> Iterable[tuple[Any, int]]:
    if isinstance(column, Encoded):
        tally = np.bincount(column.codes.astype(np.int64) + 1, minlength=len(column.categories) + 1).tolist()
        return [(value, times) for value, times in zip([None, *column.categories], tally, strict=True) if times]
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        values, times = np.unique(column, return_counts=True)
        return zip(values.tolist(), times.tolist(), strict=True)
    items: Sequence[Any] = column.tolist() if isinstance(column, np.ndarray) else column
    if set(map(type, items)) <= {str, type(None)}:
        return Counter(items).items()
    return Counter(map(category, items)).items()  # 1 and True are one key of a dict, but two categories


def category(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isnan(number):
            return None
        return str(int(number)) if abs(number) < 1e15 and number.is_integer() else str(number)
    return str(value)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """``did you mean 'x'?`` for a name that is not known, if one is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else None


def finite(values: Array) -> Floats:
    """The finite ones, as float64."""
    valid = np.isfinite(values) if values.dtype.kind == "f" else np.True_
    return (values if valid.all() else values[valid]).astype(np.float64, copy=False)
