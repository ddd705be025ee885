"""Managed online endpoints: a child per deployment and hash, traffic on the parent.

A child is ``{deployment}-{mark}``: it is made, the traffic moves, the old one goes. What failed stays until it is
deleted, so it is deleted by a visible call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cloudml import specs
from cloudml.errors import ConfigError, NotFound, Unsupported
from cloudml.objects import Objects
from cloudml.spi import Call, Effect, Goal, Operation, Payload, leaves, patched
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml_azureml import environments, instances, places
from cloudml_azureml.models import SIDECAR
from cloudml_azureml.options import NAME, EndpointOptions
from cloudml_azureml.predicting import Predictor
from cloudml_azureml.wire import Wire

PHASES: Mapping[str, Phase] = {
    "Creating": Phase.CREATING,
    "Updating": Phase.UPDATING,
    "Scaling": Phase.UPDATING,
    "Succeeded": Phase.READY,
    "Failed": Phase.FAILED,
    "Canceled": Phase.FAILED,
    "Deleting": Phase.DELETING,
}
CHILD = "cloudml-deployment"  # the tag of a child that says which deployment it is
LONGEST = 180.0  # seconds of a request
MOST_MIRRORED = 50  # per cent
LAST_LINES = 5
COLLECTIONS = ("request", "response")


@dataclass(frozen=True)
class Child:
    """A deployment of a want; ``mark`` covers all that it is made with."""

    deployment: str
    spec: str
    mark: str

    @property
    def name(self) -> str:
        """At most 29 characters of the 32 that are allowed."""
        return f"{self.deployment}-{self.mark}"


class AzureEndpoints:
    """``image`` is the universal serving image of deployments that name none."""

    def __init__(self, wire: Wire, artifacts: Objects, predictor: Predictor, image: str | None) -> None:
        self._wire = wire
        self._artifacts = artifacts
        self._predictor = predictor
        self._image = image

    def observe(self, key: Key, want: specs.Endpoint | None) -> State | None:
        endpoint = self._wire.find(self._path(key))
        made = environments.parts(self._wire, self._environments(key, want)) if want else ()
        if endpoint is None:
            return State(key, Phase.EMPTY, key.stack, parts=made) if made else None
        return self._state(key, endpoint, made)

    def render(self, goal: Goal[specs.Endpoint], have: State | None) -> Sequence[Call]:
        if goal.want is not None:
            return list(self._present(goal, goal.want, have))
        if goal.cancel or have is None or not have.id:
            return []
        path = self._path(goal.key)
        return [Call(f"DELETE {path}", path, {}, "it is not wanted", Effect.DELETE)]

    def send(self, call: Call) -> Operation | None:
        return self._wire.write(call.operation, call.document)

    def poll(self, operation: Operation) -> Operation:
        """A deployment's operation says that its server did not start; why, only the server itself said."""
        found = self._wire.poll(operation)
        endpoint, _, child = found.target.partition("/deployments/")
        if found.error is None or not child:
            return found
        lines = self._last_lines(endpoint, child)
        reason = f"{found.error.reason} Its last lines: {lines}" if lines else found.error.reason
        return replace(found, error=replace(found.error, reason=reason))

    def list(self, stack: str | None) -> Iterator[State]:
        for endpoint in sorted(self._wire.items("onlineEndpoints"), key=lambda each: str(each["name"])):
            tags = endpoint.get("tags") or {}
            if tags.get("cloudml-kind") == "endpoint" and stack in (None, tags["cloudml-stack"]):
                yield self._state(Key("endpoint", tags["cloudml-name"], stack or tags["cloudml-stack"]), endpoint, ())

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        part = have.part("deployment", name=deployment) if deployment else None
        return self._predictor.predict(have, body, part.id if part else deployment)

    # -- the way there -----------------------------------------------------------------------------------------------

    def _present(self, goal: Goal[specs.Endpoint], want: specs.Endpoint, have: State | None) -> Iterator[Call]:
        _refuse_mirror(goal.key, want)
        for deployment in want.deployments.values():  # also of one that runs already
            _refuse(goal.key, want, deployment)
        children = list(_children(want))
        there = have if have is not None and have.id else None
        known = have.of(environments.KIND) if have else ()
        yield from environments.calls(self._environments(goal.key, want), known)
        tags = {**(there.labels if there else {}), **want.labels, **_lasting(goal.labels)}
        shares = dict(there.facts["shares"]) if there else {}
        if there is None or there.phase is Phase.FAILED:
            yield self._parent(goal.key, tags, shares, {}, there, "it failed" if there else "there is no such endpoint")
        parts = {part.id: part for part in there.of("deployment")} if there else {}
        for child in children:
            part = parts.get(child.name)
            if part is not None and part.phase.failed:
                yield self._delete(goal.key, part, "it failed")
            if part is None or part.phase.failed:
                yield self._child(goal, want, child)
            elif changed := _changed(part, want.deployments[child.deployment]):
                yield self._child(goal, want, child, f"{changed} differ", Effect.UPDATE)
        wanted, mirror = _shares(children, want.traffic), _shares(children, want.mirror)
        tags = {**tags, **goal.labels}
        if (
            there is None
            or (shares, there.facts["mirror"]) != (wanted, mirror)
            or any(there.labels.get(name) != text for name, text in tags.items())
        ):
            yield self._parent(goal.key, tags, wanted, mirror, None, "the traffic or a label differs", Effect.UPDATE)
        kept = {child.name for child in children}
        for part in parts.values():
            if part.id not in kept and part.facts["owner"] == goal.key.stack:
                yield self._delete(goal.key, part, "nothing needs it any more")

    def _environments(self, key: Key, want: specs.Endpoint) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for deployment in want.deployments.values():
            yield environments.serving(self._image_of(key, deployment))

    def _image_of(self, key: Key, deployment: specs.Deployment) -> str:
        return environments.universal(key, deployment.image or self._image)

    def _parent(
        self,
        key: Key,
        tags: Mapping[str, str],
        shares: Mapping[str, int],
        mirror: Mapping[str, int],
        there: State | None,
        why: str,
        effect: Effect | None = None,
    ) -> Call:
        """The whole endpoint: there is no PATCH, and what a PUT leaves out is gone."""
        document = {
            "location": self._wire.location,
            "kind": "Managed",
            "identity": {"type": "SystemAssigned"},
            "tags": dict(tags),
            "properties": {"authMode": "Key", "traffic": dict(shares), "mirrorTraffic": dict(mirror)},
        }
        path = self._path(key)
        return Call(f"PUT {path}", path, document, why, effect or (Effect.UPDATE if there else Effect.CREATE))

    def _child(
        self,
        goal: Goal[specs.Endpoint],
        want: specs.Endpoint,
        child: Child,
        why: str = "this deployment is new",
        effect: Effect = Effect.CREATE,
    ) -> Call:
        """The whole deployment, when it is changed too: there is no PATCH for what we change."""
        deployment, options = want.deployments[child.deployment], _options(want, child.deployment)
        environment, _ = environments.serving(self._image_of(goal.key, deployment))
        properties: dict[str, Any] = {
            "endpointComputeType": "Managed",
            "model": self._model(goal.references[deployment.model].id),
            "environmentId": self._wire.id(environment),
            "environmentVariables": self._env(goal, want, child),
            "instanceType": instances.choose(deployment.resources, instances.SERVING, options.instance_type),
            "scaleSettings": {"scaleType": "Default"},
            "requestSettings": {
                "requestTimeout": f"PT{want.timeout:.0f}S",
                "maxConcurrentRequestsPerInstance": options.concurrency,
            },
        }
        if want.capture:
            kept = {"dataCollectionMode": "Enabled", "samplingRate": want.capture}
            collections = {name: dict(kept) for name in COLLECTIONS}
            properties["dataCollector"] = {"collections": collections, "rollingRate": "Hour"}
        document = {
            "location": self._wire.location,
            "tags": {
                **deployment.labels,
                **_ours(goal.labels),
                CHILD: child.deployment,
                "cloudml-hash": child.spec,
            },
            "sku": {"name": "Default", "capacity": deployment.scale.min},
            "properties": patched(properties, deployment, NAME),
        }
        path = f"{self._path(goal.key)}/deployments/{child.name}"
        return Call(f"PUT {path}", path, document, why, effect)

    def _delete(self, key: Key, part: Part, why: str) -> Call:
        path = f"{self._path(key)}/deployments/{part.id}"
        return Call(f"DELETE {path}", path, {}, why, Effect.DELETE)

    def _path(self, key: Key) -> str:
        return f"onlineEndpoints/{places.endpoint(self._wire.workspace, key.name)}"

    def _model(self, id: Any) -> Any:
        """A version's path as the full id; a Later stays what it is."""
        return self._wire.id(id) if isinstance(id, str) else id

    def _env(self, goal: Goal[specs.Endpoint], want: specs.Endpoint, child: Child) -> dict[str, Any]:
        deployment = want.deployments[child.deployment]
        reference = goal.references[deployment.model]
        return {
            "CLOUDML_PLATFORM": NAME,
            "CLOUDML_MODEL_NAME": reference.family,
            "CLOUDML_MODEL_VERSION": reference.version,
            "CLOUDML_ENDPOINT": goal.key.name,
            "CLOUDML_DEPLOYMENT": child.deployment,
            "CLOUDML_SIGNATURE": f"model:{SIDECAR}",
            **leaves(deployment.env),
        }

    # -- what is there -----------------------------------------------------------------------------------------------

    def _state(self, key: Key, endpoint: Mapping[str, Any], made: tuple[Part, ...]) -> State:
        properties, tags = endpoint["properties"], endpoint.get("tags") or {}
        shares = {name: share for name, share in (properties.get("traffic") or {}).items() if share}
        mirror = {name: share for name, share in (properties.get("mirrorTraffic") or {}).items() if share}
        rows = self._wire.items(f"onlineEndpoints/{endpoint['name']}/deployments")
        children = tuple(self._part(endpoint["name"], row, shares) for row in rows)
        phase = PHASES.get(properties["provisioningState"], Phase.UNKNOWN)
        if phase is Phase.READY and not children:
            phase = Phase.EMPTY
        hash = tags.get("cloudml-hash", "")
        return State(
            key=key,
            phase=phase,
            owner=tags.get("cloudml-stack"),
            spec=hash.partition("-")[0] or None,
            id=endpoint["name"],
            parts=(*children, *made),
            failure=Failure("the endpoint could not be made") if phase is Phase.FAILED else None,
            labels=tags,
            facts={
                "url": properties.get("scoringUri"),
                "traffic": {part.name: part.facts["traffic"] for part in children if part.facts["traffic"]},
                "shares": shares,
                "mirror": mirror,
            },
            created=datetime.fromisoformat(endpoint["systemData"]["createdAt"]).timestamp(),
            native=endpoint,
        )

    def _part(self, endpoint: str, row: Mapping[str, Any], shares: Mapping[str, int]) -> Part:
        tags, properties = row.get("tags") or {}, row["properties"]
        phase = PHASES.get(properties["provisioningState"], Phase.UNKNOWN)
        return Part(
            kind="deployment",
            name=tags.get(CHILD, row["name"]),
            id=row["name"],
            phase=phase,
            spec=tags.get("cloudml-hash"),
            failure=self._not_started(f"onlineEndpoints/{endpoint}", row["name"]) if phase.failed else None,
            facts={
                "traffic": shares.get(row["name"], 0),
                "owner": tags.get("cloudml-stack"),
                "labels": tags,
                "servers": (row.get("sku") or {}).get("capacity"),
                "model": (properties.get("model") or "").rpartition("/models/")[2].replace("/versions/", ":"),
            },
        )

    def _not_started(self, endpoint: str, child: str) -> Failure:
        lines = self._last_lines(endpoint, child)
        return Failure(f"it did not start: {lines}" if lines else "it did not start, and wrote nothing")

    def _last_lines(self, endpoint: str, child: str) -> str:
        """What a server said last; ``endpoint`` is a path below the workspace."""
        try:
            said = self._wire.read(f"{endpoint}/deployments/{child}/getLogs", {"tail": LAST_LINES})
        except NotFound:
            said = {}
        lines = [line.strip() for line in str(said.get("content") or "").splitlines() if line.strip()]
        return " | ".join(lines)


