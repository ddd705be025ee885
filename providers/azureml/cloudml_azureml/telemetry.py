"""Logs of runs and deployments, and the requests that the data collector kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from azure.core import PipelineClient
from azure.core.rest import HttpRequest

from cloudml import payloads
from cloudml.objects import Objects
from cloudml.spi import Caller, Window
from cloudml.states import Captured, LogLine, Sample, State
from cloudml_azureml.history import History
from cloudml_azureml.places import COLLECTED
from cloudml_azureml.wire import Wire

LONG = 86400.0  # seconds that are looked back, and that are told by the minute
LOG = "user_logs/std_log"  # of each node: std_log.txt, std_log_process_1.txt …
TAIL = 1000  # lines of a deployment's log that one request returns
SEEN = 5  # lines by which the end of what was read is found again


class AzureTelemetry:
    """A log's cursor is a JSON object: bytes of each file of a run, the last lines of each deployment."""

    def __init__(self, wire: Wire, artifacts: Objects, history: History, caller: Caller) -> None:
        self._wire = wire
        self._artifacts = artifacts
        self._history = history
        self._call = caller
        self._plain: Any = PipelineClient("https://blob.core.windows.net", policies=[])

    def logs(self, have: State, cursor: str | None) -> tuple[Sequence[LogLine], str]:
        seen: dict[str, Any] = json.loads(cursor) if cursor else {}
        lines = self._of_run(have, seen) if have.key.kind == "job" else self._of_endpoint(have, seen)
        return lines, json.dumps(seen, sort_keys=True)

    def metrics(self, have: State, window: Window) -> Iterator[Sample]:
        """Of each deployment, once a minute, in a long window once an hour: ``requests``, ``errors``, mean ``latency``.

        Azure Monitor has them some minutes later.
        """
        end = window.end if window.end is not None else time.time()
        start = window.start if window.start is not None else end - LONG
        grain = 60 if end - start <= LONG else 3600
        asked = {"timespan": f"{_moment(start)}/{_moment(end)}", "interval": f"PT{grain // 60}M"}
        names = {part.id: part.name for part in have.of("deployment")}
        for metric, split, told in METRICS:
            filter = " and ".join(f"{each} eq '*'" for each in split)
            query = {**asked, "metricnames": metric, "aggregation": "Average", "$filter": filter}
            found = self._wire.find(f"onlineEndpoints/{have.id}/providers/microsoft.insights/metrics", **query) or {}
            for series in (each for value in found.get("value", ()) for each in value["timeseries"]):
                yield from told(series, names, grain)

    def captured(self, have: State, window: Window) -> Iterator[Captured]:
        """Requests with their answers, oldest first."""
        for part in have.of("deployment"):
            root = f"{COLLECTED}/{have.id}/{part.id}"
            answers = {event["correlationid"]: event for event in self._events(f"{root}/response")}
            for event in sorted(self._events(f"{root}/request"), key=lambda each: str(each["time"])):
                if _inside(event["time"], window):
                    yield _captured(event, answers.get(event["correlationid"]), part.name)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _of_run(self, have: State, seen: dict[str, Any]) -> Sequence[LogLine]:
        """Run history names the files; each is read from where the last look ended."""
        found: list[LogLine] = []
        for name, url in sorted((self._history.details(have.id).get("logFiles") or {}).items()):
            if name.startswith(LOG):
                body = self._call.read("GET log", lambda url=url: self._body(url))  # type: ignore[misc]
                new = body[seen.get(name, 0) :]
                whole = new if have.phase.settled else new[: new.rfind(b"\n") + 1]
                seen[name] = seen.get(name, 0) + len(whole)
                found += [LogLine(line, source=name) for line in whole.decode(errors="replace").splitlines()]
        return found

    def _of_endpoint(self, have: State, seen: dict[str, Any]) -> Sequence[LogLine]:
        found: list[LogLine] = []
        for part in have.of("deployment"):
            path = f"onlineEndpoints/{have.id}/deployments/{part.id}/getLogs"
            lines = str(self._wire.read(path, {"tail": TAIL}).get("content") or "").splitlines()
            found += [LogLine(line, source=part.id) for line in _after(lines, seen.get(part.id, []))]
            seen[part.id] = lines[-SEEN:]
        return found

    def _body(self, url: str) -> bytes:
        """A log file by its signed address; one that is not written yet is empty."""
        response = self._plain.send_request(HttpRequest("GET", url))
        if response.status_code == 404:
            return b""
        response.raise_for_status()
        return bytes(response.content)

    def _events(self, key: str) -> Iterator[dict[str, Any]]:
        for uri in self._artifacts.list(key):
            if uri.endswith(".jsonl"):
                with self._artifacts.open(uri) as file:
                    yield from (json.loads(line) for line in file if line.endswith(b"\n"))


def _counted(series: Mapping[str, Any], names: Mapping[str, str], grain: int) -> Iterator[Sample]:
    """Requests of one class of statuses: how many a minute becomes how many there were."""
    about = _dimensions(series)
    failed = about.get("statuscodeclass") != "2xx"
    for point in series["data"]:
        many, at = (point.get("average") or 0.0) * grain / 60, datetime.fromisoformat(point["timeStamp"]).timestamp()
        labels = {"deployment": names.get(about["deployment"], about["deployment"])}
        yield Sample("requests", many, at, labels)
        if failed:
            yield Sample("errors", many, at, labels)


def _timed(series: Mapping[str, Any], names: Mapping[str, str], _grain: int) -> Iterator[Sample]:
    name = _dimensions(series)["deployment"]
    for point in series["data"]:
        if point.get("average") is not None:
            at = datetime.fromisoformat(point["timeStamp"]).timestamp()
            yield Sample("latency", point["average"], at, {"deployment": names.get(name, name)})


def _dimensions(series: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]["value"].lower(): each["value"] for each in series["metadatavalues"]}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Azure Monitor's metrics of workspaces/onlineEndpoints, the dimensions that they are split by, and what they tell.
METRICS: tuple[
    tuple[str, tuple[str, ...], Callable[[Mapping[str, Any], Mapping[str, str], int], Iterator[Sample]]], ...
]
METRICS = (
    ("RequestsPerMinute", ("deployment", "statusCodeClass"), _counted),
    ("RequestLatency", ("deployment",), _timed),
)


def _captured(event: Mapping[str, Any], answer: Mapping[str, Any] | None, deployment: str) -> Captured:
    inputs, names = payloads.of_json(event["data"])
    outputs, _ = payloads.of_json(answer["data"]) if answer else ([], None)
    return Captured(event["correlationid"], str(event["time"]), inputs, outputs, names, deployment)


def _after(lines: Sequence[str], last: Sequence[str]) -> Sequence[str]:
    """What comes after the lines that were the last; all of it if they have gone by."""
    for end in range(len(lines), len(last) - 1, -1):
        if last and list(lines[end - len(last) : end]) == list(last):
            return lines[end:]
    return lines


def _inside(time: str, window: Window) -> bool:
    moment = datetime.fromisoformat(time).timestamp()
    return (window.start is None or moment >= window.start) and (window.end is None or moment < window.end)
