"""Vertex AI's own monitoring of an endpoint, where ``options.vertex.monitoring`` asks for it.

A ModelDeploymentMonitoringJob names the deployed models that it watches and cannot be changed while it waits for the
first traffic (Google's own system test; shared facts, vertex.md §6): one that differs is deleted, then made anew. The
service makes its name; ours, which covers all that it says, stands in the label ``cloudml-id``. An endpoint that has
or had one carries a label, so that nobody looks for one at any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudml import specs
from cloudml.spi import Call, Effect, Goal, Later, Repeat
from cloudml.states import Part, Phase
from cloudml_vertex.options import Monitoring
from cloudml_vertex.wire import Wire

KIND = "monitoring"
MARK = {"cloudml-monitored": "yes"}  # a label of the endpoint
FAILED = ("JOB_STATE_FAILED", "JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED")
PAUSED = "JOB_STATE_PAUSED"


class Monitors:
    """The monitoring jobs of endpoints."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def parts(self, endpoint: Mapping[str, Any] | None) -> tuple[Part, ...]:
        """Those of an endpoint, oldest first."""
        if endpoint is None or not MARK.items() <= endpoint.get("labels", {}).items():
            return ()
        name = endpoint["name"].rpartition("/")[2]
        filter = f'labels.cloudml-kind="{KIND}" AND labels.cloudml-name="{name}"'
        found = self._wire.items(
            "ListModelDeploymentMonitoringJobs", {"parent": self._wire.place.name, "filter": filter}
        )
        return tuple(_part(row) for row in sorted(found, key=lambda row: (row["createTime"], row["name"])))

    def labels(self, wanted: Monitoring | None) -> dict[str, str]:
        """What the endpoint carries."""
        return MARK if wanted else {}

    def render(
        self, goal: Goal[specs.Endpoint], wanted: Monitoring | None, there: Sequence[Part], ids: Sequence[str]
    ) -> Iterator[Call]:
        """``ids`` are the deployed models that are to be watched."""
        mark = specs.hash8([wanted.model_dump(mode="json", exclude={"paused"}), sorted(ids)]) if wanted else ""
        same = [part for part in there if part.name == mark and not part.phase.failed]
        for part in there:
            if part not in same[:1]:
                yield _delete(part, "it is not what is to be watched")
        if wanted and not same:
            document = self._document(goal, wanted, mark, ids)
            target, why = f"{goal.key.name}-{mark}", "nothing watches it"
            yield Call("CreateModelDeploymentMonitoringJob", target, document, why, repeat=Repeat.GUARDED)
        if wanted and wanted.paused != bool(same and same[0].facts["paused"]):
            yield _turn(same[0].id if same else Later("monitoring job"), wanted.paused)

    def _document(
        self, goal: Goal[specs.Endpoint], wanted: Monitoring, mark: str, ids: Sequence[str]
    ) -> dict[str, Any]:
        own = {"cloudml-kind": KIND, "cloudml-id": mark}
        lasting = {name: text for name, text in goal.labels.items() if name not in ("cloudml-hash", "cloudml-prev")}
        job: dict[str, Any] = {
            "displayName": f"{goal.key.name}-{mark}",
            "endpoint": self._wire.place.endpoint(goal.key.name),
            "labels": {**lasting, **own},
            "modelDeploymentMonitoringObjectiveConfigs": [
                {"deployedModelId": id, "objectiveConfig": _objective(wanted)} for id in sorted(ids)
            ],
            "modelDeploymentMonitoringScheduleConfig": {"monitorInterval": f"{wanted.interval:g}s"},
            "loggingSamplingStrategy": {"randomSampleConfig": {"sampleRate": wanted.sample}},
        }
        if wanted.emails:
            job["modelMonitoringAlertConfig"] = {"emailAlertConfig": {"userEmails": list(wanted.emails)}}
        if wanted.instance_schema:
            job["analysisInstanceSchemaUri"] = wanted.instance_schema
        return {"parent": self._wire.place.name, "modelDeploymentMonitoringJob": job}


def deletions(parts: Sequence[Part]) -> Iterator[Call]:
    """For an endpoint that goes."""
    for part in parts:
        yield _delete(part, "its endpoint is not wanted")


def _objective(wanted: Monitoring) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if wanted.drift or not wanted.skew:
        found["predictionDriftDetectionConfig"] = _thresholds("driftThresholds", wanted.drift)
    if wanted.skew:
        found["trainingPredictionSkewDetectionConfig"] = _thresholds("skewThresholds", wanted.skew)
    if wanted.training:
        source = {"dataFormat": "csv", "gcsSource": {"uris": [wanted.training]}}
        found["trainingDataset"] = {**source, **({"targetField": wanted.target} if wanted.target else {})}
    return found


def _thresholds(field: str, values: Mapping[str, float]) -> dict[str, Any]:
    return {field: {feature: {"value": value} for feature, value in values.items()}} if values else {}


def _part(row: Mapping[str, Any]) -> Part:
    """One that waits for traffic is as ready as one that runs."""
    state = row.get("state", "")
    phase = Phase.FAILED if state in FAILED else Phase.READY
    return Part(KIND, row["labels"]["cloudml-id"], row["name"], phase, facts={"paused": state == PAUSED})


def _delete(part: Part, why: str) -> Call:
    return Call("DeleteModelDeploymentMonitoringJob", part.id, {"name": part.id}, why, Effect.DELETE)


def _turn(name: str | Later, paused: bool) -> Call:
    if paused:
        return Call("PauseModelDeploymentMonitoringJob", str(name), {"name": name}, "it is to rest", Effect.UPDATE)
    return Call("ResumeModelDeploymentMonitoringJob", str(name), {"name": name}, "it is to go on", Effect.UPDATE)