def _children(want: specs.Endpoint) -> Iterator[Child]:
    for name, deployment in want.deployments.items():
        spec, options = specs.spec_hash(deployment), _options(want, name)
        kept: list[Any] = [want.capture, want.timeout, options.concurrency]
        kept += [options.instance_type] if options.instance_type else []
        yield Child(name, spec, specs.hash8([spec, *kept]))


def _shares(children: Sequence[Child], shares: Mapping[str, int]) -> dict[str, int]:
    """Per cent by the children's names, zeros left out as the service does."""
    return {child.name: shares[child.deployment] for child in children if shares.get(child.deployment)}


def _options(want: specs.Endpoint, deployment: str) -> EndpointOptions:
    """What the endpoint says, and what one deployment says otherwise. Raises ConfigError for what is not known."""
    own = want.deployments[deployment].options.get(NAME, {})
    return specs.make(EndpointOptions, f"{deployment}.options.{NAME}", {**want.options.get(NAME, {}), **own})


def _changed(part: Part, deployment: specs.Deployment) -> str:
    """What of a deployment that runs is not as it is wanted and can be changed in place."""
    labels = any(part.facts["labels"].get(name) != text for name, text in deployment.labels.items())
    servers = part.facts["servers"] != deployment.scale.min
    return " and ".join([*(["its labels"] if labels else []), *(["its servers"] if servers else [])])


