"""Model families and their versions, in a registry on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from cloudml import specs
from cloudml.errors import NotFound
from cloudml.spi import Call, Caller, Effect, Goal, Operation, patched
from cloudml.spi import Version as SpiVersion
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml_local.artifacts import LocalArtifacts
from cloudml_local.places import Processes
from cloudml_local.runs import Runs
from cloudml_local.store import Family, Store, Version


class Models:
    """A job's model is copied into the store before its version names it, so that deleting the job loses nothing."""

    def __init__(self, store: Store, runs: Runs, artifacts: LocalArtifacts, caller: Caller, place: Processes) -> None:
        self._where = place
        self._store = store
        self._runs = runs
        self._artifacts = artifacts
        self._call = caller
        self._send: Mapping[str, Callable[[Call], Failure | None]] = {
            "CreateFamily": self._create_family,
            "SetLabels": self._set_labels,
            "CopyArtifact": self._copy,
            "CreateVersion": self._create_version,
            "SetAlias": self._set_alias,
            "SetApproval": self._set_approval,
            "SetArchived": self._set_archived,
            "DeleteVersion": self._delete_version,
            "DeleteArtifact": self._delete_artifact,
            "DeleteFamily": self._delete_family,
        }

    def observe(self, key: Key, want: specs.Model | None) -> State | None:
        family = self._call.find("GetFamily", lambda: self._store.family(key.name))
        return self._state(key, family) if family else None

    def render(self, goal: Goal[specs.Model], have: State | None) -> Sequence[Call]:
        if goal.version:
            return [*self._turning(goal.key.name, goal.version, have)]
        if goal.want is not None:
            return [*self._family_calls(goal, goal.want, have), *self._version_calls(goal, goal.want, have)]
        if goal.cancel or have is None:
            return []
        copies = [
            Call("DeleteArtifact", part.id, {}, "its family is not wanted", Effect.DELETE)
            for part in have.of("artifact")
        ]
        return [*copies, Call("DeleteFamily", goal.key.name, {}, "it is not wanted", Effect.DELETE)]

    def send(self, call: Call) -> Operation | None:
        failure = self._call.write(call.operation, lambda: self._send[call.operation](call))
        return Operation(call.fingerprint(), call.target, running=False, error=failure) if failure else None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"a registry has no operations: {operation.id}")

    def list(self, stack: str | None) -> Iterator[State]:
        for family in self._call.read("ListFamilies", self._store.families):
            if stack is None or family.owner == stack:
                yield self._state(Key("model", family.name, stack or family.owner), family)

    def _family_calls(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> Iterator[Call]:
        name, stack = goal.key.name, goal.key.stack
        document = {"owner": stack, "labels": {**want.labels, **goal.labels, "cloudml-stack": stack}}
        if have is None:
            yield Call("CreateFamily", name, document, "there is no such family")
        elif have.owner != stack or any(have.labels.get(label) != text for label, text in want.labels.items()):
            yield Call("SetLabels", name, document, "its owner or its labels differ", Effect.UPDATE)

    def _version_calls(self, goal: Goal[specs.Model], want: specs.Model, have: State | None) -> Iterator[Call]:
        name, hash = goal.key.name, specs.spec_hash(want)
        version = have.part("version", spec=hash) if have else None
        if version is None:
            uri = self._place(goal.key, want, hash)
            if want.from_ and not (have and have.part("artifact", name=hash)):
                yield Call("CopyArtifact", uri, {"from": want.from_}, "the job's folder goes with the job")
            document = {
                "hash": hash,
                "uri": uri,
                "run": want.from_.removeprefix("run:") if want.from_ else None,
                "approval": want.approval,
                "description": want.description,
            }
            yield Call("CreateVersion", name, patched(document, want, self._where.name), f"no version has hash {hash}")
        elif want.approval and version.facts["approval"] != want.approval:
            change = {"hash": hash, "approval": want.approval}
            yield Call("SetApproval", name, change, f"it is {version.facts['approval'] or 'not judged'}", Effect.UPDATE)
        if want.alias and (version is None or want.alias not in version.facts["aliases"]):
            effect = Effect.UPDATE if version else Effect.CREATE
            yield Call("SetAlias", name, {"hash": hash, "alias": want.alias}, f"{want.alias} is elsewhere", effect)

    def _turning(self, name: str, wanted: SpiVersion, have: State | None) -> Iterator[Call]:
        """The way of one version into the archive, out of it, or away with the copy that was made for it."""
        for part in wanted.differing(have):
            document = {"hash": wanted.hash}
            if wanted.phase:
                change = document | {"archived": wanted.phase is Phase.ARCHIVED}
                yield Call("SetArchived", name, change, f"{part.name} is {part.phase.value}", Effect.UPDATE)
                continue
            for copy in have.of("artifact") if have else ():
                if copy.name == wanted.hash:
                    yield Call("DeleteArtifact", copy.id, {}, "its version is not wanted", Effect.DELETE)
            yield Call("DeleteVersion", name, document, f"{part.name} is not wanted", Effect.DELETE)

    def _place(self, key: Key, want: specs.Model, hash: str) -> str:
        """A job's model is copied to a place of its family's; content stays where the core has put it."""
        if want.path is None:
            return self._artifacts.uri(f"{_copies(key)}/{hash}")
        kind, _, digest = want.path.partition(":")
        return self._artifacts.uri(f"{key.stack}/content/{digest}") if kind == "sha256" else want.path

    def _create_family(self, call: Call) -> None:
        self._store.create_family(call.target, call.document["owner"], call.document["labels"])

    def _set_labels(self, call: Call) -> None:
        self._store.set_labels(call.target, call.document["owner"], call.document["labels"])

    def _copy(self, call: Call) -> Failure | None:
        run = self._runs.get(call.document["from"].removeprefix("run:"))
        if run.model is None:
            return Failure(f"job {run.id!r} left no model: it must write to the folder that {{model_dir}} names")
        self._artifacts.put_at(call.target, run.model)
        return None

    def _create_version(self, call: Call) -> Failure | None:
        if not self._artifacts.holds(call.document["uri"]):
            return Failure(f"there is nothing at {call.document['uri']}")
        run = call.document["run"]
        metrics: Mapping[str, float] = self._runs.get(run).metrics if run else {}
        self._store.create_version(
            call.target, call.document, metrics, self._artifacts.model_digest(call.document["uri"])
        )
        return None

    def _set_alias(self, call: Call) -> None:
        self._store.set_alias(call.target, call.document["alias"], call.document["hash"])

    def _set_approval(self, call: Call) -> None:
        self._store.set_approval(call.target, call.document["hash"], call.document["approval"])

    def _set_archived(self, call: Call) -> None:
        self._store.set_archived(call.target, call.document["hash"], call.document["archived"])

    def _delete_version(self, call: Call) -> None:
        self._store.delete_version(call.target, call.document["hash"])

    def _delete_artifact(self, call: Call) -> None:
        self._artifacts.delete(call.target)

    def _delete_family(self, call: Call) -> None:
        self._store.delete_family(call.target)

    def _state(self, key: Key, family: Family) -> State:
        owner = Key(key.kind, key.name, family.owner)
        copies = self._call.read("ListArtifacts", lambda: self._artifacts.folders(_copies(owner)))
        return State(
            key=key,
            phase=Phase.READY if family.versions else Phase.EMPTY,
            owner=family.owner,
            id=family.name,
            parts=(
                *(_part(family.name, version) for version in family.versions),
                *(Part("artifact", hash, uri, Phase.READY) for hash, uri in copies),
            ),
            labels=family.labels,
            facts={"aliases": {alias: str(each.number) for each in family.versions for alias in each.aliases}},
            created=family.created,
        )


def _copies(key: Key) -> str:
    """The folder of the store that holds a family's copies of models."""
    return f"{key.stack}/versions/{key.name}"


def _part(family: str, version: Version) -> Part:
    return Part(
        kind="version",
        name=str(version.number),
        id=f"{family}:{version.number}",
        phase=Phase.ARCHIVED if version.archived else Phase.READY,
        spec=version.hash,
        facts={
            "uri": version.uri,
            "aliases": version.aliases,
            "approval": version.approval,
            "metrics": version.metrics,
            "run": version.run,
            "description": version.description,
            "created": version.created,
        },
    )
