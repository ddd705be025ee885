"""Golden requests: every neutral field as Azure ML takes it, checked against the service's models by api-version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from azure_requests import IMAGE, PATHS, RUN, STACK, STORE, W, at, kinds, of, problems, reference, render
from pydantic import BaseModel

from cloudml import bundle, specs
from cloudml.capabilities import NEEDS
from cloudml.errors import ConfigError, Unsupported
from cloudml.labels import present
from cloudml.specs import Endpoint, Model, Monitor, TrainingJob, spec_hash
from cloudml.spi import Call, Effect, Later, No, Secret, spec_key
from cloudml.states import Key, Part, Phase, State
from cloudml_azureml.places import endpoint as native_name
from cloudml_azureml.plugin import plugin

JOB: dict[str, Any] = {"command": "python train.py"}
ENDPOINT: dict[str, Any] = {
    "deployments": {"blue": {"model": "fraud:1a2b3c4d"}, "green": {"model": "fraud:5e6f7a8b"}},
    "traffic": {"blue": 100},
}
Row = tuple[str, Mapping[str, Any], str, Any]
# The neutral field, what is asked for, where it stands in the native request, and what stands there.
JOBS: tuple[Row, ...] = (
    ("source", {"source": "sha256:aa"}, "inputs.source.uri", f"{STORE}/content/aa"),
    ("inputs", {"inputs": {"a": "sha256:bb/a.csv"}}, "inputs.input_a.uri", f"{STORE}/content/bb/a.csv"),
    ("inputs", {"inputs": {"a": "sha256:bb/a.csv"}}, "inputs.input_a.jobInputType", "uri_file"),
    ("inputs", {"inputs": {"a": "sha256:bb"}}, "inputs.input_a.jobInputType", "uri_folder"),
    ("inputs", {"inputs": {"a": f"{PATHS}theirs/"}}, "inputs.input_a.uri", f"{PATHS}theirs/"),
    ("env", {"env": {"A": "b"}}, "environmentVariables.A", "b"),
    ("env", {"env": {"A": "${secret:env:KEY}"}}, "environmentVariables.A", Secret("env:KEY")),
    ("resources.cpu", {"resources": {"cpu": 6}}, "resources.instanceType", "Standard_D8s_v3"),
    ("resources.memory", {"resources": {"memory": "12Gi"}}, "resources.instanceType", "Standard_D4s_v3"),
    ("resources.gpu", {"resources": {"gpu": 4}}, "resources.instanceType", "Standard_NC64as_T4_v3"),
    ("resources.gpu_type", {"resources": {"gpu": 1, "gpu_type": "A100"}}, "resources.instanceType",
     "Standard_NC24ads_A100_v4"),
    ("resources.shm", {"resources": {"shm": "2Gi"}}, "resources.shmSize", "2048m"),
    ("nodes", {"nodes": 3}, "resources.instanceCount", 3),
    ("nodes", {"nodes": 3}, "distribution.distributionType", "PyTorch"),
    ("spot", {"spot": True}, "queueSettings.jobTier", "Spot"),
    ("timeout", {"timeout": "2h"}, "limits.timeout", "PT7200S"),
    ("labels", {"labels": {"team": "risk"}}, "tags.team", "risk"),
    ("options", {"options": {"azureml": {"experiment": "e"}}}, "experimentName", "e"),
    ("options", {"options": {"azureml": {"instance_type": "Standard_E4s_v3"}}}, "resources.instanceType",
     "Standard_E4s_v3"),
    ("options", {"options": {"azureml": {"compute": "big"}}}, "computeId", f"{W}/computes/big"),
    ("options", {"nodes": 2, "options": {"azureml": {"distribution": "Mpi"}}}, "distribution.distributionType", "Mpi"),
    ("patch", {"patch": {"azureml": {"description": "d"}}}, "description", "d"),
)  # fmt: skip
MODELS: tuple[Row, ...] = (
    ("path", {"path": "azureml://datastores/theirs/paths/m"}, "modelUri", "azureml://datastores/theirs/paths/m"),
    ("approval", {"approval": "approved"}, "tags.cloudml-approval", "approved"),
    ("description", {"description": "d"}, "description", "d"),
    ("patch", {"patch": {"azureml": {"stage": "Production"}}}, "stage", "Production"),
)
SERVERS: tuple[Row, ...] = (
    ("deployments.model", {}, "properties.model", f"{W}/models/fraud/versions/3"),
    ("deployments.env", {"env": {"A": "b"}}, "properties.environmentVariables.A", "b"),
    ("deployments.resources.cpu", {"resources": {"cpu": 6}}, "properties.instanceType", "Standard_D8as_v4"),
    ("deployments.resources.memory", {"resources": {"memory": "12Gi"}}, "properties.instanceType", "Standard_D4as_v4"),
    ("deployments.resources.gpu", {"resources": {"gpu": 1}}, "properties.instanceType", "Standard_NC4as_T4_v3"),
    ("deployments.resources.gpu_type", {"resources": {"gpu": 1, "gpu_type": "H100"}}, "properties.instanceType",
     "Standard_NC40ads_H100_v5"),
    ("deployments.scale.min", {"scale": {"min": 3, "max": 3}}, "sku", {"name": "Default", "capacity": 3}),
    ("capture", {"capture": 0.5}, "properties.dataCollector.collections.request",
     {"dataCollectionMode": "Enabled", "samplingRate": 0.5}),
    ("timeout", {"timeout": 90}, "properties.requestSettings.requestTimeout", "PT90S"),
    ("options", {"options": {"azureml": {"concurrency": 4}}},
     "properties.requestSettings.maxConcurrentRequestsPerInstance", 4),
    ("options", {"options": {"azureml": {"instance_type": "Standard_E4s_v3"}}}, "properties.instanceType",
     "Standard_E4s_v3"),
)  # fmt: skip
WATCH = {"endpoint": "fraud-api", "schedule": "0 3 * * 1"}
# What changes no request by itself: the runtime reads it from the stored spec, or the core keeps it.
BY_RUNTIME = {"command", "params", "metrics"}
ELSEWHERE: Mapping[type[BaseModel], Mapping[str, str]] = {
    TrainingJob: dict.fromkeys(BY_RUNTIME, "the stored spec"),
    Model: {
        "sample_input": "the sidecar",
        "baseline": "the sidecar",
        "gates": "the core",
        "options": "there are none for models: refused",
    },
    Endpoint: {
        "model": "short for one deployment",
        "monitor": "a resource of its own",
        "patch": "each deployment's own",
    },
    Monitor: {},
}
# By a test of its own below.
APART: Mapping[type[BaseModel], set[str]] = {
    TrainingJob: {"image", "resources"},
    Model: {"from", "alias", "labels"},
    Endpoint: {"traffic", "mirror", "labels", "deployments", "deployments.image", "deployments.labels",
               "deployments.patch", "deployments.options", "deployments.resources", "deployments.resources.disk",
               "deployments.resources.shm", "deployments.scale", "deployments.scale.max",
               "deployments.scale.metric", "deployments.scale.target"},
    Monitor: {"endpoint", "drift", "min_samples", "window", "schedule"},
}  # fmt: skip


def job(**more: Any) -> Mapping[str, Any]:
    """The properties of a run's job."""
    calls = render("job", RUN, TrainingJob.model_validate(JOB | more))
    found: Mapping[str, Any] = of(calls, "PUT jobs/").document["properties"]
    return found


