"""Capture records as rows: what an endpoint wrote down about its requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudml.errors import ConfigError

Record = Mapping[str, Any]
FIRST_ERROR_STATUS = 400


@dataclass(frozen=True)
class Traffic:
    """A window of requests: ``latencies`` in ms, ``errors`` of ``requests``, ``window`` in seconds since the epoch.

    ``rows`` and ``predictions`` come from the requests that were answered; ``predictions`` is None when any of them
    has not one output per input row.
    """

    rows: Sequence[Sequence[Any]]
    names: tuple[str, ...] | None
    predictions: Sequence[Any] | None
    latencies: Sequence[float]
    requests: int
    errors: int
    window: tuple[float, float] | None

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


def traffic_from_records(records: Iterable[Record]) -> Traffic:
    """Collect records ``{"inputs", "names", "outputs", "status", "latency_ms", "time"}``, all optional.

    ``inputs`` and ``outputs`` are lists of rows; inputs that were not kept (None) give no rows. A request failed if
    its ``status`` is 400 or more; its inputs are left out. Records with and without names mix if the widths agree;
    names in another order are put in order.
    :raises ConfigError: records with different names.
    """
    kept = list(records)
    good = [record for record in kept if not _failed(record) and isinstance(record.get("inputs"), list)]
    names = next((tuple(record["names"]) for record in good if record.get("names")), None)
    rows = [row for record in good for row in _in_order(record, names)]
    outputs = [record.get("outputs") for record in good]
    complete = all(
        isinstance(found, list) and len(found) == len(good[at]["inputs"]) for at, found in enumerate(outputs)
    )
    times = [float(record["time"]) for record in kept if record.get("time") is not None]
    return Traffic(
        rows=rows,
        names=names,
        predictions=[value for found in outputs for value in found or ()] if complete and rows else None,
        latencies=[float(record["latency_ms"]) for record in kept if record.get("latency_ms") is not None],
        requests=len(kept),
        errors=sum(map(_failed, kept)),
        window=(min(times), max(times)) if times else None,
    )


def _failed(record: Record) -> bool:
    return (record.get("status") or 0) >= FIRST_ERROR_STATUS


def _in_order(record: Record, names: tuple[str, ...] | None) -> Sequence[Sequence[Any]]:
    rows: Sequence[Sequence[Any]] = record["inputs"]
    own = tuple(record.get("names") or names or ())
    if names is None or own == names:
        return rows
    if sorted(own) != sorted(names):
        raise ConfigError(f"captured requests name different features: {', '.join(own)} and {', '.join(names)}")
    order = [own.index(name) for name in names]
    return [[row[position] for position in order] for row in rows]
