"""Golden native requests: every neutral field as Vertex AI takes it, checked against Google's own messages."""

from __future__ import annotations

from typing import Any

import pytest
from vertex_requests import PLACE, RUN, STACK, check, render

from cloudml import bundle
from cloudml.errors import ConfigError
from cloudml.specs import Endpoint, Model, TrainingJob, spec_hash
from cloudml.spi import Later, Repeat, Secret, spec_key
from cloudml.states import Key, Part, Phase, State

JOB: dict[str, Any] = {
    "command": "python train.py --lr {params.lr}",
    "source": "sha256:aa",
    "params": {"lr": 0.5},
    "inputs": {"train": "sha256:bb/train.csv", "more": "gs://other/data", "own": "https://example.org/x"},
    "env": {"A": "b", "KEY": "${secret:env:TOKEN}"},
    "timeout": "2h",
    "labels": {"team": "risk"},
}


def job(**more: Any) -> dict[str, Any]:
    """The ``customJob`` of a run."""
    (call,) = render("job", RUN, TrainingJob.model_validate(JOB | more), service_account="sa@acme.iam")
    check(call)
    found: dict[str, Any] = call.document["customJob"]
    return found


def test_a_job() -> None:
    want = TrainingJob.model_validate(JOB)
    (call,) = render("job", RUN, want, service_account="sa@acme.iam")
    check(call)
    assert (call.operation, call.repeat, call.document["parent"]) == ("CreateCustomJob", Repeat.GUARDED, PLACE.name)
    made = call.document["customJob"]
    assert made["displayName"] == RUN
    assert made["labels"] == {
        "team": "risk",
        "cloudml-stack": STACK,
        "cloudml-kind": "job",
        "cloudml-name": "fraud-train",
        "cloudml-id": RUN,
        "cloudml-hash": spec_hash(want),
    }
    spec = made["jobSpec"]
    assert spec["baseOutputDirectory"] == {"outputUriPrefix": f"gs://acme-bucket/{STACK}/runs/{RUN}"}
    assert spec["scheduling"] == {"timeout": "7200s", "disableRetries": True}
    assert spec["serviceAccount"] == "sa@acme.iam"
    (pool,) = spec["workerPoolSpecs"]
    assert pool["replicaCount"] == "1"
    assert pool["machineSpec"] == {"machineType": "n4-standard-2"}
    container = pool["containerSpec"]
    assert container["imageUri"] == "python:3.11-slim"
    assert container["command"] == ["python3", f"/gcs/acme-bucket/{bundle.key(STACK)}", "train"]
    assert container["args"] == [
        *("--id", RUN, "--spec", f"/gcs/acme-bucket/{spec_key(STACK, want)}"),
        *("--output", f"/gcs/acme-bucket/{STACK}/runs/{RUN}", "--source", f"/gcs/acme-bucket/{STACK}/content/aa"),
        *("--input", "more=/gcs/other/data", "--input", "own=https://example.org/x"),
        *("--input", f"train=/gcs/acme-bucket/{STACK}/content/bb/train.csv"),
    ]
    assert container["env"] == [
        {"name": "CLOUDML_PLATFORM", "value": "vertex"},
        {"name": "A", "value": "b"},
        {"name": "KEY", "value": Secret("env:TOKEN")},
    ]


def test_nodes_are_a_primary_replica_and_a_second_pool() -> None:
    first, second = job(nodes=3)["jobSpec"]["workerPoolSpecs"]
    assert (first["replicaCount"], second["replicaCount"]) == ("1", "2")
    assert first["containerSpec"] == second["containerSpec"]