def served(**more: Any) -> list[Call]:
    return render("endpoint", "fraud-api", Endpoint.model_validate(ENDPOINT | more))


def child(**more: Any) -> Mapping[str, Any]:
    """The first deployment's request."""
    calls = [call for call in served(**more) if "/deployments/blue-" in call.operation]
    assert len(calls) == 1
    return calls[0].document


@pytest.mark.parametrize(("field", "asked", "place", "found"), JOBS)
def test_a_field_of_a_job(field: str, asked: Mapping[str, Any], place: str, found: Any) -> None:
    assert at(job(**asked), place) == found
    assert at(job(), place) != found, "it is not there unless it is asked for"


@pytest.mark.parametrize(("field", "asked", "place", "found"), MODELS)
def test_a_field_of_a_version(field: str, asked: Mapping[str, Any], place: str, found: Any) -> None:
    def version(**more: Any) -> Mapping[str, Any]:
        want = Model.model_validate({"path": "sha256:aa"} | more)
        made: Mapping[str, Any] = of(render("model", "fraud", want), "PUT models/fraud/versions/1").document
        return made["properties"]  # type: ignore[no-any-return]

    assert at(version(**asked), place) == found
    assert at(version(), place) != found


@pytest.mark.parametrize(("field", "asked", "place", "found"), SERVERS)
def test_a_field_of_a_deployment(field: str, asked: Mapping[str, Any], place: str, found: Any) -> None:
    assert at(child(**asked), place) == found
    assert not asked or at(child(), place) != found


