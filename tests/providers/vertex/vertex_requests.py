"""Rendering without a network, and an independent check of what was rendered: Google's own message classes and rules.

``annotations.json`` says which fields are required; it was made from the protos that Google publishes (Apache-2.0), by
the project's research of November 2026, and holds the messages that are sent here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import json_format
from google.protobuf.message import Message

from cloudml import specs
from cloudml.labels import present
from cloudml.objects import Objects
from cloudml.spi import Call, Later, Reference, Secret
from cloudml.states import Key, State
from cloudml_vertex.artifacts import CloudStorage
from cloudml_vertex.endpoints import VertexEndpoints
from cloudml_vertex.jobs import VertexJobs
from cloudml_vertex.models import VertexModels
from cloudml_vertex.wire import Place, Wire

REQUIRED: Mapping[str, Sequence[str]] = json.loads((Path(__file__).parent / "annotations.json").read_text())["required"]
PLACE = Place("acme-ml", "us-central1")
STACK = "shop-dev"
RUN = "fraud-train-1a2b3c4d-1"
OURS = ("CopyObjects", "DeleteObjects")  # of Cloud Storage, not of this API


def render(kind: str, name: str, want: specs.Spec, have: State | None = None, **settings: Any) -> list[Call]:
    """The calls that lead to a want; nothing is asked of anybody, as ``None`` in place of a connection shows."""
    nobody: Any = None
    wire = Wire(PLACE, nobody, "grpc", nobody)
    store = Objects(CloudStorage("acme-ml", "acme-bucket", nobody, nobody))
    kinds = {
        "job": VertexJobs(wire, store, "python:3.11-slim", settings.get("service_account")),
        "model": VertexModels(wire, store),
        "endpoint": VertexEndpoints(wire, store, nobody, settings.get("image"), settings.get("service_account")),
    }
    references = {each.model: reference(each.model) for each in getattr(want, "deployments", {}).values()}
    goal = present(Key(kind, name, STACK), want, have, references)
    return list(kinds[kind].render(goal, have))  # type: ignore[attr-defined]


def reference(text: str) -> Reference:
    family, _, hash = text.partition(":")
    return Reference(
        family,
        hash,
        "3",
        PLACE.model(family, "3"),
        f"gs://acme-bucket/{STACK}/versions/{family}/{hash}",
        "gs://acme-bucket/sidecar.json",
    )


def check(call: Call) -> None:
    """Raises where Google would: unknown fields, wrong types, required fields that are missing."""
    if call.operation in OURS:
        return
    kind = getattr(aiplatform_v1, f"{call.operation}Request")
    message = kind.pb(kind())
    json_format.ParseDict(_known(call.document), message)
    lacking = list(missing(message))
    assert not lacking, f"{call.operation}: required and missing: {lacking}"


def _known(value: Any) -> Any:
    """What is sent: values in place of what a plan cannot know."""
    if isinstance(value, (Later, Secret)):
        return "known-later"
    if isinstance(value, Mapping):
        return {name: _known(each) for name, each in value.items()}
    return [_known(each) for each in value] if isinstance(value, (list, tuple)) else value


def missing(message: Message, path: str = "", asked: Collection[str] | None = None) -> Iterator[str]:
    """Required strings, messages and lists that are empty; a zero is no missing number (facts, vertex.md §5)."""
    for name in required(message, asked):
        field, value = message.DESCRIPTOR.fields_by_name[name], getattr(message, name)
        if not message.HasField(name) if field.message_type and not _repeated(field) else not value:
            yield f"{path}{name}"
    for field, value in message.ListFields():
        if field.message_type and not field.message_type.GetOptions().map_entry:
            for each in value if _repeated(field) else [value]:
                yield from missing(each, f"{path}{field.name}.", masked(message))


def required(message: Message, asked: Collection[str] | None = None) -> Iterator[str]:
    """The fields of a message that are required of it; ``asked`` are those that an update is about."""
    fields = message.DESCRIPTOR.fields_by_name
    for name in REQUIRED.get(message.DESCRIPTOR.full_name, ()):
        text = fields[name].message_type or fields[name].cpp_type == fields[name].CPPTYPE_STRING
        if (text or _repeated(fields[name])) and (asked is None or name in asked):
            yield name


def masked(message: Any) -> Collection[str] | None:
    """The fields that an update's mask names; None for any other message. gcloud sends no others, whatever they are."""
    mask = getattr(message, "update_mask", None)
    return {re.sub("([A-Z])", r"_\1", path).lower().split(".")[0] for path in mask.paths} if mask else None


def _repeated(field: Any) -> bool:
    return bool(field.is_repeated)
