"""Endpoints and their deployments.

A deployment is two things: a serving model (a Model of its own, since container, variables and routes of a model cannot
change and stand nowhere else) and a deployed model, whose id we choose. GetEndpoint shows neither a running deployment
nor a failed one, so the endpoint's operations are listed too.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloudml import specs
from cloudml.errors import ConfigError
from cloudml.objects import Objects
from cloudml.spi import Call, Effect, Goal, Operation, Payload, Secret, leaves, patched
from cloudml.states import Key, Part, Phase, State
from cloudml_vertex import machines
from cloudml_vertex.monitoring import Monitors, deletions
from cloudml_vertex.options import NAME, EndpointOptions
from cloudml_vertex.predicting import Predictor
from cloudml_vertex.wire import Wire

PORT, PREDICT, HEALTH = 8080, "/invocations", "/readyz"
METRICS = {
    "cpu": "aiplatform.googleapis.com/prediction/online/cpu/utilization",
    "gpu": "aiplatform.googleapis.com/prediction/online/accelerator/duty_cycle",
    "requests": "aiplatform.googleapis.com/prediction/online/request_count",
}
TARGET = 60  # per cent: the service's own default
CAPTURE_LIMIT = 64 << 20  # bytes of captured requests that one server keeps on its disk until they are stored


@dataclass(frozen=True)
class Child:
    """A deployment of a want: what it is called where. ``mark`` covers all that its server is started with."""

    endpoint: str
    deployment: str
    spec: str
    mark: str

    @property
    def model(self) -> str:
        """At most 62 characters of the 63 that are allowed."""
        return f"{self.endpoint}-{self.deployment}-{self.mark}"

    @property
    def display(self) -> str:
        return f"{self.deployment}-{self.spec}"

    @property
    def id(self) -> str:
        """At most nine digits, none leading that is zero."""
        return str(zlib.crc32(f"{self.deployment}-{self.mark}".encode()) % 10**9)


class VertexEndpoints:
    """``image`` is the universal serving image of deployments that name none."""

    def __init__(
        self, wire: Wire, artifacts: Objects, predictor: Predictor, image: str | None, service_account: str | None
    ) -> None:
        self._wire = wire
        self._monitors = Monitors(wire)
        self._artifacts = artifacts
        self._predictor = predictor
        self._image = image
        self._service_account = service_account

    def observe(self, key: Key, want: specs.Endpoint | None) -> State | None:
        name = self._wire.place.endpoint(key.name)
        operations = self._wire.running(name)  # first: what ends after this look is then seen in the endpoint
        endpoint = self._wire.find("GetEndpoint", {"name": name})
        models = self._models(f'labels.cloudml-name="{key.name}"')
        operations += self._uploads(key, want, {model["name"].partition("@")[0] for model in models})
        if endpoint is None and not operations and not models:
            return None
        return self._state(key, endpoint, models, operations)

    def render(self, goal: Goal[specs.Endpoint], have: State | None) -> Sequence[Call]:
        if goal.want is not None:
            return list(self._present(goal, goal.want, have))
        return list(self._absent(goal.key, have)) if have is not None and not goal.cancel else []

    def send(self, call: Call) -> Operation | None:
        return self._wire.write(call.operation, call.document)

    def poll(self, operation: Operation) -> Operation:
        return self._wire.poll(operation)

    def list(self, stack: str | None) -> Iterator[State]:
        mark = f'labels.cloudml-stack="{stack}"' if stack else "labels.cloudml-stack:*"
        ask = {"parent": self._wire.place.name, "filter": f'labels.cloudml-kind="endpoint" AND {mark}'}
        models = self._models(mark)
        for endpoint in sorted(self._wire.items("ListEndpoints", ask), key=lambda each: str(each["name"])):
            name, owner = endpoint["name"].rpartition("/")[2], endpoint["labels"]["cloudml-stack"]
            own = [model for model in models if model["labels"]["cloudml-name"] == name]
            running = self._wire.running(endpoint["name"])
            yield self._state(Key("endpoint", name, stack or owner), endpoint, own, running)

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        return self._predictor.predict(have, body)

    # -- the way there -----------------------------------------------------------------------------------------------

    def _present(self, goal: Goal[specs.Endpoint], want: specs.Endpoint, have: State | None) -> Iterator[Call]:
        children = list(_children(goal.key.name, want))
        there = have if have is not None and have.id else None
        if there is None:
            yield self._create(goal, want)
        models = {part.name for part in have.of("model")} if have else set()
        deployed = {part.id for part in there.of("deployment")} if there else set()
        for child in children:
            if child.id not in deployed:
                if child.model not in models:
                    yield self._upload(goal, want, child)
                yield self._deploy(goal, want, child)
        if change := self._settings(goal, want, there, children):
            yield change
        kept = {child.id for child in children}
        watching = there.of("monitoring") if there else ()
        yield from self._monitors.render(goal, _options(want).monitoring, watching, sorted(kept))
        for part in there.of("deployment") if there else ():
            if part.facts["ours"] and part.id not in kept:
                yield self._undeploy(goal.key, part)
        for part in have.of("model") if have else ():
            if part.name not in {child.model for child in children}:
                yield _delete_model(part)

    def _absent(self, key: Key, have: State) -> Iterator[Call]:
        """Nothing that watches, no traffic, then no deployed models, then no endpoint, then no serving models."""
        yield from deletions(have.of("monitoring"))
        name = self._wire.place.endpoint(key.name)
        if have.id and have.facts["split"]:
            document = {"endpoint": {"name": name, "displayName": key.name}, "updateMask": "trafficSplit"}
            yield Call("UpdateEndpoint", name, document, "what has traffic cannot be undeployed", Effect.UPDATE)
        yield from (self._undeploy(key, part) for part in have.of("deployment"))
        if have.id:
            yield Call("DeleteEndpoint", name, {"name": name}, "it is not wanted", Effect.DELETE)
        yield from (_delete_model(part) for part in have.of("model"))

    def _create(self, goal: Goal[specs.Endpoint], want: specs.Endpoint) -> Call:
        endpoint = {
            "displayName": goal.key.name,
            "labels": {**want.labels, **_lasting(goal.labels)},
            **({"dedicatedEndpointEnabled": True} if _options(want).dedicated else {}),
        }
        document = {
            "parent": self._wire.place.name,
            "endpointId": goal.key.name,
            "endpoint": patched(endpoint, want, NAME),
        }
        return Call("CreateEndpoint", self._wire.place.endpoint(goal.key.name), document, "there is no such endpoint")

    def _upload(self, goal: Goal[specs.Endpoint], want: specs.Endpoint, child: Child) -> Call:
        deployment = want.deployments[child.deployment]
        image = deployment.image or self._image
        if image is None:
            hint = "push one by 'cloudml image push', and set 'image' of provider 'vertex' ($CLOUDML_VERTEX_IMAGE)"
            raise ConfigError(f"{goal.key}: vertex needs an image that serves", hint=hint)
        env = [{"name": name, "value": value} for name, value in self._env(goal, want, child).items()]
        model = {
            "displayName": child.model,
            "artifactUri": goal.references[deployment.model].uri,
            "labels": {**_lasting(goal.labels), "cloudml-kind": "deployment", "cloudml-id": child.model},
            "containerSpec": {
                "imageUri": image,
                "args": ["serve"],
                "env": env,
                "ports": [{"containerPort": PORT}],
                "predictRoute": PREDICT,
                "healthRoute": HEALTH,
            },
        }
        document = {"parent": self._wire.place.name, "modelId": child.model, "model": model}
        return Call("UploadModel", child.model, document, "a deployment needs a serving model")

    def _env(self, goal: Goal[specs.Endpoint], want: specs.Endpoint, child: Child) -> dict[str, str | Secret | Any]:
        deployment = want.deployments[child.deployment]
        reference = goal.references[deployment.model]
        env: dict[str, Any] = {
            "CLOUDML_PLATFORM": NAME,
            "CLOUDML_MODEL_NAME": reference.family,
            "CLOUDML_MODEL_VERSION": reference.version,
            "CLOUDML_ENDPOINT": goal.key.name,
            "CLOUDML_DEPLOYMENT": child.deployment,
            "CLOUDML_SIGNATURE": self._artifacts.uri(reference.sidecar)
            if "://" not in reference.sidecar
            else reference.sidecar,
        }
        if want.capture:
            env |= {
                "CLOUDML_CAPTURE_URI": self._artifacts.uri(f"{goal.key.stack}/captures/{goal.key.name}"),
                "CLOUDML_CAPTURE_RATE": f"{want.capture:g}",
                "CLOUDML_CAPTURE_LIMIT": str(CAPTURE_LIMIT),
                "CLOUDML_CAPTURE_REDACT": json.dumps(sorted(want.redact)),
            }
        return {**env, **leaves(deployment.env)}

    def _deploy(self, goal: Goal[specs.Endpoint], want: specs.Endpoint, child: Child) -> Call:
        deployment, options = want.deployments[child.deployment], _options(want)
        machine = machines.choose(deployment.resources, machines.SERVING, options.machine_type, options.accelerator)
        scale = deployment.scale
        resources: dict[str, Any] = {
            "machineSpec": machines.spec(machine),
            "minReplicaCount": scale.min,
            "maxReplicaCount": scale.max,
            **({"spot": True} if deployment.spot else {}),
        }
        if scale.max > scale.min:
            metric = {"metricName": METRICS[scale.metric], "target": int(scale.target or TARGET)}
            resources["autoscalingMetricSpecs"] = [metric]
        deployed: dict[str, Any] = {
            "id": child.id,
            "displayName": child.display,
            "model": self._wire.place.model(child.model),
            "dedicatedResources": resources,
        }
        if account := options.service_account or self._service_account:
            deployed["serviceAccount"] = account
        if options.access_logging:
            deployed["enableAccessLogging"] = True
        name = self._wire.place.endpoint(goal.key.name)
        document = {"endpoint": name, "deployedModel": patched(deployed, deployment, NAME)}
        return Call("DeployModel", child.id, document, "this deployment is new")

    def _settings(
        self, goal: Goal[specs.Endpoint], want: specs.Endpoint, there: State | None, children: Sequence[Child]
    ) -> Call | None:
        """Traffic, labels and the time limit, in one write."""
        split = {child.id: want.traffic[child.deployment] for child in children if want.traffic.get(child.deployment)}
        watched = self._monitors.labels(_options(want).monitoring)
        labels = {**(there.labels if there else {}), **want.labels, **goal.labels, **watched}
        limit = f"{want.timeout:g}s" if _options(want).dedicated else None
        if there and (there.facts["split"], dict(there.labels), there.facts["limit"]) == (split, labels, limit):
            return None
        name = self._wire.place.endpoint(goal.key.name)
        endpoint: dict[str, Any] = {
            "name": name,
            "displayName": goal.key.name,  # required of every endpoint that is sent, whatever the mask says
            "trafficSplit": split,
            "labels": labels,
        }
        mask = "trafficSplit,labels"
        if limit:
            endpoint["clientConnectionConfig"] = {"inferenceTimeout": limit}
            mask += ",clientConnectionConfig"
        why = "the traffic, a label or the time limit differs"
        return Call("UpdateEndpoint", name, {"endpoint": endpoint, "updateMask": mask}, why, Effect.UPDATE)

    def _undeploy(self, key: Key, part: Part) -> Call:
        document = {"endpoint": self._wire.place.endpoint(key.name), "deployedModelId": part.id}
        return Call("UndeployModel", part.id, document, "nothing needs it any more", Effect.DELETE)

    # -- what is there -----------------------------------------------------------------------------------------------

    def _models(self, filter: str) -> Sequence[dict[str, Any]]:
        ask = {"parent": self._wire.place.name, "filter": f'labels.cloudml-kind="deployment" AND {filter}'}
        return sorted(self._wire.items("ListModels", ask), key=lambda each: str(each["name"]))

    def _uploads(self, key: Key, want: specs.Endpoint | None, there: set[str]) -> tuple[Operation, ...]:
        """Uploads that still run of serving models which are wanted: there is no other trace of one."""
        names = [self._wire.place.model(child.model) for child in _children(key.name, want)] if want else []
        return tuple(each for name in names if name not in there for each in self._wire.running(name))

    def _state(
        self,
        key: Key,
        endpoint: Mapping[str, Any] | None,
        models: Sequence[Mapping[str, Any]],
        operations: tuple[Operation, ...],
    ) -> State:
        found = endpoint or {}
        split = {id: int(share) for id, share in found.get("trafficSplit", {}).items() if int(share)}
        deployed = [_deployed(key.name, row, split) for row in found.get("deployedModels", ())]
        labels = found.get("labels", {})
        owner = labels.get("cloudml-stack") or next((model["labels"].get("cloudml-stack") for model in models), None)
        hash = labels.get("cloudml-hash", "")
        return State(
            key=key,
            phase=_phase(endpoint, deployed, operations),
            owner=owner,
            spec=hash.partition("-")[0] or None,
            id=found.get("name", ""),
            parts=(*deployed, *(_serving(model) for model in models), *self._monitors.parts(endpoint)),
            operations=operations,
            labels=labels,
            facts={
                "url": self._predictor.url(found) if endpoint else None,
                "traffic": {part.name: part.facts["traffic"] for part in deployed if part.facts["traffic"]},
                "split": split,
                "limit": found.get("clientConnectionConfig", {}).get("inferenceTimeout"),
            },
            created=datetime.fromisoformat(found["createTime"]).timestamp() if endpoint else None,
            native=found,
        )


def _phase(endpoint: Mapping[str, Any] | None, deployed: Sequence[Part], operations: Sequence[Operation]) -> Phase:
    if operations:
        return Phase.UPDATING if endpoint else Phase.CREATING
    return Phase.READY if deployed else Phase.EMPTY


def _deployed(endpoint: str, row: Mapping[str, Any], split: Mapping[str, int]) -> Part:
    """One of ours is known by its model's name, which holds its deployment and its mark."""
    name, _, spec = row.get("displayName", "").rpartition("-")
    mark = row["model"].partition("@")[0].rpartition("-")[2]
    ours = Child(endpoint, name, spec, mark).id == row["id"]
    facts = {"traffic": split.get(row["id"], 0), "ours": ours, "model": row["model"].rpartition("/")[2]}
    return Part("deployment", name or row["id"], row["id"], Phase.READY, spec if ours else None, facts=facts)


def _serving(model: Mapping[str, Any]) -> Part:
    name = model["name"].partition("@")[0]
    return Part("model", name.rpartition("/")[2], name, Phase.READY)


def _delete_model(part: Part) -> Call:
    return Call("DeleteModel", part.id, {"name": part.id}, "no deployment needs it any more", Effect.DELETE)


def _children(endpoint: str, want: specs.Endpoint) -> Iterator[Child]:
    kept = [want.capture, sorted(want.redact)]
    for name, deployment in want.deployments.items():
        spec = specs.spec_hash(deployment)
        yield Child(endpoint, name, spec, specs.hash8([spec, *kept]))


def _options(want: specs.Endpoint) -> EndpointOptions:
    return EndpointOptions.model_validate(want.options.get(NAME, {}))


def _lasting(labels: Mapping[str, str]) -> dict[str, str]:
    """What is true from the beginning; what runs is said when it runs."""
    return {name: text for name, text in labels.items() if name not in ("cloudml-hash", "cloudml-prev")}