@pytest.mark.parametrize(
    ("resources", "machine"),
    [
        ({"cpu": 2, "memory": "4Gi"}, {"machineType": "n4-standard-2"}),
        ({"cpu": 2, "memory": "12Gi"}, {"machineType": "e2-highmem-2"}),
        ({"cpu": 6}, {"machineType": "e2-standard-8"}),
        ({"gpu": 1}, {"machineType": "g2-standard-4", "acceleratorType": "NVIDIA_L4", "acceleratorCount": 1}),
        (
            {"gpu": 1, "gpu_type": "T4"},
            {"machineType": "n1-standard-4", "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 1},
        ),
        (
            {"gpu": 8, "gpu_type": "H100_80GB"},
            {"machineType": "a3-highgpu-8g", "acceleratorType": "NVIDIA_H100_80GB", "acceleratorCount": 8},
        ),
    ],
)
def test_resources_are_a_machine_type(resources: dict[str, Any], machine: dict[str, Any]) -> None:
    assert job(resources=resources)["jobSpec"]["workerPoolSpecs"][0]["machineSpec"] == machine


def test_other_fields_of_a_job() -> None:
    assert job(spot=True)["jobSpec"]["scheduling"]["strategy"] == "SPOT"
    assert job(image="europe-docker.pkg.dev/a/b/c:1")["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["imageUri"] == (
        "europe-docker.pkg.dev/a/b/c:1"
    )
    disk = {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 215}
    assert job(resources={"disk": "200Gi"})["jobSpec"]["workerPoolSpecs"][0]["diskSpec"] == disk
    options = {"vertex": {"machine_type": "c3-standard-4", "network": "projects/1/global/networks/n"}, "aws": {"x": 1}}
    made = job(options=options, patch={"vertex": {"jobSpec": {"enableWebAccess": True}}})
    assert made["jobSpec"]["workerPoolSpecs"][0]["machineSpec"] == {"machineType": "c3-standard-4"}
    assert made["jobSpec"]["network"] == "projects/1/global/networks/n"
    assert made["jobSpec"]["enableWebAccess"] is True


def test_what_no_machine_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="no machine type of the table has 400 CPUs"):
        job(resources={"cpu": 400})


def test_a_version_of_a_job_s_model() -> None:
    want = Model.model_validate(
        {"from": f"run:{RUN}", "alias": "champion", "description": "v", "labels": {"team": "risk"}}
    )
    copy, upload, alias = render("model", "fraud", want)
    for call in (copy, upload, alias):
        check(call)
    uri = f"gs://acme-bucket/{STACK}/versions/fraud/{spec_hash(want)}"
    assert (copy.target, copy.document) == (uri, {"source": f"gs://acme-bucket/{STACK}/runs/{RUN}/model"})
    assert upload.repeat is Repeat.GUARDED
    assert upload.document == {
        "parent": PLACE.name,
        "modelId": "fraud",
        "model": {
            "displayName": "fraud",
            "artifactUri": uri,
            "versionDescription": f"v [cloudml {spec_hash(want)} run {RUN}]",
            "labels": {
                "team": "risk",
                "cloudml-stack": STACK,
                "cloudml-kind": "model",
                "cloudml-name": "fraud",
                "cloudml-id": "fraud",
            },
        },
    }
    assert alias.document == {"name": Later("version"), "versionAliases": ["champion"]}


def family(*versions: Part, labels: dict[str, str]) -> State:
    return State(
        Key("model", "fraud", STACK), Phase.READY, STACK, id=PLACE.model("fraud"), parts=versions, labels=labels
    )


def version(number: int, hash: str, *aliases: str) -> Part:
    facts = {"uri": "gs://acme-bucket/x", "aliases": aliases}
    return Part("version", str(number), PLACE.model("fraud", str(number)), Phase.READY, hash, facts=facts)


def test_labels_that_differ_are_put_right() -> None:
    want = Model(path="sha256:cc", labels={"team": "risk"})
    (change,) = render("model", "fraud", want, family(version(1, spec_hash(want)), labels={"theirs": "kept"}))
    check(change)
    assert change.document["model"]["labels"] == {
        "theirs": "kept",
        "team": "risk",
        "cloudml-stack": STACK,
        "cloudml-kind": "model",
        "cloudml-name": "fraud",
        "cloudml-id": "fraud",
    }


def test_the_next_version_and_its_alias() -> None:
    want = Model(path="sha256:cc", alias="champion")
    labels = {
        f"cloudml-{name}": text
        for name, text in (("stack", STACK), ("kind", "model"), ("name", "fraud"), ("id", "fraud"))
    }
    upload, _ = render("model", "fraud", want, family(version(1, "00000000", "champion"), labels=labels))
    check(upload)
    assert upload.document["parentModel"] == PLACE.model("fraud")
    assert "modelId" not in upload.document
    assert upload.document["model"]["artifactUri"] == f"gs://acme-bucket/{STACK}/content/cc"
    both = family(version(1, "00000000", "champion"), version(2, spec_hash(want)), labels=labels)
    (moved,) = render("model", "fraud", want, both)
    check(moved)
    assert moved.document == {"name": PLACE.model("fraud", "2"), "versionAliases": ["champion"]}
    there = family(version(1, "00000000"), version(2, spec_hash(want), "champion"), labels=labels)
    assert render("model", "fraud", want, there) == []
    twice = family(version(1, spec_hash(want), "champion"), version(2, spec_hash(want)), labels=labels)
    (gone,) = render("model", "fraud", want, twice)
    assert (gone.operation, gone.target) == ("DeleteModelVersion", PLACE.model("fraud", "2"))


