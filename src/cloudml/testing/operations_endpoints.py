"""Endpoints on the cloud of operations: deployed models under ids that we choose, and a traffic split."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cloudml import specs
from cloudml.spi import Call, Effect, Goal, Operation, Payload
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml.testing.cloud import Route
from cloudml.testing.memory import Adapter, base, lacks, runs
from cloudml.testing.world import Row


class OperationsAdapter(Adapter):
    """What the kinds of this cloud share: their operations, running or asked after."""

    def running(self, target: str) -> Iterator[Operation]:
        rows = self.caller.read("ListOperations", lambda: self.cloud.all("operations"))
        return (Operation(row["name"], target, True) for row in rows if row["target"] == target and not row["done"])

    def poll(self, operation: Operation) -> Operation:
        row = self.caller.read("GetOperation", lambda: self.cloud.get("operations", operation.id))
        return replace(operation, running=not row["done"], error=Failure(row["error"]) if row["error"] else None)


def deployed_id(child: str) -> str:
    """The id that we choose for a deployed model: at most ten digits, from its deployment and hash."""
    return str(zlib.crc32(child.encode()) % 10**9)


class OperationsEndpoints(OperationsAdapter):
    """GetEndpoint shows nothing of a running DeployModel: the endpoint's operations are listed too."""

    def observe(self, key: Key, want: specs.Endpoint | None) -> State | None:
        operations = tuple(self.running(key.name))  # first: what ends after this look is then seen in the endpoint
        endpoint = self.find("endpoints", key.name)
        if endpoint is None:
            return State(key, Phase.CREATING, None, operations=operations) if operations else None
        labels = endpoint["labels"]
        parts = tuple(_deployed(row, endpoint["traffic"]) for row in endpoint["deployed"].values())
        traffic = {part.name: part.facts["weight"] for part in parts if part.facts["weight"]}
        facts = {"url": f"memory://{key.name}", "traffic": traffic, "capture": endpoint["capture"]}
        phase = Phase.UPDATING if operations else Phase.READY if parts else Phase.EMPTY
        return State(
            key, phase, labels.get("cloudml-stack"), runs(labels.get("cloudml-hash")), key.name, parts, operations,
            labels=labels, facts=facts, created=endpoint["created"], native=endpoint,
        )  # fmt: skip

    def render(self, goal: Goal[specs.Endpoint], have: State | None) -> Sequence[Call]:
        want, name = goal.want, goal.key.name
        if want is None:
            return list(_gone(have)) if have else []
        there, steps = have if have and have.id else None, []
        wanted = {f"{each}-{specs.spec_hash(deployment)}": each for each, deployment in want.deployments.items()}
        if there is None:
            made = {"endpointId": name, "labels": base(goal.labels)}
            steps.append(Call("CreateEndpoint", name, made, "there is no such endpoint"))
        parts = there.of("deployment") if there else ()
        for child, deployment in wanted.items():
            if deployed_id(child) not in {part.id for part in parts}:
                steps.append(_deploy(goal, child, want.deployments[deployment]))
        shares = {deployed_id(child): want.traffic[each] for child, each in wanted.items() if want.traffic.get(each)}
        labels = {**(there.labels if there else {}), **goal.labels}
        if (
            there is None
            or (_weights(there), there.facts["capture"]) != (shares, want.capture)
            or lacks(there.labels, goal.labels)
        ):
            document = {"endpoint": name, "labels": labels, "trafficSplit": shares, "capture": want.capture}
            steps.append(
                Call("UpdateEndpoint", name, document, "the traffic, a label or a setting differs", Effect.UPDATE)
            )
        kept = set(map(deployed_id, wanted))
        return [*steps, *(_undeploy(name, part) for part in parts if part.facts["ours"] and part.id not in kept)]

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        capture = have.facts["capture"]
        routes = [Route(each.name, each.spec or "", each.facts["weight"], capture) for each in have.of("deployment")]
        return self.ask(have, routes, body, deployment)

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("endpoint", name, owner) for owner, name in self.names(["endpoints"], "endpoint", stack)]
        return (state for key in keys if (state := self.observe(key, None)))


def _deployed(row: Row, traffic: Mapping[str, int]) -> Part:
    child = row["displayName"]
    name, _, spec = child.rpartition("-")
    facts = {"weight": traffic.get(row["id"], 0), "ours": deployed_id(child) == row["id"]}
    return Part("deployment", name or child, row["id"], Phase.READY, spec if facts["ours"] else None, facts=facts)


def _weights(have: State) -> dict[str, int]:
    return {part.id: part.facts["weight"] for part in have.of("deployment") if part.facts["weight"]}


def _deploy(goal: Goal[specs.Endpoint], child: str, deployment: specs.Deployment) -> Call:
    model = goal.references[deployment.model].id
    document = {
        "endpoint": goal.key.name,
        "deployedModel": {"id": deployed_id(child), "displayName": child, "model": model},
    }
    return Call("DeployModel", deployed_id(child), document, "this deployment is new")


def _undeploy(endpoint: str, part: Part) -> Call:
    document = {"endpoint": endpoint, "deployedModelId": part.id}
    return Call("UndeployModel", part.id, document, "nothing needs it any more", Effect.DELETE)


def _gone(have: State) -> Iterator[Call]:
    """No traffic, then no deployed models, then no endpoint."""
    name = have.key.name
    if _weights(have):
        document = {"endpoint": name, "labels": dict(have.labels), "trafficSplit": {}, "capture": 0.0}
        yield Call("UpdateEndpoint", name, document, "what has traffic cannot be undeployed", Effect.UPDATE)
    yield from (_undeploy(name, part) for part in have.of("deployment"))
    yield Call("DeleteEndpoint", name, {"endpoint": name}, "it is to be gone", Effect.DELETE)