def _refuse(key: Key, want: specs.Endpoint, deployment: specs.Deployment) -> None:
    """ConfigError for what a managed endpoint has no field for, Unsupported for automatic scaling."""
    if want.timeout > LONGEST:
        raise ConfigError(f"{key}: a request may take {LONGEST:g} s on azureml, not {want.timeout:g} s")
    if deployment.scale.min != deployment.scale.max:
        raise Unsupported(
            f"{key}: managed endpoints scale by rules of Azure Monitor, which are not rendered",
            hint="set scale.min and scale.max alike, and add an autoscale rule to the deployment in the portal",
        )
    for name in ("disk", "shm"):
        if getattr(deployment.resources, name) is not None:
            hint = "leave it out, or choose a size by options.azureml.instance_type"
            raise ConfigError(f"{key}: a server's resources.{name} comes with its size on azureml", hint=hint)


def _refuse_mirror(key: Key, want: specs.Endpoint) -> None:
    """ConfigError for mirrored traffic that the service refuses (how-to-safely-rollout-online-endpoints)."""
    for name, share in want.mirror.items():
        if share and want.traffic.get(name):
            said = f"{key}: {name} is mirrored to and has traffic; azureml mirrors to a deployment that answers nobody"
            raise ConfigError(said, hint=f"give {name} either traffic or mirror")
        if share > MOST_MIRRORED:
            said = f"{key}: azureml mirrors up to {MOST_MIRRORED} per cent of the traffic, not {share}"
            raise ConfigError(said, hint=f"set mirror.{name} to {MOST_MIRRORED} or less")


def _ours(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of an endpoint that its deployments carry too: not the user's own, which change in place."""
    return {name: text for name, text in _lasting(labels).items() if name.startswith("cloudml-")}


def _lasting(labels: Mapping[str, str]) -> dict[str, str]:
    """What is true from the beginning; what runs is said when it runs."""
    return {name: text for name, text in labels.items() if name not in ("cloudml-hash", "cloudml-prev")}
