"""Endpoints on the cloud of parents and children: a child per deployment and hash, traffic on the parent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudml import specs
from cloudml.spi import Call, Effect, Goal, Payload
from cloudml.states import EMPTY, Failure, Key, Part, Phase, State
from cloudml.testing.cloud import Route
from cloudml.testing.memory import Adapter, base, lacks, runs
from cloudml.testing.world import Row

PHASES = {
    "Creating": Phase.CREATING,
    "Updating": Phase.UPDATING,
    "Succeeded": Phase.READY,
    "Failed": Phase.FAILED,
    "Deleting": Phase.DELETING,
}


class NestedEndpoints(Adapter):
    """A child is ``{deployment}-{hash8}``: create it, switch the traffic, delete the old one."""

    def observe(self, key: Key, want: specs.Endpoint | None) -> State | None:
        endpoint = self.find("endpoints", key.name)
        if endpoint is None:
            return None
        rows = self.caller.read("list deployments", lambda: self.cloud.all("deployments"))
        children = tuple(_child(row, endpoint["traffic"]) for row in rows if row["parent"] == key.name)
        labels, failed = endpoint["labels"], endpoint["state"] == "Failed"
        traffic = {part.name: part.facts["weight"] for part in children if part.facts["weight"]}
        facts = {"url": f"memory://{key.name}", "traffic": traffic, "capture": endpoint.get("capture", 0.0)}
        return State(
            key, PHASES[endpoint["state"]], labels.get("cloudml-stack"), runs(labels.get("cloudml-hash")), key.name,
            children, failure=Failure(endpoint["reason"]) if failed else None, labels=labels, facts=facts,
            created=endpoint["created"], native=endpoint,
        )  # fmt: skip

    def render(self, goal: Goal[specs.Endpoint], have: State | None) -> Sequence[Call]:
        path, want = f"onlineEndpoints/{goal.key.name}", goal.want
        if want is None:
            return [Call(f"DELETE {path}", path, {}, "it is to be gone", Effect.DELETE)] if have else []
        children = {f"{name}-{specs.spec_hash(each)}": name for name, each in want.deployments.items()}
        tags, there = base(goal.labels), have.of("deployment") if have else ()
        weights = {part.id: part.facts["weight"] for part in there if part.facts["weight"]}
        labels = {**have.labels, **tags} if have else tags
        steps = []
        if have is None or have.phase is Phase.FAILED or lacks(have.labels, tags):
            why = "it failed, or is not labelled" if have else "there is no such endpoint"
            effect = Effect.UPDATE if have else Effect.CREATE
            steps.append(Call(f"PUT {path}", path, _parent(labels, weights, have), why, effect))
        for child, name in children.items():
            steps += _made(path, child, goal, want.deployments[name], have)
        wanted = {child: want.traffic[name] for child, name in children.items() if want.traffic.get(name)}
        switched = {
            **labels,
            **{key: goal.labels[key] for key in ("cloudml-hash", "cloudml-prev") if key in goal.labels},
        }
        if weights != wanted or not have or lacks(have.labels, switched) or have.facts["capture"] != want.capture:
            body = {"labels": switched, "traffic": wanted, "capture": want.capture}
            steps.append(Call(f"PUT {path}", path, body, "the traffic or a setting differs", Effect.UPDATE))
        old = [part for part in there if part.id not in children and part.facts["owner"] == goal.key.stack]
        return [*steps, *(_delete(path, part, "nothing needs it any more") for part in old)]

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        ready = [part for part in have.of("deployment") if part.phase is Phase.READY]
        capture = have.facts["capture"]
        routes = [Route(each.name, each.spec or "", each.facts["weight"], capture) for each in ready]
        return self.ask(have, routes, body, deployment)

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("endpoint", name, owner) for owner, name in self.names(["endpoints"], "endpoint", stack)]
        return (state for key in keys if (state := self.observe(key, None)))


def _child(row: Row, traffic: Mapping[str, int]) -> Part:
    child = row["name"].partition("/")[2]
    labels, failure = row["labels"], Failure(row["reason"]) if row.get("reason") else None
    facts = {"weight": traffic.get(child, 0), "owner": labels.get("cloudml-stack")}
    spec = labels.get("cloudml-hash")
    return Part("deployment", child.removesuffix(f"-{spec}"), child, PHASES[row["state"]], spec, failure, facts)


def _parent(labels: Mapping[str, str], weights: Mapping[str, int], have: State | None) -> dict[str, Any]:
    capture = (have.facts if have else EMPTY).get("capture", 0.0)
    return {"labels": dict(labels), "traffic": dict(weights), "capture": capture}


def _made(
    path: str, child: str, goal: Goal[specs.Endpoint], deployment: specs.Deployment, have: State | None
) -> Iterator[Call]:
    """The child as it is wanted; a failed one stays until it is deleted."""
    there = next((part for part in have.of("deployment") if part.id == child), None) if have else None
    if there and not there.phase.failed:
        return
    if there:
        yield _delete(path, there, "it failed")
    labels = {**base(goal.labels), "cloudml-hash": specs.spec_hash(deployment)}
    body = {"model": goal.references[deployment.model].id, "labels": labels}
    yield Call(f"PUT {path}/deployments/{child}", f"{path}/deployments/{child}", body, "this deployment is new")


def _delete(path: str, part: Part, why: str) -> Call:
    return Call(f"DELETE {path}/deployments/{part.id}", f"{path}/deployments/{part.id}", {}, why, Effect.DELETE)