def test_no_neutral_field_is_without_a_golden_request_or_a_refusal() -> None:
    rows = {TrainingJob: JOBS, Model: MODELS, Endpoint: SERVERS, Monitor: ()}
    for kind, golden in rows.items():
        fields = {*_fields(kind)}
        shown = {field for field, *_ in golden} | ELSEWHERE[kind].keys() | APART[kind] | {*_refused(kind)}
        assert fields - shown == set(), f"{kind.__name__}: nothing shows what becomes of these"
        assert shown - fields == set(), f"{kind.__name__}: there are no such fields"


def _fields(kind: type[BaseModel], before: str = "") -> Iterator[str]:
    """A spec's fields as users write them, those inside resources, scale and deployments too."""
    inside = {"resources": specs.Resources, "scale": specs.Scale, "deployments": specs.Deployment}
    for name, field in kind.model_fields.items():
        if kind is Endpoint and name in specs.SHARED:
            continue  # short for every deployment's own
        written = before + (field.alias or name)
        yield written
        if name in inside:
            yield from _fields(inside[name], f"{written}.")


def _refused(kind: type[BaseModel]) -> Iterator[str]:
    """The fields that the provider declares that it cannot honour at all."""
    named = {
        "jobs.retries": ("retries",),
        "jobs.disk": ("resources.disk",),
        "jobs.wait_timeout": ("wait_timeout",),
        "endpoints.spot": ("deployments.spot",),
        "endpoints.redact": ("redact",),
    }
    for need in NEEDS.get(kind, ()):
        if isinstance(plugin.capabilities[need.capability], No):
            yield from named.get(need.capability.value, ())


# -- whole requests, and what takes more than one field --------------------------------------------------------------


def test_a_job() -> None:
    want = TrainingJob.model_validate(JOB | {"inputs": {"train": "sha256:bb/train.csv"}, "source": "sha256:aa"})
    environment, made = render("job", RUN, want)
    assert environment.document == {"properties": {"image": "python:3.11-slim"}}
    assert (made.operation, made.target) == (f"PUT jobs/{RUN}", f"jobs/{RUN}")
    assert made.document["properties"] == {
        "jobType": "Command",
        "displayName": RUN,
        "experimentName": "fraud-train",
        "command": f"python3 ${{{{inputs.cloudml}}}} train --id {RUN} --spec ${{{{inputs.spec}}}} "
        "--source ${{inputs.source}} --input train=${{inputs.input_train}} --output ${{outputs.run}}",
        "environmentId": f"{W}/{environment.target}",
        "environmentVariables": {"CLOUDML_PLATFORM": "azureml"},
        "inputs": {
            "cloudml": _input("uri_file", f"{PATHS}{bundle.key(STACK)}"),
            "spec": _input("uri_file", f"{PATHS}{spec_key(STACK, want)}"),
            "source": _input("uri_folder", f"{STORE}/content/aa"),
            "input_train": _input("uri_file", f"{STORE}/content/bb/train.csv"),
        },
        "outputs": {
            "run": {"jobOutputType": "uri_folder", "mode": "ReadWriteMount", "uri": f"{STORE}/runs/{RUN}"},
        },
        "limits": {"jobLimitsType": "Command", "timeout": "PT86400S"},
        "resources": {"instanceCount": 1, "instanceType": "Standard_F2s_v2"},
        "tags": {
            "cloudml-stack": STACK,
            "cloudml-kind": "job",
            "cloudml-name": "fraud-train",
            "cloudml-id": RUN,
            "cloudml-hash": spec_hash(want),
        },
    }


