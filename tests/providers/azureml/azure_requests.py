"""Rendering without a network, and an independent check of what was rendered: the service's models by api-version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cloudml import specs
from cloudml.errors import ConfigError
from cloudml.labels import present
from cloudml.objects import Objects
from cloudml.spi import Call, Kind, Reference, Subject
from cloudml.states import Key, State
from cloudml_azureml.artifacts import Blobs
from cloudml_azureml.emulator.schemas import MODELS, accepted
from cloudml_azureml.endpoints import AzureEndpoints
from cloudml_azureml.jobs import AzureJobs
from cloudml_azureml.models import AzureModels
from cloudml_azureml.monitors import AzureMonitors
from cloudml_azureml.provider import WORKSPACE
from cloudml_azureml.wire import VERSIONS, WRITES, Wire

W = WORKSPACE.format("1b2c3d4e-0000-0000-0000-000000000000", "ml", "shop")
STACK, RUN, IMAGE = "shop-dev", "fraud-train-1a2b3c4d-1", "acme/cloudml-serve:1"
PATHS = "azureml://datastores/workspaceblobstore/paths/"
STORE = f"{PATHS}{STACK}"
SINCE = 1_790_000_000.0  # 2026-09-21T14:13:20Z
SUBJECT = Subject(
    Reference("fraud", "1a2b3c4d", "3", "id", "uri", f"{STORE}/models/fraud/1a2b3c4d.json"), SINCE, (), ("green",)
)


def kinds(compute: str | None = None, image: str | None = IMAGE) -> Mapping[str, Kind[Any]]:
    """The adapter's kinds over nobody: rendering asks for nothing."""
    nobody: Any = None
    wire = Wire(W, "westeurope", nobody, nobody)
    store = Objects(Blobs(wire, nobody))
    return {
        "job": AzureJobs(wire, store, nobody, "python:3.11-slim", compute),
        "model": AzureModels(wire, store),
        "endpoint": AzureEndpoints(wire, store, nobody, image),
        "monitor": AzureMonitors(wire, store, image, compute),
    }


def render(kind: str, name: str, want: specs.Spec, have: State | None = None, **settings: Any) -> list[Call]:
    """The calls that lead to a want, each of them checked."""
    references = {each.model: reference(each.model) for each in getattr(want, "deployments", {}).values()}
    goal = present(Key(kind, name, STACK), want, have, references, subject=SUBJECT if kind == "monitor" else None)
    calls = list(kinds(**settings)[kind].render(goal, have))
    for call in calls:
        assert problems(call) == []
    return calls


def reference(text: str) -> Reference:
    family, _, hash = text.partition(":")
    path = f"models/{family}/versions/3"
    return Reference(family, hash, "3", path, f"{STORE}/versions/{family}/{hash}", f"{STORE}/models/x.json")


def problems(call: Call) -> list[str]:
    """What the service's model says of a request; of a blob, and of a request without a body, nothing."""
    method, _, path = call.operation.partition(" ")
    if method != "PUT" or path == "blob":
        return []
    parts = path.split("/")
    kind = "deployments" if "deployments" in parts else parts[0]
    version = WRITES.get((method, kind), VERSIONS[kind])
    schema = f"{kind}/" if kind == "models" and "versions" not in parts else kind
    if schema not in MODELS:
        raise ConfigError(f"there is no model of {schema}")
    return accepted(schema, version, json.loads(json.dumps(call.document, default=str)))[1]


def of(calls: list[Call], beginning: str) -> Call:
    """The one call whose operation begins so."""
    (found,) = (call for call in calls if call.operation.startswith(beginning))
    return found


def at(document: Any, path: str) -> Any:
    """What stands at ``a.b.c``; None where there is nothing."""
    for part in path.split("."):
        document = document.get(part) if isinstance(document, Mapping) else None
    return document
