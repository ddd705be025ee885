"""Sampled requests and their answers as JSON Lines, written by one background thread that nobody waits for."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

FLUSH_SECONDS = 0.1
MOST_BYTES = 128 << 20  # kept in memory at once, roughly; beyond it records are dropped and counted
SEGMENTS = 16  # files that the limit of a folder is cut into, at least: the oldest goes as a whole
LEAST_SEGMENT = 4096
LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class Record:
    """One prediction. ``time`` is seconds since 1970, ``inputs`` are rows in the order of ``names``.

    ``size`` is what the request's body had, in bytes.
    """

    id: str
    time: float
    inputs: list[Any]
    names: Sequence[str] | None
    outputs: list[Any]
    status: int
    latency: float
    size: int = 0

    @property
    def weight(self) -> int:
        """The memory that it needs, in bytes and roughly: a number as an object is longer than as text."""
        return 2048 + 8 * self.size


class Capture:
    """``<folder>/<yyyymmddThh>-<pid>-<run>-<n>.jsonl``, at least a file an hour; ``labels`` stand in every record.

    All files of the folder, whoever wrote them, have ``limit`` bytes at most: the oldest are removed, and their records
    counted as ``removed``.
    """

    def __init__(
        self, folder: Path, rate: float, pid: int, labels: Mapping[str, str | None], limit: int = LIMIT
    ) -> None:
        self.written = 0
        self.removed = 0
        self._full = 0
        self._limit = limit
        self._segment = max(LEAST_SEGMENT, limit // SEGMENTS)
        self._number = 0
        self._folder = folder
        self._rate = rate
        self._run = f"{pid}-{os.urandom(2).hex()}"  # in a container, every process has the same pid
        self._labels = dict(labels)
        self._queue: deque[Record] = deque()
        self._in = 0  # bytes; written by the loop's thread only, as _out is by the other: no lock
        self._out = 0
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
        if self._in - self._out + record.weight > MOST_BYTES:
            self._full += 1
            return
        self._in += record.weight
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
            self._out += sum(record.weight for record in records)

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
            for some in _pieces(lines, self._segment):
                try:
                    self._append(hour, some)
                except OSError as error:
                    self._lose(len(some), error)
                else:
                    self.written += len(some)

    def _append(self, hour: str, lines: list[bytes]) -> None:
        """All of the lines or none: what a full disk has taken of them is cut off again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / f"{hour}-{self._run}-{self._number:06d}.jsonl", "ab", buffering=0) as file:
            start = file.tell()
            data = b"".join(lines)
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError:
                file.truncate(start)
                raise
            if file.tell() >= self._segment:
                self._number += 1
        self._make_room()

    def _make_room(self) -> None:
        """Remove the files that were written to longest ago, whoever else does so at the same time."""
        found = sorted(
            (at.st_mtime_ns, at.st_size, path) for path in self._folder.glob("*.jsonl") if (at := _stat(path))
        )
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= self._limit:
                break
            with contextlib.suppress(FileNotFoundError):
                count = path.read_bytes().count(b"\n")
                path.unlink()
                self.removed += count
            total -= size

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


def _pieces(lines: list[bytes], most: int) -> Iterator[list[bytes]]:
    """The lines in pieces that end once they have ``most`` bytes."""
    piece, size = [], 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= most:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