def _input(kind: str, uri: str) -> dict[str, str]:
    return {"jobInputType": kind, "mode": "ReadOnlyMount", "uri": uri}


@pytest.mark.parametrize("field", sorted(BY_RUNTIME))
def test_what_the_runtime_reads_is_in_the_stored_spec(field: str) -> None:
    other = {"command": "python other.py", "params": {"lr": 0.5}, "metrics": ("auc",)}[field]
    assert job(**{field: other})["inputs"]["spec"] != job()["inputs"]["spec"]


def test_another_image_is_another_environment() -> None:
    first = render("job", RUN, TrainingJob.model_validate(JOB))
    other = render("job", RUN, TrainingJob.model_validate(JOB | {"image": "acme/train:1"}))
    assert other[0].document == {"properties": {"image": "acme/train:1"}}
    assert first[0].target != other[0].target
    assert other[1].document["properties"]["environmentId"] == f"{W}/{other[0].target}"


def test_a_cluster_has_its_machines_and_says_itself_whether_they_are_spot() -> None:
    want = TrainingJob.model_validate(JOB)
    made = of(render("job", RUN, want, compute="cpu-cluster"), "PUT jobs/").document["properties"]
    assert made["computeId"] == f"{W}/computes/cpu-cluster"
    assert made["resources"] == {"instanceCount": 1}
    with pytest.raises(ConfigError, match="cluster 'cpu-cluster' decides itself whether its machines are spot"):
        render("job", RUN, want.model_copy(update={"spot": True}), compute="cpu-cluster")


def test_a_version_of_a_job_s_model_and_its_alias() -> None:
    want = Model.model_validate({"from": f"run:{RUN}", "alias": "champion", "labels": {"team": "risk"}})
    family, copy, version, alias = render("model", "fraud", want)
    labels = {"team": "risk", "cloudml-stack": STACK, "cloudml-kind": "model", "cloudml-name": "fraud"}
    labels["cloudml-id"] = "fraud"
    assert family.document == {"properties": {"tags": labels}}
    uri = f"{STORE}/versions/fraud/{spec_hash(want)}"
    assert (copy.target, copy.document) == (
        uri,
        {"source": f"{STORE}/runs/{RUN}/model", "sidecar": f"{STORE}/models/fraud/{spec_hash(want)}.json"},
    )
    assert version.document["properties"] == {
        "modelType": "custom_model",
        "modelUri": uri,
        "description": "",
        "properties": {"cloudml-hash": spec_hash(want), "cloudml-run": RUN},
        "tags": {},
    }
    assert alias.document == {"properties": {"tags": {**labels, "cloudml-alias-champion": "1"}}}


