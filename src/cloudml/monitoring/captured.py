"""Capture records as rows: what an endpoint wrote down about its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudml.errors import ConfigError

Record = Mapping[str, Any]
FIRST_ERROR_STATUS = 400


@dataclass(frozen=True)
class Traffic:
    """A window of requests: ``latencies`` in ms, ``errors`` of ``requests``, ``window`` in seconds since the epoch.

    ``rows`` and ``predictions`` come from the requests that were answered and stand beside each other; a row whose
    request has not one output per row has the prediction None, and ``predictions`` is None when no row has any.
    ``malformed``: rows that fit no feature list and were left out.
    """

    rows: Sequence[Sequence[Any]]
    names: tuple[str, ...] | None
    predictions: Sequence[Any] | None
    latencies: Sequence[float]
    requests: int
    errors: int
    window: tuple[float, float] | None
    malformed: int = 0

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.requests if self.requests else None

    @property
    def latency(self) -> dict[str, float] | None:
        """Percentiles in ms, by nearest rank."""
        if not self.latencies:
            return None
        ranked = sorted(self.latencies)
        return {f"p{percent}": ranked[-(-percent * len(ranked) // 100) - 1] for percent in (50, 95, 99)}


def rows_from_records(
    records: Iterable[Record],
) -> tuple[Sequence[Sequence[Any]], tuple[str, ...] | None, Sequence[float], int]:
    """Rows, names, latencies in ms and the number of failed requests; see :func:`traffic_from_records`."""
    traffic = traffic_from_records(records)
    return traffic.rows, traffic.names, traffic.latencies, traffic.errors


def traffic_from_records(records: Iterable[Record], features: Sequence[str] | None = None) -> Traffic:
    """Collect records ``{"inputs", "names", "outputs", "status", "latency_ms", "time"}``, all optional.

    ``inputs`` and ``outputs`` are lists of rows; inputs that were not kept (None) give no rows. A request failed if
    its ``status`` is 400 or more; its inputs are left out. ``features``: the baseline's names, in whose order rows
    are put; values with names are matched by name (one left out is None, one unknown is ignored), values without by
    position. A row that does not fit is counted as malformed and left out: of another width, no row at all, or
    without any known name. Without ``features``, the first names, or the most frequent width, are what must fit.
    :raises ConfigError: without ``features``, records with different names.
    """
    kept = list(records)
    good = [record for record in kept if not _failed(record) and isinstance(record.get("inputs"), list)]
    fitting = _Fitting(features, good)
    rows: list[Sequence[Any]] = []
    predictions: list[Any] = []
    malformed = 0
    for record in good:
        inputs, outputs = record["inputs"], record.get("outputs")
        answers = outputs if isinstance(outputs, list) and len(outputs) == len(inputs) else [None] * len(inputs)
        for row, answer in zip(fitting.rows(record), answers, strict=True):
            if row is None:
                malformed += 1
            else:
                rows.append(row)
                predictions.append(answer)
    times = [float(record["time"]) for record in kept if record.get("time") is not None]
    return Traffic(
        rows=rows,
        names=fitting.names,
        predictions=predictions if any(answer is not None for answer in predictions) else None,
        latencies=[float(record["latency_ms"]) for record in kept if record.get("latency_ms") is not None],
        requests=len(kept),
        errors=sum(map(_failed, kept)),
        window=(min(times), max(times)) if times else None,
        malformed=malformed,
    )


def _failed(record: Record) -> bool:
    return (record.get("status") or 0) >= FIRST_ERROR_STATUS


class _Fitting:
    """Puts rows into the order of ``names``, or says that they do not fit."""

    def __init__(self, features: Sequence[str] | None, good: Sequence[Record]) -> None:
        self._known = features is not None
        self.names = tuple(features) if features is not None else _first_names(good)
        self._width = len(self.names) if self.names is not None else _usual_width(good)
        self._positions: dict[tuple[str, ...], list[int | None]] = {}

    def rows(self, record: Record) -> Iterable[Sequence[Any] | None]:
        """The record's rows, None for each that does not fit."""
        own = tuple(record.get("names") or ())
        if not own or own == self.names:
            return [self._by_key(row) if isinstance(row, Mapping) else self._as_is(row) for row in record["inputs"]]
        positions = self._order(own)
        if all(position is None for position in positions):
            return [None] * len(record["inputs"])
        return [
            [None if position is None else row[position] for position in positions]
            if isinstance(row, list) and len(row) == len(own)
            else None
            for row in record["inputs"]
        ]

    def _as_is(self, row: Any) -> Sequence[Any] | None:
        return row if isinstance(row, (list, tuple)) and len(row) == self._width else None

    def _by_key(self, row: Mapping[str, Any]) -> Sequence[Any] | None:
        if not self.names or not any(name in row for name in self.names):
            return None
        return [row.get(name) for name in self.names]

    def _order(self, own: tuple[str, ...]) -> list[int | None]:
        """Where each of our names stands among the record's own."""
        names = self.names or ()
        if own not in self._positions:
            if not self._known and sorted(own) != sorted(names):
                raise ConfigError(f"captured requests name different features: {', '.join(own)} and {', '.join(names)}")
            at = {name: position for position, name in enumerate(own)}
            self._positions[own] = [at.get(name) for name in names]
        return self._positions[own]


def _first_names(good: Sequence[Record]) -> tuple[str, ...] | None:
    return next((tuple(record["names"]) for record in good if record.get("names")), None)


def _usual_width(good: Sequence[Record]) -> int:
    widths = Counter(len(row) for record in good for row in record["inputs"] if isinstance(row, (list, tuple)))
    return widths.most_common(1)[0][0] if widths else 0
