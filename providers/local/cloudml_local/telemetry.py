"""Logs, operational metrics and captured requests of what runs on this machine."""

from __future__ import annotations

import contextlib
import heapq
import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloudml.spi import Caller, Window
from cloudml.states import Captured, LogLine, Phase, Sample, State
from cloudml_local.home import Home
from cloudml_local.runs import Runs
from cloudml_local.servers import Process, Servers

LONGEST = 1_000_000  # bytes of one read of a log: a line that fills it is passed on unfinished
ENDED = (Phase.FAILED, Phase.CANCELLED)  # of a server or a gateway
FIELDS = ("id", "time", "inputs", "outputs", "names", "deployment", "version", "status", "latency_ms")
COUNT = re.compile(r'^cloudml_requests_total\{route="predict",status="(\d+)"\} (\d+)$', re.MULTILINE)
KEPT = re.compile(r"^cloudml_(captured|capture_dropped|capture_removed)_total(?:\{[^}]*\})? (\d+)", re.MULTILINE)
SECONDS = re.compile(r"^cloudml_predict_seconds_(sum|count) (\S+)$", re.MULTILINE)


class LocalTelemetry:
    """Reads what processes wrote; a log's cursor is a JSON object of byte offsets by process."""

    def __init__(self, home: Home, runs: Runs, servers: Servers, caller: Caller) -> None:
        self._home = home
        self._runs = runs
        self._servers = servers
        self._call = caller

    def logs(self, have: State, cursor: str | None) -> tuple[Sequence[LogLine], str]:
        offsets: dict[str, int] = json.loads(cursor) if cursor else {}
        lines: list[LogLine] = []
        for id, ended in self._sources(have):
            text, offsets[id] = self._new(have, id, offsets.get(id, 0), ended)
            lines.extend(LogLine(line, source=id) for line in text.splitlines())
        return lines, json.dumps(offsets, sort_keys=True)

    def metrics(self, have: State, window: Window) -> Iterator[Sample]:
        """Since each server's start: ``requests``, ``errors``, and the mean ``latency`` in milliseconds.

        Of a server that captures also ``captured``, ``dropped`` and ``removed``: what became of its records.
        """
        view = self._call.find("GetEndpoint", lambda: self._servers.get(have.key.name))
        now = time.time()
        if view is None or (window.end is not None and window.end < now):
            return
        for process in view.servers:
            if process.ready:
                yield from self._samples(process, now)

    def captured(self, have: State, window: Window) -> Iterator[Captured]:
        """Oldest first: file by file of an hour, merged where several servers wrote in it."""
        folder = self._home.captures(have.owner or have.key.stack, have.key.name)
        hours: dict[str, list[Path]] = {}
        for path in self._call.read("ListCaptures", lambda: sorted(folder.glob("*.jsonl"))):
            hours.setdefault(path.name.partition("-")[0], []).append(path)
        for hour in sorted(hours):
            if _overlaps(hour, window):
                records = heapq.merge(*(_records(path) for path in hours[hour]), key=lambda each: each[0])
                yield from (record for moment, record in records if _inside(moment, window))

    def _sources(self, have: State) -> list[tuple[str, bool]]:
        """The processes whose output is the resource's log, and whether each has ended."""
        if have.key.kind == "job":
            return [(have.key.name, have.phase.settled)]
        return [(part.id, part.phase in ENDED) for part in have.parts if part.kind in ("deployment", "gateway")]

    def _new(self, have: State, id: str, offset: int, ended: bool) -> tuple[str, int]:
        """What was written since, up to the last whole line unless no more comes."""
        read = self._runs.log if have.key.kind == "job" else self._servers.log
        found = self._call.find("GetLog", lambda: read(id, offset))
        chunk, after = found or (b"", offset)
        whole = chunk if ended or len(chunk) >= LONGEST else chunk[: chunk.rfind(b"\n") + 1]
        return whole.decode(errors="replace"), after - len(chunk) + len(whole)

    def _samples(self, process: Process, now: float) -> Iterator[Sample]:
        text = self._call.read("GetMetrics", lambda: self._servers.metrics(process))
        labels = {"deployment": process.status.task.labels["deployment"], "server": process.id}
        counts = [(int(status), int(count)) for status, count in COUNT.findall(text)]
        seconds = {name: float(value) for name, value in SECONDS.findall(text)}
        yield Sample("requests", sum(count for _, count in counts), now, labels)
        yield Sample("errors", sum(count for status, count in counts if status >= 400), now, labels)
        if seconds.get("count"):
            yield Sample("latency", 1000 * seconds["sum"] / seconds["count"], now, labels)
        kept = {name.removeprefix("capture_"): int(count) for name, count in KEPT.findall(text)}
        if any(kept.values()):
            yield from (Sample(name, count, now, labels) for name, count in kept.items())


def _records(path: Path) -> Iterator[tuple[float, Captured]]:
    """The whole lines of a capture file with their time; the last may still be being written, or for ever half."""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:  # removed to make room
        for line in file:
            if line.endswith("\n"):
                found = json.loads(line)
                moment = datetime.fromisoformat(found["time"]).timestamp()
                yield moment, Captured(**{name: found[name] for name in FIELDS if name in found})


def _overlaps(hour: str, window: Window) -> bool:
    start = datetime.strptime(hour, "%Y%m%dT%H").replace(tzinfo=UTC)
    end = (start + timedelta(hours=1)).timestamp()
    return (window.start is None or end > window.start) and (window.end is None or start.timestamp() <= window.end)


def _inside(moment: float, window: Window) -> bool:
    return (window.start is None or moment >= window.start) and (window.end is None or moment < window.end)