def test_an_endpoint() -> None:
    environment, parent, blue, green, traffic = served(traffic={"blue": 90, "green": 10}, labels={"team": "risk"})
    assert environment.document["properties"]["image"] == IMAGE
    assert environment.document["properties"]["inferenceConfig"]["scoringRoute"] == {
        "port": 8080,
        "path": "/invocations",
    }
    name = native_name(W, "fraud-api")
    assert parent.operation == f"PUT onlineEndpoints/{name}"
    tags = {"team": "risk", "cloudml-stack": STACK, "cloudml-kind": "endpoint", "cloudml-name": "fraud-api"}
    tags["cloudml-id"] = "fraud-api"
    assert parent.document == {
        "location": "westeurope",
        "kind": "Managed",
        "identity": {"type": "SystemAssigned"},
        "tags": tags,
        "properties": {"authMode": "Key", "traffic": {}, "mirrorTraffic": {}},
    }
    assert blue.document["properties"] == {
        "endpointComputeType": "Managed",
        "model": f"{W}/models/fraud/versions/3",
        "environmentId": f"{W}/{environment.target}",
        "environmentVariables": {
            "CLOUDML_PLATFORM": "azureml",
            "CLOUDML_MODEL_NAME": "fraud",
            "CLOUDML_MODEL_VERSION": "3",
            "CLOUDML_ENDPOINT": "fraud-api",
            "CLOUDML_DEPLOYMENT": "blue",
            "CLOUDML_SIGNATURE": "model:cloudml-sidecar.json",
        },
        "instanceType": "Standard_F2s_v2",
        "scaleSettings": {"scaleType": "Default"},
        "requestSettings": {"requestTimeout": "PT60S", "maxConcurrentRequestsPerInstance": 32},
    }
    names = [call.target.rpartition("/")[2] for call in (blue, green)]
    assert traffic.document["properties"]["traffic"] == dict(zip(names, (90, 10), strict=True))
    assert {"cloudml-hash", "team"} <= traffic.document["tags"].keys()


def test_mirrored_traffic() -> None:
    calls = served(mirror={"green": 10})
    green = next(call.target.rpartition("/")[2] for call in calls if "/deployments/green-" in call.operation)
    assert calls[-1].document["properties"]["mirrorTraffic"] == {green: 10}


def test_what_one_deployment_says_is_its_own() -> None:
    blue = {"model": "fraud:1a2b3c4d", "image": "acme/own:1", "labels": {"team": "risk"}}
    blue |= {"patch": {"azureml": {"egressPublicNetworkAccess": "Disabled"}}}
    calls = served(deployments={**ENDPOINT["deployments"], "blue": blue})
    images = [call.document["properties"]["image"] for call in calls if call.operation.startswith("PUT environments/")]
    assert images == ["acme/own:1", IMAGE]
    one, other = (call.document for call in calls if "/deployments/" in call.operation)
    assert one["properties"]["egressPublicNetworkAccess"] == "Disabled"
    assert "egressPublicNetworkAccess" not in other["properties"]
    assert (one["tags"].get("team"), other["tags"].get("team")) == ("risk", None)


@pytest.mark.parametrize(("resources", "field"), [({"disk": "50Gi"}, "disk"), ({"shm": "1Gi"}, "shm")])
def test_what_a_managed_endpoint_has_no_field_for_is_refused(resources: dict[str, str], field: str) -> None:
    with pytest.raises(ConfigError, match=rf"resources.{field}"):
        served(resources=resources)


def test_options_of_one_deployment_are_its_own() -> None:
    blue = {"model": "fraud:1a2b3c4d", "options": {"azureml": {"concurrency": 2}}}
    made = {"deployments": {**ENDPOINT["deployments"], "blue": blue}, "options": {"azureml": {"concurrency": 4}}}
    found = [
        call.document["properties"]["requestSettings"] for call in served(**made) if "/deployments/" in call.target
    ]
    assert [each["maxConcurrentRequestsPerInstance"] for each in found] == [2, 4]
    wrong = {**blue, "options": {"azureml": {"concurency": 2}}}
    with pytest.raises(ConfigError, match="there is no such field"):
        served(deployments={**ENDPOINT["deployments"], "blue": wrong})


def test_another_size_is_another_deployment() -> None:
    first, other = (
        [call.target for call in served(options=each) if "/deployments/" in call.target]
        for each in ({}, {"azureml": {"instance_type": "Standard_E4s_v3"}})
    )
    assert not {*first} & {*other}


