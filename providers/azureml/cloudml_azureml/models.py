"""Model families as model containers, whose tags hold aliases; versions under numbers that we choose.

What a version was made from, and its hash, stand in its properties, which no later PUT changes; its approval is a tag.
Its files lie in a folder of its own with the sidecar beside them: an endpoint mounts one folder and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cloudml import specs
from cloudml.objects import Objects
from cloudml.spi import Call, Effect, Goal, Operation, Version, patched
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml_azureml.artifacts import short
from cloudml_azureml.options import NAME
from cloudml_azureml.wire import Wire

ALIAS, NEXT = "cloudml-alias-", "cloudml-next"
HASH, RUN, APPROVAL = "cloudml-hash", "cloudml-run", "cloudml-approval"
FOLDER, SIDECAR = "model", "cloudml-sidecar.json"  # apart: the digest of a model is that of its folder
OURS = ("cloudml-hash", "cloudml-prev")


class AzureModels:
    """A model's files are copied to a folder of the version's own before it names them."""

    def __init__(self, wire: Wire, artifacts: Objects) -> None:
        self._wire = wire
        self._artifacts = artifacts

    def observe(self, key: Key, want: specs.Model | None) -> State | None:
        container = self._wire.find(f"models/{key.name}")
        return self._state(key, container) if container else None

    def render(self, goal: Goal[specs.Model], have: State | None) -> Sequence[Call]:
        if goal.version is not None:
            return list(self._turned(goal.version, have)) if have is not None else []
        if goal.want is not None:
            return list(self._present(goal, goal.want, have))
        if goal.cancel or have is None:
            return []
        path = f"models/{goal.key.name}"
        gone = [_delete_files(part, "its family is not wanted") for part in have.of("artifact")]
        return [*gone, Call(f"DELETE {path}", path, {}, "it is not wanted", Effect.DELETE)]

    def send(self, call: Call) -> Operation | None:
        if call.operation == "DELETE blobs":
            self._artifacts.delete(call.target)
            return None
        if call.operation == "COPY blobs":
            source, sidecar = call.document["source"], call.document["sidecar"]
            if self._artifacts.copy(source, call.target, FOLDER, {SIDECAR: sidecar}):
                return None
            nothing = Failure(f"there is nothing at {source}")
            return Operation(call.fingerprint(), call.target, running=False, error=nothing)
        return self._wire.write(call.operation, call.document)

    def poll(self, operation: Operation) -> Operation:
        return self._wire.poll(operation)

    def list(self, stack: str | None) -> Iterator[State]:
        for container in sorted(self._wire.items("models"), key=lambda each: str(each["name"])):
            tags = container["properties"].get("tags") or {}
            if tags.get("cloudml-kind") == "model" and stack in (None, tags["cloudml-stack"]):
                yield self._state(Key("model", container["name"], stack or tags["cloudml-stack"]), container)

    # -- the way there -----------------------------------------------------------------------------------------------

    def _present(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> Iterator[Call]:
        path, hash = f"models/{goal.key.name}", specs.spec_hash(want)
        labels = {**want.labels, **{name: text for name, text in goal.labels.items() if name not in OURS}}
        tags = {**(have.labels if have else {}), **labels}
        if have is None or tags != have.labels:
            effect = Effect.UPDATE if have else Effect.CREATE
            yield _container(path, tags, "its labels differ" if have else "there is no such family", effect)
        part = have.part("version", spec=hash) if have else None
        number = part.name if part else str(have.facts["next"] if have else 1)
        if part is None:
            yield from self._version(goal, want, hash, number, have)
        elif want.approval and part.facts["approval"] != want.approval:
            tagged = {**part.facts["tags"], APPROVAL: want.approval}
            yield _again(part, {"tags": tagged}, f"it is {part.facts['approval'] or 'not judged'}")
        if want.alias and tags.get(ALIAS + want.alias) != number:
            yield _container(path, {**tags, ALIAS + want.alias: number}, f"{want.alias} is elsewhere", Effect.UPDATE)

    def _version(
        self, goal: Goal[specs.Model], want: specs.Model, hash: str, number: str, have: State | None
    ) -> Iterator[Call]:
        uri, source = self._uri(goal.key, want, hash), self._source(goal.key, want)
        if source and not (have and have.part("artifact", name=hash)):
            sidecar = self._artifacts.uri(f"{goal.key.stack}/models/{goal.key.name}/{hash}.json")
            yield Call("COPY blobs", uri, {"source": source, "sidecar": sidecar}, "a version has files of its own")
        run = {RUN: want.from_.removeprefix("run:")} if want.from_ else {}
        properties = {
            "modelType": "custom_model",
            "modelUri": uri,
            "description": want.description,
            "properties": {HASH: hash, **run},
            "tags": {APPROVAL: want.approval} if want.approval else {},
        }
        target = f"models/{goal.key.name}/versions/{number}"
        document = {"properties": patched(properties, want, NAME)}
        yield Call(f"PUT {target}", target, document, f"no version has hash {hash}")

    def _turned(self, wanted: Version, have: State | None) -> Iterator[Call]:
        """One version archived, brought back or gone; its number is not given again."""
        assert have is not None
        for part in wanted.differing(have):
            if wanted.phase is not None:
                yield _again(part, {"isArchived": wanted.phase is Phase.ARCHIVED}, f"it is {part.phase.value}")
                continue
            if int(have.labels.get(NEXT, "1")) <= int(part.name):
                tags = {**have.labels, NEXT: str(have.facts["next"])}
                yield _container(f"models/{have.id}", tags, "its number is not given again", Effect.UPDATE)
            yield Call(f"DELETE {part.id}", part.id, {}, "it is not wanted", Effect.DELETE)
        if wanted.phase is None and (copy := have.part("artifact", name=wanted.hash)):
            yield _delete_files(copy, "no version needs them any more")

    def _source(self, key: Key, want: specs.Model) -> str | None:
        """Where the files are that a version copies; None for what lies somewhere of its own."""
        if want.from_:
            return self._artifacts.uri(f"{key.stack}/runs/{want.from_.removeprefix('run:')}/model")
        kind, _, digest = (want.path or "").partition(":")
        return self._artifacts.uri(f"{key.stack}/content/{digest}") if kind == "sha256" else None

    def _uri(self, key: Key, want: specs.Model, hash: str) -> str:
        return self._artifacts.uri(f"{_copies(key)}/{hash}") if self._source(key, want) else str(want.path)

    # -- what is there -----------------------------------------------------------------------------------------------

    def _state(self, key: Key, container: Mapping[str, Any]) -> State:
        tags = container["properties"].get("tags") or {}
        aliases = {tag.removeprefix(ALIAS): number for tag, number in tags.items() if tag.startswith(ALIAS)}
        rows = self._wire.items(f"models/{container['name']}/versions", listViewType="All")
        versions = sorted((_part(container["name"], row, aliases) for row in rows), key=lambda part: int(part.name))
        owned = Key(key.kind, key.name, tags.get("cloudml-stack", key.stack))
        copies = tuple(
            Part("artifact", hash, uri, Phase.READY) for hash, uri in self._artifacts.folders(_copies(owned))
        )
        known = {part.name for part in versions}
        return State(
            key=key,
            phase=Phase.READY if versions else Phase.EMPTY,
            owner=tags.get("cloudml-stack"),
            id=container["name"],
            parts=(*versions, *copies),
            labels=tags,
            facts={
                "aliases": {alias: number for alias, number in aliases.items() if number in known},
                "next": max([int(tags.get(NEXT, "1")), *(1 + int(part.name) for part in versions)]),
            },
            created=_seconds(container),
            native=container,
        )


def _part(family: str, row: Mapping[str, Any], aliases: Mapping[str, str]) -> Part:
    properties = row["properties"]
    about, tags = properties.get("properties") or {}, properties.get("tags") or {}
    return Part(
        kind="version",
        name=row["name"],
        id=f"models/{family}/versions/{row['name']}",
        phase=Phase.ARCHIVED if properties.get("isArchived") else Phase.READY,
        spec=about.get(HASH),
        facts={
            "uri": short(properties.get("modelUri") or ""),
            "aliases": tuple(sorted(alias for alias, number in aliases.items() if number == row["name"])),
            "approval": tags.get(APPROVAL),
            "run": about.get(RUN),
            "description": properties.get("description") or "",
            "created": _seconds(row),
            "tags": dict(tags),
            "document": {
                name: properties[name]
                for name in ("modelType", "modelUri", "description", "properties", "tags", "isArchived")
                if name in properties
            },
        },
    )


def _container(path: str, tags: Mapping[str, str], why: str, effect: Effect) -> Call:
    return Call(f"PUT {path}", path, {"properties": {"tags": dict(tags)}}, why, effect)


def _again(part: Part, changes: Mapping[str, Any], why: str) -> Call:
    """The whole version again with a change: there is no PATCH."""
    properties = {**part.facts["document"], **changes}
    return Call(f"PUT {part.id}", part.id, {"properties": properties}, why, Effect.UPDATE)


def _delete_files(part: Part, why: str) -> Call:
    return Call("DELETE blobs", part.id, {}, why, Effect.DELETE)


def _copies(key: Key) -> str:
    """The folder of the store that holds the files of a family's versions."""
    return f"{key.stack}/versions/{key.name}"


def _seconds(row: Mapping[str, Any]) -> float | None:
    created = (row.get("systemData") or {}).get("createdAt")
    return datetime.fromisoformat(created).timestamp() if created else None
