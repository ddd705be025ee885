"""Azure Monitor's metrics of online endpoints: how many requests a minute, and how long they took.

Names, units and dimensions by Microsoft's page of supported metrics for workspaces/onlineEndpoints; the answer's shape
by the REST reference of Metrics - List. A dimension that the filter names with ``eq '*'`` splits a metric into series.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Document, Refused
from cloudml_azureml.emulator.arm import Call, Served
from cloudml_azureml.emulator.durations import seconds
from cloudml_azureml.emulator.store import Workspace

NAMESPACE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
UNITS = {"RequestsPerMinute": "Count", "RequestLatency": "Milliseconds"}
DIMENSIONS = {
    "RequestsPerMinute": ("deployment", "statusCode", "statusCodeClass", "modelStatusCode"),
    "RequestLatency": ("deployment",),
}
CLAUSE = re.compile(r"\s*(\w+)\s+(eq|ne)\s+'([^']*)'\s*")
GRAIN = 60  # seconds
MOST = 10_000  # requests of an endpoint that are remembered


@dataclass(frozen=True)
class Seen:
    """One request that was answered."""

    at: float
    deployment: str
    status: int
    model: str  # the model's own status, where it is not the answer's
    took: float

    def dimension(self, name: str) -> str:
        said = {"deployment": self.deployment, "statusCode": str(self.status), "modelStatusCode": self.model}
        return said.get(name, f"{self.status // 100}xx")


class Meters:
    """What was asked of the endpoints of one emulator."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[Seen]] = {}
        self._lock = threading.Lock()

    def count(self, workspace: Workspace, endpoint: str, deployment: str, answer: Answer, took: float) -> None:
        """One answer, and the seconds that it took."""
        model = answer.headers.get("ms-azureml-model-error-statuscode", str(answer.status))
        seen = Seen(time.time(), deployment, answer.status, model, took)
        with self._lock:
            known = self._seen.setdefault((workspace.guid, endpoint.lower()), [])
            known.append(seen)
            del known[:-MOST]

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()

    def routes(self) -> Sequence[Served]:
        return (Served("GET", "onlineEndpoints/{endpoint}/providers/microsoft.insights/metrics", self.read),)

    def read(self, call: Call) -> Answer:
        """What was measured in a span of time. Raises Refused."""
        endpoint = call.workspace.get("onlineEndpoints", call.names["endpoint"])
        id, query = call.workspace.identify(endpoint), call.query
        names = query.get("metricnames", "RequestsPerMinute").split(",")
        for name in names:
            if name not in UNITS:
                known = ", ".join(sorted(UNITS))
                raise _bad(f"Failed to find metric configuration for metric: {name}. Valid metrics: {known}")
        start, end = _span(query.get("timespan", ""))
        grain = int(seconds(query.get("interval", "PT1M")))
        if grain < GRAIN or grain % GRAIN:
            raise _bad(f"interval {query['interval']} is not a whole number of minutes")
        with self._lock:
            answered = tuple(self._seen.get((call.workspace.guid, endpoint.name.lower()), ()))
        seen = [each for each in answered if start // grain * grain <= each.at // grain * grain < end]  # whole grains
        value = [_metric(id, name, seen, query.get("$filter", ""), grain) for name in names]
        about = {"cost": 0, "timespan": query.get("timespan"), "interval": query.get("interval", "PT1M")}
        return Answer(200, {**about, "namespace": NAMESPACE, "resourceregion": call.workspace.region, "value": value})


def _metric(id: str, name: str, seen: Sequence[Seen], filter: str, grain: int) -> Document:
    split, kept = _filtered(name, filter, seen)
    series: dict[tuple[str, ...], list[Seen]] = {}
    for each in kept:
        series.setdefault(tuple(each.dimension(dimension) for dimension in split), []).append(each)
    return {
        "id": f"{id}/providers/Microsoft.Insights/metrics/{name}",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": name, "localizedValue": name},
        "unit": UNITS[name],
        "timeseries": [
            {
                "metadatavalues": [
                    {"name": {"value": dimension.lower(), "localizedValue": dimension.lower()}, "value": said}
                    for dimension, said in zip(split, key, strict=True)
                ],
                "data": _points(name, found, grain),
            }
            for key, found in sorted(series.items())
        ],
        "errorCode": "Success",
    }


def _points(name: str, seen: Sequence[Seen], grain: int) -> list[Document]:
    """One a grain; a minute without requests is left out, as a gap."""
    spans: dict[int, list[Seen]] = {}
    for each in seen:
        spans.setdefault(int(each.at // grain) * grain, []).append(each)
    points = []
    for at, found in sorted(spans.items()):
        many = len(found) * GRAIN / grain  # a minute
        average = many if name == "RequestsPerMinute" else 1000 * sum(each.took for each in found) / len(found)
        points.append({"timeStamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "average": average})
    return points


def _filtered(name: str, filter: str, seen: Sequence[Seen]) -> tuple[list[str], list[Seen]]:
    """The dimensions by which to split, and what is left of the requests."""
    split, kept = [], list(seen)
    for clause in filter.split(" and ") if filter else ():
        match = CLAUSE.fullmatch(clause)
        known: Mapping[str, str] = {each.lower(): each for each in DIMENSIONS[name]}
        dimension = known.get(match[1].lower()) if match else None
        if match is None or dimension is None:
            raise _bad(f"The filter '{clause}' is not one of the metric's dimensions: {', '.join(DIMENSIONS[name])}")
        if match[3] == "*":
            split.append(dimension)
        else:
            kept = [each for each in kept if (each.dimension(dimension) == match[3]) == (match[2] == "eq")]
    return split, kept


def _span(text: str) -> tuple[float, float]:
    """An hour until now unless it is said."""
    if not text:
        now = datetime.now(UTC)
        return (now - timedelta(hours=1)).timestamp(), now.timestamp() + 1
    try:
        start, end = (datetime.fromisoformat(each.replace("Z", "+00:00")) for each in text.split("/"))
    except ValueError as bad:
        raise _bad(f"timespan '{text}' is not START/END") from bad
    return start.timestamp(), end.timestamp()


def _bad(message: str) -> Refused:
    return Refused(400, "BadRequest", message)
