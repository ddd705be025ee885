"""Endpoints on the cloud of chosen names: models and configurations by hash, and an endpoint that names one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudml import specs
from cloudml.spi import Call, Effect, Goal, Payload
from cloudml.states import EMPTY, Failure, Key, Part, Phase, State
from cloudml.testing.cloud import Route
from cloudml.testing.memory import Adapter, base, lacks, runs
from cloudml.testing.named_cloud import weights_after
from cloudml.testing.world import Row

PHASES = {
    "Creating": Phase.CREATING,
    "InService": Phase.READY,
    "Updating": Phase.UPDATING,
    "Failed": Phase.FAILED,
    "Deleting": Phase.DELETING,
}
TABLES = ("endpoints", "configs", "models")


def percent(weights: Mapping[str, float]) -> dict[str, int]:
    """Weights, of whatever sum, as shares of 100."""
    total = sum(weights.values())
    return {name: round(100 * weight / total) for name, weight in weights.items()} if total else {}


class NamedEndpoints(Adapter):
    """The hash of what runs stands in names: ``{endpoint}-{hash8}`` and ``{endpoint}-{deployment}-{hash8}``."""

    def observe(self, key: Key, want: specs.Endpoint | None) -> State | None:
        endpoint = self.find("endpoints", key.name)
        ours = {"kind": key.kind, "id": key.name, "stack": key.stack}
        configs, models = self.rows("configs", **ours), self.rows("models", **ours)
        parts = [*map(_config, configs), *map(_model, models)]
        if endpoint is None:
            return State(key, Phase.EMPTY, key.stack, parts=tuple(parts)) if parts else None
        config = self.find("configs", endpoint["config"]) or {"name": None, "variants": {}, "labels": {}}
        traffic, labels = percent(endpoint["weights"]), endpoint["labels"]
        parts += [self._deployment(endpoint, *variant) for variant in config["variants"].items()]
        facts = {"url": f"memory://{key.name}", "traffic": traffic, "config": endpoint["config"],
                 "weights": endpoint["weights"], "capture": config.get("capture", 0.0)}  # fmt: skip
        return State(
            key, PHASES[endpoint["status"]], labels.get("cloudml-stack"), config["labels"].get("cloudml-hash"),
            key.name, tuple(parts), failure=Failure(endpoint["reason"]) if endpoint["status"] == "Failed" else None,
            labels=labels, facts=facts, created=endpoint["created"], native=endpoint,
        )  # fmt: skip

    def render(self, goal: Goal[specs.Endpoint], have: State | None) -> Sequence[Call]:
        want = goal.want
        if want is None:
            return list(_gone(have)) if have else []
        config, models = f"{goal.key.name}-{specs.spec_hash(want)}", _models(goal.key.name, want)
        steps = [
            _create_model(goal, name, want.deployments[deployment])
            for deployment, name in models.items()
            if not (have and have.part("model", name=name))
        ]
        if not (have and have.part("config", name=config)):
            document = {"EndpointConfigName": config, "ProductionVariants": models, "DataCapture": want.capture,
                        "Tags": base(goal.labels) | {"cloudml-hash": specs.spec_hash(want)}}  # fmt: skip
            steps.append(Call("CreateEndpointConfig", config, document, "these variants are new"))
        steps += _switched(goal, have, config, want)
        return [*steps, *_garbage(goal, have, config, set(models.values()))]

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        traffic, capture = have.facts["traffic"], have.facts["capture"]
        routes = [
            Route(each.name, each.spec or "", traffic.get(each.name, 0), capture) for each in have.of("deployment")
        ]
        return self.ask(have, routes, body, deployment)

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("endpoint", name, owner) for owner, name in self.names(TABLES, "endpoint", stack)]
        return (state for key in keys if (state := self.observe(key, None)))

    def _deployment(self, endpoint: Row, variant: str, model: str) -> Part:
        found = self.find("models", model)
        spec = found["hash"] if found else None
        return Part("deployment", variant, f"{endpoint['name']}/{variant}", PHASES[endpoint["status"]], spec)


def _config(row: Row) -> Part:
    facts = {"models": tuple(row["variants"].values())}
    return Part("config", row["name"], row["name"], Phase.READY, row["labels"]["cloudml-hash"], facts=facts)


def _model(row: Row) -> Part:
    return Part("model", row["name"], row["name"], Phase.READY, row["hash"])


def _models(endpoint: str, want: specs.Endpoint) -> dict[str, str]:
    return {name: f"{endpoint}-{name}-{specs.spec_hash(each)}" for name, each in want.deployments.items()}


def _create_model(goal: Goal[specs.Endpoint], name: str, deployment: specs.Deployment) -> Call:
    document = {"ModelName": name, "ModelPackageName": goal.references[deployment.model].id,
                "hash": specs.spec_hash(deployment), "Tags": base(goal.labels)}  # fmt: skip
    return Call("CreateModel", name, document, "this deployment is new")


def _switched(goal: Goal[specs.Endpoint], have: State | None, config: str, want: specs.Endpoint) -> Iterator[Call]:
    """The endpoint on the configuration, then the weights on the endpoint."""
    name = {"EndpointName": goal.key.name}
    document: dict[str, Any] = {**name, "EndpointConfigName": config}
    facts = have.facts if have else EMPTY
    weights = dict(facts.get("weights", {}))
    tags, arn = base(goal.labels), {"ResourceArn": f"endpoints/{goal.key.name}"}
    if facts and have and have.phase is Phase.FAILED:
        yield Call("DeleteEndpoint", goal.key.name, name, "it failed and can only be made anew", Effect.DELETE)
        facts, weights = EMPTY, {}
    if not facts:
        yield Call("CreateEndpoint", goal.key.name, document | {"Tags": tags}, "there is no such endpoint")
        weights = weights_after({}, list(want.deployments))
    elif have and lacks(have.labels, tags):
        yield Call("AddTags", goal.key.name, arn | {"Tags": tags}, "it is not labelled as ours", Effect.UPDATE)
    if facts and facts["config"] != config:
        yield Call("UpdateEndpoint", goal.key.name, document, f"it runs {facts['config']}", Effect.UPDATE)
        weights = weights_after(weights, list(want.deployments))
    wanted = {each: want.traffic.get(each, 0) for each in want.deployments}
    if percent(weights) != wanted:
        shares = {**name, "DesiredWeights": {each: float(weight) for each, weight in wanted.items()}}
        yield Call("UpdateEndpointWeightsAndCapacities", goal.key.name, shares, "the traffic differs", Effect.UPDATE)
    now = {key: value for key, value in goal.labels.items() if key not in tags}
    if not facts or (have and lacks(have.labels, now)):  # last, so that it names what has been reached
        yield Call("AddTags", goal.key.name, arn | {"Tags": now}, "it names what runs, and what ran", Effect.UPDATE)


def _garbage(goal: Goal[specs.Endpoint], have: State | None, config: str, models: set[str]) -> Iterator[Call]:
    """What neither the wanted nor the previous configuration needs."""
    previous = f"{goal.key.name}-{runs(goal.labels.get('cloudml-prev'))}"
    configs = have.of("config") if have else ()
    kept = {part.name for part in configs if part.name in (config, previous)}
    models = models.union(*(part.facts["models"] for part in configs if part.name in kept))
    for part in configs:
        if part.name not in kept:
            yield _delete("EndpointConfig", part)
    for part in have.of("model") if have else ():
        if part.name not in models:
            yield _delete("Model", part)


def _gone(have: State) -> Iterator[Call]:
    if have.facts:
        yield Call("DeleteEndpoint", have.key.name, {"EndpointName": have.key.name}, "it is to be gone", Effect.DELETE)
    yield from (_delete("EndpointConfig", part) for part in have.of("config"))
    yield from (_delete("Model", part) for part in have.of("model"))


def _delete(what: str, part: Part) -> Call:
    return Call(f"Delete{what}", part.id, {f"{what}Name": part.id}, "nothing needs it any more", Effect.DELETE)
