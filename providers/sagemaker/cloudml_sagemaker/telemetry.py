"""Logs and metrics from CloudWatch, captured requests from S3."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cloudml.spi import Caller, Window
from cloudml.states import Captured, LogLine, Sample, State
from cloudml_sagemaker.account import Account
from cloudml_sagemaker.artifacts import S3Artifacts
from cloudml_sagemaker.captures import parse
from cloudml_sagemaker.tags import pages

NAMESPACE = "AWS/SageMaker"
# Neutral name, SageMaker's metrics that make it, their statistic, and what a value is multiplied with.
METRICS: tuple[tuple[str, tuple[str, ...], str, float], ...] = (
    ("requests", ("Invocations",), "Sum", 1.0),
    ("latency", ("ModelLatency",), "Average", 0.001),  # microseconds
    ("errors", ("Invocation4XXErrors", "Invocation5XXErrors"), "Sum", 1.0),
)
LONG, POINTS = 3600.0, 1440  # the window where none is given, in seconds; data points that one request may return


class CloudWatch:
    """A log's cursor is a JSON object of tokens by stream."""

    def __init__(self, account: Account, artifacts: S3Artifacts, caller: Caller) -> None:
        self._account = account
        self._artifacts = artifacts
        self._call = caller

    def logs(self, have: State, cursor: str | None) -> tuple[Sequence[LogLine], str]:
        tokens: dict[str, str] = json.loads(cursor) if cursor else {}
        job = have.key.kind == "job"
        group = "/aws/sagemaker/TrainingJobs" if job else f"/aws/sagemaker/Endpoints/{have.key.name}"
        lines: list[tuple[int, LogLine]] = []
        for stream in self._streams(group, f"{have.key.name}/" if job else None):
            events, tokens[stream] = self._events(group, stream, tokens.get(stream))
            source = stream.rpartition("/")[2] if job else stream
            lines += [(each["timestamp"], LogLine(each["message"].rstrip("\n"), source=source)) for each in events]
        lines.sort(key=lambda each: each[0])
        return [line for _, line in lines], json.dumps(tokens, sort_keys=True)

    def metrics(self, have: State, window: Window) -> Iterator[Sample]:
        """Once a minute, or rarer in a long window: ``requests``, ``errors``, mean ``latency`` in milliseconds."""
        end = window.end or time.time()
        start = window.start if window.start is not None else end - LONG
        period = 60 * max(1, -(-int(end - start) // (60 * POINTS)))
        for variant in (*have.facts.get("traffic", ()), *have.facts.get("mirror", ())):
            dimensions = [{"Name": "EndpointName", "Value": have.key.name}, {"Name": "VariantName", "Value": variant}]
            asked = {"Dimensions": dimensions, "StartTime": _moment(start), "EndTime": _moment(end), "Period": period}
            for name, metrics, statistic, factor in METRICS:
                points = [point for metric in metrics for point in self._points(metric, statistic, asked)]
                for moment in sorted({point["Timestamp"] for point in points}):
                    value = sum(point[statistic] for point in points if point["Timestamp"] == moment) * factor
                    yield Sample(name, value, moment.timestamp(), {"deployment": variant})

    def captured(self, have: State, window: Window) -> Iterator[Captured]:
        """Oldest first, hour by hour: a file is written for some minutes, and holds the requests of one hour."""
        key = f"{have.owner or have.key.stack}/captured/{have.key.name}"
        root = self._artifacts.uri(key) + "/"
        hours: dict[str, list[str]] = {}
        for uri in self._artifacts.list(key):
            variant, _, rest = uri.removeprefix(root).partition("/")
            if variant and uri.endswith(".jsonl") and _overlaps(rest, window):
                hours.setdefault(rest.rpartition("/")[0], []).append(uri)
        for hour in sorted(hours):
            records = [record for uri in hours[hour] for record in self._records(uri, root)]
            yield from (each for each in sorted(records, key=lambda each: each.time) if _inside(each, window))

    def _records(self, uri: str, root: str) -> Iterator[Captured]:
        variant = uri.removeprefix(root).partition("/")[0]
        with self._artifacts.open(uri) as file:
            for line in file.read().splitlines():
                if line.strip():
                    yield parse(json.loads(line), variant)

    def _streams(self, group: str, prefix: str | None) -> list[str]:
        logs, asked = self._account.clients["logs"], {"logGroupName": group}
        asked |= {"logStreamNamePrefix": prefix} if prefix else {}
        found = self._call.find(
            "DescribeLogStreams", lambda: [*pages(logs, "describe_log_streams", "logStreams", **asked)]
        )
        return [each["logStreamName"] for each in found or ()]

    def _events(self, group: str, stream: str, token: str | None) -> tuple[list[Mapping[str, Any]], str]:
        """All that was written since; the token stays the same once nothing is left to read."""
        logs, found = self._account.clients["logs"], []
        while True:
            asked = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
            asked |= {"nextToken": token} if token else {}
            page = self._call.read("GetLogEvents", partial(logs.get_log_events, **asked))
            found += page["events"]
            if page["nextForwardToken"] == token or not page["events"]:
                return found, page["nextForwardToken"]
            token = page["nextForwardToken"]

    def _points(self, metric: str, statistic: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        cloudwatch = self._account.clients["cloudwatch"]
        wanted = {"Namespace": NAMESPACE, "MetricName": metric, "Statistics": [statistic], **asked}
        answer = self._call.read("GetMetricStatistics", lambda: cloudwatch.get_metric_statistics(**wanted))
        points: list[dict[str, Any]] = answer["Datapoints"]
        return points


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _overlaps(path: str, window: Window) -> bool:
    """Whether the hour of ``yyyy/mm/dd/hh/file`` has a part in the window; a request may end in the next hour."""
    hour = datetime.strptime("/".join(path.split("/")[:4]), "%Y/%m/%d/%H").replace(tzinfo=UTC).timestamp()
    return (window.start is None or hour + 2 * 3600 > window.start) and (window.end is None or hour <= window.end)


def _inside(record: Captured, window: Window) -> bool:
    """SageMaker says the second of a request and no more: one of the second in which the window begins is inside."""
    moment = datetime.fromisoformat(record.time).timestamp()
    return (window.start is None or moment >= math.floor(window.start)) and (window.end is None or moment < window.end)