ENDPOINT: dict[str, Any] = {
    "deployments": {"blue": {"model": "fraud:1a2b3c4d"}, "green": {"model": "fraud:5e6f7a8b"}},
    "traffic": {"blue": 90, "green": 10},
    "capture": 0.5,
    "redact": ["name"],
    "timeout": 30,
    "labels": {"team": "risk"},
}


def endpoint(image: str | None = "acme/serve:1", **more: Any) -> list[Any]:
    calls = render("endpoint", "fraud-api", Endpoint.model_validate(ENDPOINT | more), image=image)
    for call in calls:
        check(call)
    return calls


def test_an_endpoint() -> None:
    create, upload, deploy, _, _, settings = endpoint()
    assert create.document["endpointId"] == "fraud-api"
    assert create.document["endpoint"]["dedicatedEndpointEnabled"] is True
    assert create.document["endpoint"]["labels"]["team"] == "risk"
    model = upload.document["model"]
    assert upload.document["modelId"].startswith("fraud-api-blue-")
    assert model["artifactUri"] == f"gs://acme-bucket/{STACK}/versions/fraud/1a2b3c4d"
    assert model["labels"]["cloudml-kind"] == "deployment"
    container = model["containerSpec"]
    assert (container["imageUri"], container["args"]) == ("acme/serve:1", ["serve"])
    assert (container["predictRoute"], container["healthRoute"]) == ("/invocations", "/readyz")
    env = {each["name"]: each["value"] for each in container["env"]}
    assert env["CLOUDML_CAPTURE_URI"] == f"gs://acme-bucket/{STACK}/captures/fraud-api"
    assert (env["CLOUDML_CAPTURE_RATE"], env["CLOUDML_CAPTURE_REDACT"]) == ("0.5", '["name"]')
    assert (env["CLOUDML_MODEL_NAME"], env["CLOUDML_MODEL_VERSION"]) == ("fraud", "3")
    deployed = deploy.document["deployedModel"]
    assert deployed["id"].isdigit()
    assert deployed["model"] == PLACE.model(upload.document["modelId"])
    assert deployed["displayName"].startswith("blue-")
    assert deployed["dedicatedResources"] == {
        "machineSpec": {"machineType": "e2-standard-2"},
        "minReplicaCount": 1,
        "maxReplicaCount": 1,
    }
    changed = settings.document["endpoint"]
    assert sorted(changed["trafficSplit"].values()) == [10, 90]
    assert changed["clientConnectionConfig"] == {"inferenceTimeout": "30s"}
    assert settings.document["updateMask"] == "trafficSplit,labels,clientConnectionConfig"


def test_servers_as_they_are_asked_for() -> None:
    scaled = endpoint(scale={"min": 1, "max": 5, "metric": "cpu", "target": 70}, spot=True, resources={"gpu": 1})
    resources = scaled[2].document["deployedModel"]["dedicatedResources"]
    assert (resources["minReplicaCount"], resources["maxReplicaCount"], resources["spot"]) == (1, 5, True)
    assert resources["machineSpec"]["acceleratorType"] == "NVIDIA_L4"
    metric = {"metricName": "aiplatform.googleapis.com/prediction/online/cpu/utilization", "target": 70}
    assert resources["autoscalingMetricSpecs"] == [metric]
    options = {"vertex": {"dedicated": False, "access_logging": True, "service_account": "s@a"}}
    shared = endpoint(options=options)
    assert "dedicatedEndpointEnabled" not in shared[0].document["endpoint"]
    assert shared[2].document["deployedModel"]["serviceAccount"] == "s@a"
    assert "clientConnectionConfig" not in shared[-1].document["endpoint"]


def test_what_a_server_is_started_with_is_in_its_names() -> None:
    """Capture is a variable of the serving model, which cannot change: another capture is another deployment."""
    first, other = (endpoint(capture=share)[1].document["modelId"] for share in (0.5, 1.0))
    assert first != other
    assert len(first) <= 63


def test_an_endpoint_without_an_image_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="needs an image that serves") as refused:
        endpoint(image=None)
    assert "cloudml image push" in str(refused.value.hint)