def test_automatic_scaling_is_refused_with_a_way_out() -> None:
    with pytest.raises(Unsupported, match="rules of Azure Monitor") as refused:
        served(scale={"min": 1, "max": 3, "metric": "cpu", "target": 70})
    assert "scale.min and scale.max alike" in str(refused.value.hint)


def test_automatic_scaling_of_what_runs_is_refused_too() -> None:
    want = {"deployments": {"blue": {"model": "fraud:1a2b3c4d"}}}
    made = render("endpoint", "fraud-api", Endpoint.model_validate(want))
    child_name = next(call.target.rpartition("/")[2] for call in made if "/deployments/" in call.operation)
    runs = {"traffic": 100, "owner": STACK, "servers": 1, "labels": {}}
    parts = (Part("deployment", "blue", child_name, Phase.READY, facts=runs),)
    facts: dict[str, Any] = {"shares": {child_name: 100}, "mirror": {}, "traffic": {"blue": 100}}
    have = State(Key("endpoint", "fraud-api", STACK), Phase.READY, STACK, id="x", parts=parts, facts=facts)
    scaled = {"deployments": {"blue": {"model": "fraud:1a2b3c4d", "scale": {"min": 1, "max": 3}}}}
    with pytest.raises(Unsupported, match="rules of Azure Monitor"):
        render("endpoint", "fraud-api", Endpoint.model_validate(scaled), have)


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"traffic": {"blue": 80, "green": 20}, "mirror": {"green": 20}}, "green is mirrored to and has traffic"),
        ({"traffic": {"blue": 100}, "mirror": {"green": 80}}, "up to 50 per cent of the traffic, not 80"),
    ],
)
def test_mirrored_traffic_that_the_service_refuses_is_refused_before(shares: dict[str, Any], says: str) -> None:
    both = {name: {"model": "fraud:1a2b3c4d"} for name in ("blue", "green")}
    with pytest.raises(ConfigError, match=says):
        render("endpoint", "fraud-api", Endpoint.model_validate({"deployments": both, **shares}))


def test_a_request_longer_than_the_service_allows_is_refused() -> None:
    with pytest.raises(ConfigError, match="180 s on azureml"):
        served(timeout=181)


def test_a_schedule() -> None:
    want = Monitor.model_validate(WATCH | {"drift": {"psi": 0.2, "ks": 0.1}, "min_samples": 50, "window": "1d"})
    environment, made, marker = render("monitor", "fraud-api", want)
    assert environment.document == {"properties": {"image": IMAGE}}
    properties = made.document["properties"]
    assert properties["trigger"] == {
        "triggerType": "Cron",
        "expression": "0 3 * * 1",
        "timeZone": "UTC",
        "startTime": "2026-01-01T00:00:00",
    }
    job = properties["action"]["jobDefinition"]
    assert job["command"] == (
        "cloudml-entrypoint monitor --baseline ${{inputs.baseline}} --captured ${{inputs.captured}} "
        "--output ${{outputs.runs}} --endpoint fraud-api --model fraud:1a2b3c4d --limit ks=0.1 --limit psi=0.2 "
        "--min-samples 50 --window 86400 --without 'green-????????' --start ${{inputs.since}}"
    )
    captured = f"modelDataCollector/{native_name(W, 'fraud-api')}"
    assert job["inputs"] == {
        "baseline": _input("uri_file", f"{STORE}/models/fraud/1a2b3c4d.json"),
        "captured": _input("uri_folder", PATHS + captured),
        "since": {"jobInputType": "literal", "value": "2026-09-21T14:13:20.000+00:00"},
    }
    assert job["outputs"]["runs"]["uri"] == f"{STORE}/monitors/fraud-api/runs"
    assert job["tags"]["cloudml-kind"] == "monitor"
    assert properties["tags"]["cloudml-hash"] == spec_hash(want)
    assert marker.target == f"{captured}/cloudml-monitor.json"


