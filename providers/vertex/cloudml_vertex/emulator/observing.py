"""Cloud Logging and Cloud Monitoring, for what jobs and endpoints emit."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cloudml.emulation.http import Answer, Request
from cloudml_vertex.emulator.predictions import Predictions
from cloudml_vertex.emulator.problems import invalid
from cloudml_vertex.emulator.runs import Entry, Runs

CLAUSE = re.compile(r'(?P<field>[\w.]+)\s*(?P<operator>>=|<=|=|>|<)\s*"(?P<value>[^"]*)"')
PAGE = 50
LONGEST = 1000
MINUTE = 60
SERVING_LOG = "aiplatform.googleapis.com%2Fprediction_container"  # assumed
PREFIX = "aiplatform.googleapis.com/prediction/online/"


class Observing:
    """What was written and what was counted, in the form of the two services."""

    def __init__(self, runs: Runs, predictions: Predictions) -> None:
        self._runs = runs
        self._predictions = predictions

    def entries(self, request: Request) -> Answer:
        """``POST /v2/entries:list``."""
        asked = json.loads(request.body)
        projects = {name.rpartition("/")[2] for name in asked.get("resourceNames", ())}
        if not projects:
            raise invalid("resource_names is required.")
        tests = list(_clauses(asked.get("filter", "")))
        found = [
            entry
            for entry in self._runs.entries()
            if entry.project in projects and all(_fits(entry, *test) for test in tests)
        ]
        if asked.get("orderBy", "timestamp asc").endswith("desc"):
            found.reverse()
        start, size = int(asked.get("pageToken") or 0), min(int(asked.get("pageSize") or PAGE), LONGEST)
        more = {"nextPageToken": str(start + size)} if len(found) > start + size else {}
        return Answer(200, {"entries": [_entry(each) for each in found[start : start + size]], **more})

    def series(self, request: Request) -> Answer:
        """``GET /v3/projects/P/timeSeries``: a point a minute, newest first, of that project's endpoints."""
        project = request.path.split("/")[3]
        tests = {field: value for field, _, value in _clauses(request.query.get("filter", ""))}
        metric = tests.get("metric.type", "").removeprefix(PREFIX)
        start, end = (_moment(request.query[f"interval.{name}Time"]) / 1e9 for name in ("start", "end"))
        found = []
        for endpoint, rows in [*self._predictions.counted.items()]:
            _, owner, _, location, _, id = endpoint.split("/")
            inside = [row for row in rows if start <= row[0] <= end]
            if owner == project and tests.get("resource.labels.endpoint_id") in (None, id) and inside:
                labels = {"endpoint_id": id, "location": location}
                points = [
                    _point(metric, minute, each) for minute, each in sorted(_minutes(inside).items(), reverse=True)
                ]
                found.append(
                    {
                        "metric": {"type": PREFIX + metric, "labels": {}},
                        "resource": {"type": "aiplatform.googleapis.com/Endpoint", "labels": labels},
                        "points": points,
                    }
                )
        return Answer(200, {"timeSeries": found})


def _clauses(text: str) -> Iterator[tuple[str, str, str]]:
    for part in re.split(r"\s+AND\s+|\n", text.strip()):
        if not part:
            continue
        match = CLAUSE.fullmatch(part.strip())
        if match is None:
            raise invalid(f"The filter is not valid, or not emulated: {part!r}")
        yield match["field"], match["operator"], match["value"]


def _fits(entry: Entry, field: str, operator: str, value: str) -> bool:
    if field == "timestamp":
        there, asked = entry.time, _moment(value)
        return {
            ">=": there >= asked,
            ">": there > asked,
            "<=": there <= asked,
            "<": there < asked,
            "=": there == asked,
        }[operator]
    if field == "resource.type":
        return entry.kind == value
    if field.startswith("resource.labels."):
        return entry.labels.get(field.removeprefix("resource.labels.")) == value
    raise invalid(f"The filter names {field}, which is not emulated.")


def _entry(entry: Entry) -> dict[str, Any]:
    moment = f"{datetime.fromtimestamp(entry.time // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{entry.time % 10**9:09d}Z"
    return {
        "textPayload": entry.text,
        "insertId": entry.id,
        "resource": {"type": entry.kind, "labels": dict(entry.labels)},
        "timestamp": moment,
        "severity": "INFO",
        "logName": f"projects/{entry.project}/logs/{entry.labels.get('task_name', SERVING_LOG)}",
        "receiveTimestamp": moment,
    }


def _moment(text: str) -> int:
    """Nanoseconds since 1970; Python reads six digits of a second, the service writes nine."""
    match = re.fullmatch(r"(.*?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", text)
    if match is None:
        raise invalid(f"{text!r} is no time.")
    whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    return int(whole.timestamp()) * 10**9 + int((match[2] or "0").ljust(9, "0"))


def _minutes(rows: list[tuple[float, int, float]]) -> Mapping[int, list[tuple[float, int, float]]]:
    found: dict[int, list[tuple[float, int, float]]] = {}
    for row in rows:
        found.setdefault(int(row[0]) // MINUTE, []).append(row)
    return found


def _point(metric: str, minute: int, rows: list[tuple[float, int, float]]) -> dict[str, Any]:
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((minute + 1) * MINUTE))
    value: dict[str, Any]
    if metric == "prediction_latencies":
        value = {"distributionValue": {"count": str(len(rows)), "mean": sum(row[2] for row in rows) / len(rows)}}
    else:
        counted = [row for row in rows if metric != "error_count" or row[1] >= 400]
        value = {"int64Value": str(len(counted))}
    return {"interval": {"endTime": end}, "value": value}
