"""Logs from Cloud Logging, metrics from Cloud Monitoring, captured requests from the bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudml.objects import Objects
from cloudml.spi import Caller, Window
from cloudml.states import Captured, LogLine, Sample, State
from cloudml_vertex.wire import Place

LOGGING = "https://logging.googleapis.com/v2/entries:list"
MONITORING = "https://monitoring.googleapis.com/v3/projects/{project}/timeSeries"
PAGE = 1000
RECENT = timedelta(hours=1)
TIMEOUT = 30.0
# The resource in Cloud Logging, and the label that holds the last part of its name.
SOURCES: Mapping[str, tuple[str, str]] = {
    "job": ("ml_job", "job_id"),
    "endpoint": ("aiplatform.googleapis.com/Endpoint", "endpoint_id"),
}
# Our metric, the service's, and the factor to our unit.
METRICS: Mapping[str, tuple[str, float]] = {
    "requests": ("aiplatform.googleapis.com/prediction/online/prediction_count", 1.0),
    "errors": ("aiplatform.googleapis.com/prediction/online/error_count", 1.0),
    "latency": ("aiplatform.googleapis.com/prediction/online/prediction_latencies", 1.0),
}
FIELDS = ("id", "time", "inputs", "outputs", "names", "deployment", "version", "status", "latency_ms")


class VertexTelemetry:
    """A log's cursor is the time of the last line, and what was read of that moment."""

    def __init__(self, place: Place, artifacts: Objects, session: Any, caller: Caller) -> None:
        self._place = place
        self._artifacts = artifacts
        self._session = session
        self._call = caller

    def logs(self, have: State, cursor: str | None) -> tuple[Sequence[LogLine], str]:
        seen: dict[str, Any] = json.loads(cursor) if cursor else {"time": None, "ids": []}
        kind, label = SOURCES[have.key.kind]
        mark = have.id.rpartition("/")[2]
        filter = f'resource.type="{kind}" AND resource.labels.{label}="{mark}"'
        filter += f' AND timestamp>="{seen["time"] or _time(have.created)}"'
        lines: list[LogLine] = []
        for entry in self._entries(filter):
            if entry["timestamp"] != seen["time"]:
                seen = {"time": entry["timestamp"], "ids": []}
            elif entry["insertId"] in seen["ids"]:
                continue
            seen["ids"].append(entry["insertId"])
            lines.append(LogLine(_text(entry), _source(entry), _seconds(entry["timestamp"])))
        return lines, json.dumps(seen)

    def metrics(self, have: State, window: Window) -> Iterator[Sample]:
        """Per minute: ``requests``, ``errors``, and the mean ``latency`` in milliseconds."""
        end = window.end or datetime.now(UTC).timestamp()
        start = window.start or end - RECENT.total_seconds()
        for name, (metric, factor) in METRICS.items():
            mark = f'metric.type="{metric}" AND resource.labels.endpoint_id="{have.key.name}"'
            query = {"filter": mark, "interval.startTime": _time(start), "interval.endTime": _time(end)}
            for series in self._series(query):
                labels = {key: str(value) for key, value in series.get("metric", {}).get("labels", {}).items()}
                for point in series.get("points", ()):
                    yield Sample(name, factor * _value(point["value"]), _seconds(point["interval"]["endTime"]), labels)

    def captured(self, have: State, window: Window) -> Iterator[Captured]:
        """The runtime's own records, oldest first."""
        found = self._artifacts.list(f"{have.owner or have.key.stack}/captures/{have.key.name}")
        records = [record for uri in found if uri.endswith(".jsonl") for record in self._records(uri)]
        for record in sorted(records, key=lambda each: str(each["time"])):
            moment = _seconds(record["time"])
            if (window.start is None or moment >= window.start) and (window.end is None or moment < window.end):
                yield Captured(**{name: record[name] for name in FIELDS if name in record})

    # -- inside ------------------------------------------------------------------------------------------------------

    def _records(self, uri: str) -> Iterator[dict[str, Any]]:
        with self._artifacts.open(uri) as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))

    def _entries(self, filter: str) -> Iterator[dict[str, Any]]:
        """Oldest first, all pages."""
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{self._place.project}"],
            "filter": filter,
            "orderBy": "timestamp asc",
            "pageSize": PAGE,
        }
        while True:
            found = self._call.read("ListLogEntries", lambda: self._asked("POST", LOGGING, json=body))
            yield from found.get("entries", ())
            if not found.get("nextPageToken"):
                return
            body["pageToken"] = found["nextPageToken"]

    def _series(self, query: Mapping[str, str]) -> Sequence[dict[str, Any]]:
        url = MONITORING.format(project=self._place.project)
        found = self._call.read("ListTimeSeries", lambda: self._asked("GET", url, params=dict(query)))
        series: Sequence[dict[str, Any]] = found.get("timeSeries", ())
        return series

    def _asked(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        from google.api_core.exceptions import from_http_response

        answer = self._session.request(method, url, timeout=TIMEOUT, **more)
        if not answer.ok:
            raise from_http_response(answer)
        document: dict[str, Any] = answer.json()
        return document


def _text(entry: Mapping[str, Any]) -> str:
    """A line of plain text, or the message of a structured one."""
    payload = entry.get("jsonPayload")
    text = str(payload.get("message", json.dumps(payload))) if payload else str(entry.get("textPayload", ""))
    return text.rstrip("\n")


def _source(entry: Mapping[str, Any]) -> str:
    return str(entry.get("resource", {}).get("labels", {}).get("task_name", "") or entry.get("logName", ""))


def _value(value: Mapping[str, Any]) -> float:
    """A point is a count, a number, or a distribution with its mean."""
    if "distributionValue" in value:
        return float(value["distributionValue"].get("mean", 0.0))
    return float(value.get("int64Value", value.get("doubleValue", 0.0)))


def _time(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0.0, UTC).isoformat()


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