def test_the_way_from_one_state_to_the_next() -> None:
    """A failed deployment goes and comes again; an old one goes when the traffic has moved."""
    want = Endpoint.model_validate(ENDPOINT | {"deployments": {"blue": {"model": "fraud:1a2b3c4d"}}})
    made = render("endpoint", "fraud-api", want)
    child_name = next(call.target.rpartition("/")[2] for call in made if "/deployments/" in call.operation)
    parts = (
        Part("environment", made[0].target, made[0].target, Phase.READY),
        Part("deployment", "blue", child_name, Phase.FAILED, facts={"traffic": 0, "owner": STACK}),
        Part("deployment", "blue", "blue-00000000", Phase.READY, facts={"traffic": 100, "owner": STACK}),
    )
    facts: dict[str, Any] = {"shares": {"blue-00000000": 100}, "mirror": {}, "traffic": {"blue": 100}}
    have = State(Key("endpoint", "fraud-api", STACK), Phase.READY, STACK, id="x", parts=parts, facts=facts)
    calls = render("endpoint", "fraud-api", want, have)
    assert [(call.operation.partition(" ")[0], call.effect, call.operation.rpartition("/")[2]) for call in calls] == [
        ("DELETE", Effect.DELETE, child_name),
        ("PUT", Effect.CREATE, child_name),
        ("PUT", Effect.UPDATE, native_name(W, "fraud-api")),
        ("DELETE", Effect.DELETE, "blue-00000000"),
    ]


def test_what_changes_in_place_is_the_same_deployment_again() -> None:
    blue: dict[str, Any] = {"model": "fraud:1a2b3c4d", "scale": {"min": 3, "max": 3}, "labels": {"team": "risk"}}
    want = Endpoint.model_validate({"deployments": {"blue": blue}})
    made = render("endpoint", "fraud-api", want)
    child_name = next(call.target.rpartition("/")[2] for call in made if "/deployments/" in call.operation)
    assert made[2].document["tags"]["team"] == "risk"

    def have(servers: int, **labels: str) -> State:
        facts: dict[str, Any] = {"shares": {child_name: 100}, "mirror": {}, "traffic": {"blue": 100}}
        part = {"traffic": 100, "owner": STACK, "servers": servers, "labels": labels}
        parts = (
            Part("environment", made[0].target, made[0].target, Phase.READY),
            Part("deployment", "blue", child_name, Phase.READY, facts=part),
        )
        labelled = made[-1].document["tags"]
        key = Key("endpoint", "fraud-api", STACK)
        return State(key, Phase.READY, STACK, id="x", parts=parts, facts=facts, labels=labelled)

    assert render("endpoint", "fraud-api", want, have(3, team="risk")) == []
    for changed in (have(2, team="risk"), have(3, team="shop"), have(3)):
        (call,) = render("endpoint", "fraud-api", want, changed)
        assert (call.operation, call.effect) == (made[2].operation, Effect.UPDATE)
        assert call.document == made[2].document


def test_what_only_the_service_chooses_is_a_later() -> None:
    want = Endpoint.model_validate(ENDPOINT)
    unknown = {"id": Later("id"), "version": Later("version"), "uri": Later("files")}
    later = {each.model: replace(reference(each.model), **unknown) for each in want.deployments.values()}
    calls = kinds()["endpoint"].render(present(Key("endpoint", "fraud-api", STACK), want, None, later), None)
    models = [call.document["properties"]["model"] for call in calls if "/deployments/" in call.operation]
    assert models == [Later("id")] * 2


class TestTheValidator:
    """It is worth something only if it refuses."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"surprise": 1}, "surprise"),
            ({"limits": {"jobLimitsType": "Command", "timeout": "2 hours"}}, "ISO 8601"),
            ({"queueSettings": {"jobTier": "Cheap"}}, "is not one of"),
        ],
    )
    def test_what_the_service_refuses_is_found(self, change: Mapping[str, Any], said: str) -> None:
        document = {"properties": {**job(), **change}}
        found = problems(Call(f"PUT jobs/{RUN}", "x", document, "a test"))
        assert any(said in each for each in found)
