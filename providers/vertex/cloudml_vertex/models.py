"""Model families and their versions in the Model Registry, which numbers the versions and has aliases of its own.

A version's hash, and the run that made it, stand at the end of its ``versionDescription``: labels of a version and of
its model are merged when they are read (the API's reference, UpdateModelRequest), so no label tells one version apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cloudml import specs
from cloudml.errors import NotFound
from cloudml.objects import Objects
from cloudml.spi import Call, Effect, Goal, Later, Operation, Repeat, Version, patched
from cloudml.states import Key, Part, Phase, State
from cloudml_vertex.options import NAME
from cloudml_vertex.wire import Wire

MARK = re.compile(
    r"(?s)(?P<text>.*?)\s*\[cloudml (?P<hash>[0-9a-f]{8})(?: run (?P<run>\S+?))?(?P<archived> archived)?\]$"
)
NATIVE_ALIAS = "default"


class VertexModels:
    """A job's model is copied to a place of its family's before its version names it, so the job can be deleted."""

    def __init__(self, wire: Wire, artifacts: Objects) -> None:
        self._wire = wire
        self._artifacts = artifacts

    def observe(self, key: Key, want: specs.Model | None) -> State | None:
        name = self._wire.place.model(key.name)
        operations = self._wire.running(name)  # first: what ends after this look is then seen in the model
        model = self._wire.find("GetModel", {"name": name})
        if model is None:
            return self._before(key, operations)
        return self._state(key, model, operations)

    def render(self, goal: Goal[specs.Model], have: State | None) -> Sequence[Call]:
        if goal.version is not None:
            return list(self._turned(goal.version, have)) if have is not None else []
        if goal.want is not None:
            return [*self._version(goal, goal.want, have), *self._alias(goal, goal.want, have)]
        if goal.cancel or have is None:
            return []
        copies = [
            Call("DeleteObjects", part.id, {"prefix": part.id}, "its family is not wanted", Effect.DELETE)
            for part in have.of("artifact")
        ]
        name = self._wire.place.model(goal.key.name)
        gone = [Call("DeleteModel", name, {"name": name}, "it is not wanted", Effect.DELETE)] if have.id else []
        return [*copies, *gone]

    def send(self, call: Call) -> Operation | None:
        if call.operation == "DeleteObjects":
            self._artifacts.delete(call.target)
            return None
        if call.operation == "CopyObjects":
            source = call.document["source"]
            if not self._artifacts.copy(source, call.target):
                raise NotFound(f"there is nothing at {source}")
            return None
        return self._wire.write(call.operation, call.document)

    def poll(self, operation: Operation) -> Operation:
        return self._wire.poll(operation)

    def list(self, stack: str | None) -> Iterator[State]:
        mark = f'labels.cloudml-stack="{stack}"' if stack else "labels.cloudml-stack:*"
        ask = {"parent": self._wire.place.name, "filter": f'labels.cloudml-kind="model" AND {mark}'}
        for model in sorted(self._wire.items("ListModels", ask), key=lambda each: str(each["name"])):
            name, owner = model["name"].rpartition("/")[2], model["labels"]["cloudml-stack"]
            yield self._state(Key("model", name, stack or owner), model, self._wire.running(model["name"]))

    # -- the requests ------------------------------------------------------------------------------------------------

    def _version(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> Iterator[Call]:
        place, hash = self._wire.place, specs.spec_hash(want)
        name, labels = place.model(goal.key.name), {**want.labels, **_family(goal.labels)}
        there = have if have is not None and have.id else None
        if there and any(there.labels.get(label) != text for label, text in labels.items()):
            model = {"name": name, "displayName": goal.key.name, "labels": {**there.labels, **labels}}
            yield Call(
                "UpdateModel", name, {"model": model, "updateMask": "labels"}, "its labels differ", Effect.UPDATE
            )
        found = [part for part in there.of("version") if part.spec == hash] if there else []
        for double in found[1:]:
            why = "a lost answer made it twice"
            yield Call("DeleteModelVersion", double.id, {"name": double.id}, why, Effect.DELETE)
        if found:
            return
        uri = self._uri(goal.key, want, hash)
        if want.from_ and not (have and have.part("artifact", name=hash)):
            source = self._artifacts.uri(f"{goal.key.stack}/runs/{want.from_.removeprefix('run:')}/model")
            yield Call("CopyObjects", uri, {"source": source}, "the job's files go with the job")
        model = {
            "displayName": goal.key.name,
            "artifactUri": uri,
            "versionDescription": _description(want, hash),
            "labels": labels,
        }
        identity = {"parentModel": name} if there else {"modelId": goal.key.name}
        document = {"parent": place.name, **identity, "model": patched(model, want, NAME)}
        yield Call("UploadModel", goal.key.name, document, f"no version has hash {hash}", repeat=Repeat.GUARDED)

    def _turned(self, wanted: Version, have: State | None) -> Iterator[Call]:
        """One version archived, brought back or gone; the native default alias is on another one before it goes."""
        assert have is not None
        for part in wanted.differing(have):
            if wanted.phase is not None:
                model = {
                    "name": part.id,
                    "displayName": have.key.name,
                    "versionDescription": _written(part, wanted.phase is Phase.ARCHIVED),
                }
                document = {"model": model, "updateMask": "versionDescription"}
                yield Call("UpdateModel", part.id, document, f"it is {part.phase.value}", Effect.UPDATE)
                continue
            others = [each for each in have.of("version") if each.id != part.id]
            if others and part.facts["default"]:
                document = {"name": others[-1].id, "versionAliases": [NATIVE_ALIAS]}
                why = "the default version cannot be deleted"
                yield Call("MergeVersionAliases", others[-1].id, document, why, Effect.UPDATE)
            operation, target = ("DeleteModelVersion", part.id) if others else ("DeleteModel", have.id)
            yield Call(operation, target, {"name": target}, "it is not wanted", Effect.DELETE)
        if wanted.phase is None and (copy := have.part("artifact", name=wanted.hash)):
            yield Call("DeleteObjects", copy.id, {"prefix": copy.id}, "no version needs it any more", Effect.DELETE)

    def _alias(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> Iterator[Call]:
        """One write: an alias that is on another version moves."""
        part = have.part("version", spec=specs.spec_hash(want)) if have else None
        if want.alias is None or (part and want.alias in part.facts["aliases"]):
            return
        target = self._wire.place.model(goal.key.name, part.name if part else str(Later("version")))
        name: str | Later = target if part else Later("version")
        document = {"name": name, "versionAliases": [want.alias]}
        yield Call("MergeVersionAliases", target, document, f"{want.alias} is elsewhere", Effect.UPDATE)

    def _uri(self, key: Key, want: specs.Model, hash: str) -> str:
        """Content is where the core has put it; a job's model has a copy of its family's."""
        if want.path is None:
            return self._artifacts.uri(f"{_copies(key)}/{hash}")
        kind, _, digest = want.path.partition(":")
        return self._artifacts.uri(f"{key.stack}/content/{digest}") if kind == "sha256" else want.path

    # -- what is there -----------------------------------------------------------------------------------------------

    def _before(self, key: Key, operations: tuple[Operation, ...]) -> State | None:
        """What there may be of a family that is not there: an upload that runs, a copy that waits for its version."""
        copies = self._copied(key)
        if not operations and not copies:
            return None
        phase = Phase.CREATING if operations else Phase.EMPTY
        return State(key, phase, None if operations else key.stack, parts=copies, operations=operations)

    def _copied(self, key: Key) -> tuple[Part, ...]:
        return tuple(Part("artifact", hash, uri, Phase.READY) for hash, uri in self._artifacts.folders(_copies(key)))

    def _state(self, key: Key, model: Mapping[str, Any], operations: tuple[Operation, ...]) -> State:
        labels = model.get("labels", {})
        name = model["name"].partition("@")[0]
        rows = self._wire.items("ListModelVersions", {"name": name})
        versions = sorted((_part(name, row) for row in rows), key=lambda part: int(part.name))
        owned = Key(key.kind, key.name, labels.get("cloudml-stack", key.stack))
        return State(
            key=key,
            phase=Phase.READY,
            owner=labels.get("cloudml-stack"),
            id=name,
            parts=(*versions, *self._copied(owned)),
            operations=operations,
            labels=labels,
            facts={"aliases": {alias: part.name for part in versions for alias in part.facts["aliases"]}},
            created=datetime.fromisoformat(model["createTime"]).timestamp(),
            native=model,
        )


def _part(model: str, row: Mapping[str, Any]) -> Part:
    match = MARK.fullmatch(row.get("versionDescription", ""))
    aliases = [alias for alias in row.get("versionAliases", ()) if alias != NATIVE_ALIAS]
    return Part(
        kind="version",
        name=row["versionId"],
        id=f"{model}@{row['versionId']}",
        phase=Phase.ARCHIVED if match and match["archived"] else Phase.READY,
        spec=match["hash"] if match else None,
        facts={
            "uri": row.get("artifactUri", ""),
            "aliases": tuple(aliases),
            "default": NATIVE_ALIAS in row.get("versionAliases", ()),
            "run": match["run"] if match else None,
            "description": match["text"] if match else row.get("versionDescription", ""),
            "created": datetime.fromisoformat(row["versionCreateTime"]).timestamp(),
        },
    )


def _description(want: specs.Model, hash: str) -> str:
    return _marked(want.description, hash, want.from_.removeprefix("run:") if want.from_ else None, False)


def _written(part: Part, archived: bool) -> str:
    """A version's description again, archived or not."""
    return _marked(part.facts["description"], part.spec or "", part.facts["run"], archived)


def _marked(text: str, hash: str, run: str | None, archived: bool) -> str:
    mark = f"[cloudml {hash}{f' run {run}' if run else ''}{' archived' if archived else ''}]"
    return f"{text} {mark}".strip()


def _family(labels: Mapping[str, str]) -> dict[str, str]:
    """A family's labels say nothing of one version."""
    return {name: text for name, text in labels.items() if name not in ("cloudml-hash", "cloudml-prev")}


def _copies(key: Key) -> str:
    """The folder of the store that holds a family's copies of models."""
    return f"{key.stack}/versions/{key.name}"
