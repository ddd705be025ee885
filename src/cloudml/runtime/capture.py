"""Sampled requests and their answers as JSON Lines, written by one background thread that nobody waits for."""

from __future__ import annotations

import random
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

FLUSH_SECONDS = 0.1
MOST_ROWS = 100_000  # kept in memory at once; beyond it records are dropped and counted


@dataclass(frozen=True, slots=True)
class Record:
    """One prediction. ``time`` is seconds since 1970, ``inputs`` are rows in the order of ``names``."""

    id: str
    time: float
    inputs: list[Any]
    names: Sequence[str] | None
    outputs: list[Any]
    status: int
    latency: float


class Capture:
    """``<folder>/<yyyymmddThh>-<pid>.jsonl``, a file an hour; ``labels`` stand in every record."""

    def __init__(self, folder: Path, rate: float, pid: int, labels: Mapping[str, str | None]) -> None:
        self.written = 0
        self._full = 0
        self._folder = folder
        self._rate = rate
        self._pid = pid
        self._labels = dict(labels)
        self._queue: deque[Record] = deque()
        self._rows_in = 0  # written by the loop's thread only, as _rows_out is by the other: no lock
        self._rows_out = 0
        self._stop = threading.Event()
        self._lost = 0
        self._thread = threading.Thread(target=self._work, name="cloudml-capture", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Records that will never be written: the queue was full, or the file could not be."""
        return self._full + self._lost

    def sampled(self) -> bool:
        return self._rate >= 1.0 or random.random() < self._rate

    def add(self, record: Record) -> None:
        """Never blocks; drops the record when the writer is too far behind."""
        rows = len(record.inputs)
        if self._rows_in - self._rows_out + rows > MOST_ROWS:
            self._full += 1
            return
        self._rows_in += rows
        self._queue.append(record)

    def close(self, timeout: float = 5.0) -> None:
        """Write what is left. Returns after ``timeout`` seconds at the latest."""
        self._stop.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(FLUSH_SECONDS)
            records = [self._queue.popleft() for _ in range(len(self._queue))]
            if records:
                self._write(records)
            self._rows_out += sum(len(record.inputs) for record in records)

    def _write(self, records: list[Record]) -> None:
        hours: dict[str, list[bytes]] = {}
        for record in records:
            moment = datetime.fromtimestamp(record.time, UTC)
            try:
                line = self._line(record, moment)
            except TypeError as error:  # an answer that went out as CSV may hold what JSON cannot
                self._lose(1, error)
            else:
                hours.setdefault(moment.strftime("%Y%m%dT%H"), []).append(line)
        for hour, lines in hours.items():
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with open(self._folder / f"{hour}-{self._pid}.jsonl", "ab") as file:
                    file.writelines(lines)
                self.written += len(lines)
            except OSError as error:
                self._lose(len(lines), error)

    def _line(self, record: Record, moment: datetime) -> bytes:
        document = {
            "id": record.id,
            "time": moment.isoformat().replace("+00:00", "Z"),
            **self._labels,
            "inputs": record.inputs,
            "names": record.names,
            "outputs": record.outputs,
            "status": record.status,
            "latency_ms": round(record.latency * 1000, 3),
        }
        options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
        return orjson.dumps(document, default=str, option=options)

    def _lose(self, count: int, error: Exception) -> None:
        self._lost += count
        if self._lost == count:
            sys.stderr.write(f"cloudml: captured requests are lost: {error}\n")
