"""Vertex AI's own monitoring of an endpoint, asked for by options: planned, made, paused, made anew, gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from vertex_requests import PLACE, STACK, check, render
from vertex_rigs import rig_over
from vertex_wire import Api

from cloudml.emulation.running import Running
from cloudml.errors import ConfigError
from cloudml.specs import Endpoint
from cloudml.testing.conformance import Process
from cloudml.testing.conformance.rig import Content, matches
from cloudml.testing.conformance.scenarios import ENDPOINT, registered

WATCHED = {"drift": {"amount": 0.2}, "interval": "2h"}


def watched(content: Content, **monitoring: Any) -> Endpoint:
    return Endpoint(model=content.reference, options={"vertex": {"monitoring": {**WATCHED, **monitoring}}})


def document(**monitoring: Any) -> dict[str, Any]:
    """The ``modelDeploymentMonitoringJob`` of an endpoint."""
    want = Endpoint(model="fraud:1a2b3c4d", options={"vertex": {"monitoring": monitoring}})
    *_, call = [each for each in render("endpoint", "fraud-api", want, image="i") if "Monitoring" in each.operation]
    check(call)
    found: dict[str, Any] = call.document["modelDeploymentMonitoringJob"]
    return found


def test_all_that_can_be_said() -> None:
    made = document(
        interval="3h",
        sample=0.5,
        drift={"amount": 0.2},
        skew={"age": 0.1},
        training="gs://acme/train.csv",
        target="fraud",
        emails=["a@acme.example"],
        instance_schema="gs://acme/schema.yaml",
    )
    (config,) = made["modelDeploymentMonitoringObjectiveConfigs"]
    source = {"dataFormat": "csv", "gcsSource": {"uris": ["gs://acme/train.csv"]}, "targetField": "fraud"}
    assert config["objectiveConfig"] == {
        "predictionDriftDetectionConfig": {"driftThresholds": {"amount": {"value": 0.2}}},
        "trainingPredictionSkewDetectionConfig": {"skewThresholds": {"age": {"value": 0.1}}},
        "trainingDataset": source,
    }
    assert made["endpoint"] == PLACE.endpoint("fraud-api")
    assert made["modelDeploymentMonitoringScheduleConfig"] == {"monitorInterval": "10800s"}
    assert made["loggingSamplingStrategy"] == {"randomSampleConfig": {"sampleRate": 0.5}}
    assert made["modelMonitoringAlertConfig"] == {"emailAlertConfig": {"userEmails": ["a@acme.example"]}}
    assert made["analysisInstanceSchemaUri"] == "gs://acme/schema.yaml"
    assert (made["labels"]["cloudml-stack"], made["labels"]["cloudml-kind"]) == (STACK, "monitoring")


def test_nothing_said_is_drift_by_the_service_s_own_thresholds() -> None:
    (config,) = document()["modelDeploymentMonitoringObjectiveConfigs"]
    assert config["objectiveConfig"] == {"predictionDriftDetectionConfig": {}}


@pytest.mark.parametrize(
    ("monitoring", "said"),
    [
        ({"skew": {"age": 0.1}}, "skew needs 'training'"),
        ({"interval": "90m"}, "whole hours"),
        ({"interval": "10m"}, "interval"),
        ({"drift": {"age": 2}}, "drift.age"),
        ({"training": "train.csv"}, "training"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(monitoring: dict[str, Any], said: str) -> None:
    from cloudml.specs import make
    from cloudml_vertex.options import EndpointOptions

    with pytest.raises(ConfigError, match=said):
        make(EndpointOptions, "endpoint", {"monitoring": monitoring})


@pytest.fixture(params=["grpc", "rest"])
def process(running: Running, tmp_path: Path, request: Any) -> Process:
    transport: Literal["grpc", "rest"] = request.param
    made = rig_over(transport, tmp_path).process()
    registered(made)
    return made


def jobs(process: Process) -> Sequence[dict[str, Any]]:
    api = Api(process.rig.config.project, "grpc")
    found = api.call("JobService/ListModelDeploymentMonitoringJobs", {"parent": api.place})
    rows: Sequence[dict[str, Any]] = found.get("modelDeploymentMonitoringJobs", [])
    return rows


def applied(process: Process, want: Endpoint) -> list[str]:
    """What was sent about monitoring: it is what was planned, and afterwards nothing is planned."""
    planned, before = process.plan("endpoint", ENDPOINT, want), len(process.sent)
    process.apply("endpoint", ENDPOINT, want)
    sent = process.sent[before:]
    assert [matches(*pair) for pair in zip(planned, sent, strict=True)] == [True] * len(sent)
    assert process.plan("endpoint", ENDPOINT, want) == []
    return [call.operation.partition("ModelDep")[0] for call in sent if "Monitoring" in call.operation]


def test_it_is_planned_made_paused_made_anew_and_gone(process: Process) -> None:
    first, second = process.rig.models
    assert applied(process, watched(first)) == ["Create"]
    (job,) = jobs(process)
    assert job["state"] == "JOB_STATE_PENDING", "until somebody asks"
    assert job["modelDeploymentMonitoringScheduleConfig"] == {"monitorInterval": "7200s"}
    process.ask(ENDPOINT)
    assert jobs(process)[0]["state"] == "JOB_STATE_RUNNING"
    assert applied(process, watched(first, paused=True)) == ["Pause"]
    assert jobs(process)[0]["state"] == "JOB_STATE_PAUSED"
    assert applied(process, watched(first)) == ["Resume"]
    assert applied(process, watched(first, sample=0.5)) == ["Delete", "Create"]
    (changed,) = jobs(process)
    assert changed["name"] != job["name"]
    assert applied(process, watched(second, sample=0.5, paused=True)) == ["Delete", "Create", "Pause"]
    (moved,) = jobs(process)
    (watching,) = (each["deployedModelId"] for each in moved["modelDeploymentMonitoringObjectiveConfigs"])
    have = process.state("endpoint", ENDPOINT)
    assert have
    assert [part.id for part in have.of("deployment")] == [watching]
    assert applied(process, Endpoint(model=second.reference)) == ["Delete"]
    assert jobs(process) == []


def test_it_goes_with_its_endpoint(process: Process) -> None:
    assert applied(process, watched(process.rig.models[0])) == ["Create"]
    process.delete("endpoint", ENDPOINT)
    assert jobs(process) == []


def test_nobody_asks_for_it_where_it_is_not_wanted(process: Process, running: Running) -> None:
    """One that somebody else made for an endpoint of ours is theirs."""
    applied(process, Endpoint(model=process.rig.models[0].reference))
    api = Api(process.rig.config.project, "grpc")
    have = process.state("endpoint", ENDPOINT)
    assert have
    theirs = {
        "displayName": "theirs",
        "endpoint": have.id,
        "modelDeploymentMonitoringObjectiveConfigs": [{"deployedModelId": have.of("deployment")[0].id}],
        "modelDeploymentMonitoringScheduleConfig": {"monitorInterval": "3600s"},
        "loggingSamplingStrategy": {"randomSampleConfig": {"sampleRate": 1}},
    }
    asked = {"parent": api.place, "modelDeploymentMonitoringJob": theirs}
    api.call("JobService/CreateModelDeploymentMonitoringJob", asked)
    assert applied(process, watched(process.rig.models[0])) == ["Create"]
    assert applied(process, Endpoint(model=process.rig.models[0].reference)) == ["Delete"]
    assert [job["displayName"] for job in jobs(process)] == ["theirs"]
