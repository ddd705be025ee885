"""From what people write to what the loop pursues: digests for paths, ids, labels, references, what must come first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from cloudml import artifacts, bundle, sidecars
from cloudml.artifacts import Content, Contents
from cloudml.capabilities import require
from cloudml.errors import ConfigError, NotFound, QuotaExceeded
from cloudml.events import Events
from cloudml.ids import Ids
from cloudml.labels import HASH, label, present, refuse_archived
from cloudml.reconcile import look, reconcile
from cloudml.run import Run
from cloudml.specs import (
    MUTABLE,
    NAME,
    Endpoint,
    Model,
    Monitor,
    Native,
    Spec,
    TrainingJob,
    document,
    hash8,
    make,
    spec_hash,
)
from cloudml.spi import Call, Goal, Kind, Later, Plugin, Provider, Reference, Subject, Until, Version
from cloudml.states import Key, Part, Phase, State
from cloudml.waiting import Clock, Wait

Want = TypeVar("Want")
Kept = TypeVar("Kept", bound=Spec)
LONGEST_ID = 63  # SageMaker's limit for a training job's name is the tightest
LONGEST_STACK = 20
PATIENCE = 1800.0
SPECS: Mapping[str, type[Spec]] = {"job": TrainingJob, "model": Model, "endpoint": Endpoint, "monitor": Monitor}


@dataclass(frozen=True)
class Pursuit(Generic[Want]):
    """A goal with its kind, and the contents that have to be stored before its first call."""

    kind: Kind[Want]
    goal: Goal[Want]
    before: tuple[Content, ...] = ()

    @property
    def digest(self) -> str:
        """The hash of what is wanted."""
        assert isinstance(self.goal.want, Spec), f"nothing is wanted of {self.goal.key}"
        return spec_hash(self.goal.want)


@dataclass(frozen=True)
class Planned:
    """One step of a plan: what is there of ``key``, and the calls that lead to what is wanted."""

    key: Key
    calls: tuple[Call, ...]
    have: State | None


def stack_name(project: str, env: str) -> str:
    """``{project}-{env}``, cut with a hash where it is over 20 characters.

    A dash in ``env`` adds a hash too: project ``a`` in ``b-c`` is another stack than project ``a-b`` in ``c``.
    """
    name = f"{project}-{env}" + (f"-{hash8([project, env])[:4]}" if "-" in env else "")
    return name if len(name) <= LONGEST_STACK else f"{name[: LONGEST_STACK - 9].rstrip('-')}-{hash8(name)}"


def split_reference(text: str) -> tuple[str, str, str]:
    """``fraud@champion`` as ``("fraud", "@", "champion")``; the mark is ``@``, ``:`` or nothing."""
    at = next((at for at, letter in enumerate(text) if letter in "@:"), len(text))
    return text[:at], text[at : at + 1], text[at + 1 :]


@dataclass(frozen=True)
class Session:
    """One connection to one provider for one stack: makes goals and pursues them."""

    provider: Provider
    plugin: Plugin
    stack: str
    events: Events
    clock: Clock = field(default_factory=Clock)

    # -- goals -------------------------------------------------------------------------------------------------------

    def job(
        self, name: str, spec: TrainingJob, attempt: int | None = None, ids: Ids | None = None
    ) -> Pursuit[TrainingJob]:
        """A run of a job: the given attempt, or the last one that is observed, or the first that never was.

        ``ids`` are the runs as they were just now; they are asked for where they are needed and not given.
        """
        self._check("job", name, spec)
        planned, contents = self._job_contents(spec)
        base = f"{name}-{spec_hash(planned)}"
        run_id = f"{base}-{attempt or (ids or self.ids()).last(base)}"
        if len(run_id) > LONGEST_ID:
            raise ConfigError(f"the run id {run_id} has {len(run_id)} characters; {LONGEST_ID} are allowed")
        key = Key("job", run_id, self.stack)
        return Pursuit(self.provider.jobs, present(key, planned, None), (*contents, self._document(planned)))

    def ids(self) -> Ids:
        """The runs that there are now, and those that were deleted: asked in this order, so that none is missed."""
        there = tuple(state.key.name for state in self.provider.jobs.list(self.stack))
        uris = self.provider.artifacts.list(self._deleted)
        return Ids(there, tuple(uri.rpartition("/")[2].removesuffix(".json") for uri in uris))

    def absent_job(self, key: Key) -> Pursuit[TrainingJob]:
        """A run is to be gone; that there was one is written down before, so that its id is not used again."""
        stored = artifacts.document(f"{self._deleted}/{key.name}.json", {"id": key.name})
        return Pursuit(self.provider.jobs, Goal[TrainingJob](key), (stored,))

    def delete_job(self, key: Key) -> None:
        """Pursues that; on a full disk the run goes first, because what it leaves is the room to write it down."""
        pursuit = self.absent_job(key)
        try:
            self.pursue(pursuit)
        except QuotaExceeded:
            self.pursue(replace(pursuit, before=()))
            for each in pursuit.before:
                self.pursue(self.content(each))

    def model(self, family: str, spec: Model, facts: Callable[[], Mapping[str, Any]] = dict) -> Pursuit[Model]:
        """A model version; ``facts`` gives what its sidecar records of the run (``metrics``), when it is written."""
        check_name("model", family)
        self._check("model", family, spec)
        planned, contents = self._model_contents(spec)
        key = Key("model", family, self.stack)
        digest = spec_hash(planned)
        sidecar = Content(
            sidecars.key(self.stack, family, digest), lambda: sidecars.build(family, digest, spec, planned, facts())
        )
        goal = present(key, planned, None)
        return Pursuit(self.provider.models, goal, (*contents, sidecar, self._document(planned)))

    def endpoint(
        self, name: str, spec: Endpoint, resolve: Callable[[str], Reference] | None = None
    ) -> Pursuit[Endpoint]:
        """An endpoint whose deployments name registered versions, or such as ``resolve`` knows to be on their way."""
        check_name("endpoint", name)
        self._check("endpoint", name, spec)
        find = resolve or self.deployable
        found = {each: find(deployment.model) for each, deployment in spec.deployments.items()}
        named = {each: f"{reference.family}:{reference.hash}" for each, reference in found.items()}
        deployments = {
            each: deployment.model_copy(update={"model": named[each]}) for each, deployment in spec.deployments.items()
        }
        planned = spec.model_copy(update={"deployments": deployments, "monitor": None})
        key = Key("endpoint", name, self.stack)
        have = self.provider.endpoints.observe(key, planned)
        goal = present(key, planned, have, {named[each]: found[each] for each in found})
        return Pursuit(self.provider.endpoints, goal, (self._document(planned),))

    def monitor(self, endpoint: str, spec: Monitor, serves: Callable[[], Goal[Endpoint]] | None = None) -> Pursuit[Any]:
        """What is watched on an endpoint: a document, and the provider's own schedule where one is asked for.

        The schedule is told what the endpoint is to be by ``serves``, else what it is. NotFound if there is none.
        """
        self._check("monitor", endpoint, spec)
        planned = spec.model_copy(update={"endpoint": endpoint})
        stored = artifacts.document(self.monitor_key(endpoint), document(planned), changes=True)
        native, key = self.provider.monitors, Key("monitor", endpoint, self.stack)
        if native is not None and spec.schedule:
            subject = self._subject(endpoint, serves() if serves else None)
            return Pursuit(native, present(key, planned, None, subject=subject), (stored,))
        if native is not None and native.observe(key, None) is not None:
            return Pursuit(native, Goal(key), (stored,))  # the schedule that was asked for before goes
        return self.content(stored)

    def absent(self, kind: Kind[Any], key: Key) -> Pursuit[Any]:
        return Pursuit(kind, Goal(key))

    def absent_content(self, key: str) -> Pursuit[Content]:
        return Pursuit(Contents(self.provider.artifacts), Goal(Key(artifacts.KIND, key, self.stack)))

    # -- pursuing them -----------------------------------------------------------------------------------------------

    def preview(self, pursuit: Pursuit[Want], adopt: bool = False) -> list[Planned]:
        """The calls that would be sent, contents first; nothing is sent."""
        have, calls = look(pursuit.kind, pursuit.goal, adopt)
        if not calls:
            return [Planned(pursuit.goal.key, (), have)]
        steps = [planned for each in pursuit.before for planned in self.preview(self.content(each))]
        return [*(step for step in steps if step.calls), Planned(pursuit.goal.key, tuple(calls), have)]

    def pursue(
        self,
        pursuit: Pursuit[Want],
        timeout: float | None = None,
        until: Until = Until.DONE,
        adopt: bool = False,
        exclusive: bool = False,
        existing: bool = False,
    ) -> State | None:
        """Makes it so; the state that was observed in the end. Raises what reconcile raises."""
        wait = Wait(self.clock, PATIENCE if timeout is None else timeout, self.plugin.pace)
        if pursuit.before and look(pursuit.kind, pursuit.goal, adopt)[1]:
            for each in pursuit.before:
                content = self.content(each)
                reconcile(content.kind, content.goal, Run(wait, self.events))
        goal = replace(pursuit.goal, until=until)
        return reconcile(pursuit.kind, goal, Run(wait, self.events, adopt, exclusive, existing))

    # -- what is there -----------------------------------------------------------------------------------------------

    def remembered(self, have: State, named_by: str = HASH) -> Spec | None:
        """The full spec that a resource carries the hash of, or carried before (``labels.PREVIOUS``)."""
        name = have.labels.get(named_by)
        return self.spec_document(name) if name else None

    def spec_of(self, have: State, kind: type[Kept]) -> Kept:
        """The full spec that a resource carries the hash of. NotFound if it is not in the artifact store."""
        spec = self.remembered(have)
        if not isinstance(spec, kind):
            raise NotFound(f"the spec of {have.key} is not in the artifact store", hint="deploy or apply it again")
        return spec

    def spec_document(self, name: str) -> Spec | None:
        """The planned spec that is stored under a hash, without what can change in place."""
        stored = artifacts.read_document(self.provider.artifacts, self._spec_key(name))
        return SPECS[stored["kind"]].model_validate(stored["spec"]) if stored else None

    def version(self, family: str, hash: str, phase: Phase | None) -> Pursuit[Model]:
        """One version of a family as it is to be: READY, ARCHIVED, or gone (None)."""
        goal = Goal[Model](Key("model", family, self.stack), version=Version(hash, phase))
        return Pursuit(self.provider.models, goal)

    def reference(self, text: str) -> Reference:
        """``family@alias``, ``family:version``, ``family:hash``, or ``family`` for its newest; else NotFound.

        An archived version is never the newest.
        """
        return self.reference_of(*self._named(text))

    def deployable(self, text: str) -> Reference:
        """The same for a version that is to serve. Conflict if it is archived."""
        family, part = self._named(text)
        refuse_archived(family, part)
        return self.reference_of(family, part)

    def _named(self, text: str) -> tuple[str, Part]:
        family, mark, which = split_reference(text)
        have = self.provider.models.observe(Key("model", family, self.stack), None)
        versions = have.of("version") if have else ()
        part = _choose(versions, mark, which)
        if part is None:
            known = ", ".join(part.name for part in versions) or "none"
            raise NotFound(f"there is no model {text} in {self.stack}", hint=f"versions of {family}: {known}")
        return family, part

    def reference_of(self, family: str, part: Part) -> Reference:
        """The reference to a version that is observed."""
        digest = part.spec or ""
        sidecar = self.provider.artifacts.uri(sidecars.key(self.stack, family, digest))
        uri, files = str(part.facts.get("uri", "")), part.facts.get("digest")
        return Reference(family, digest, part.name, part.id, uri, sidecar, files)

    def serving(self, have: State) -> dict[str, str]:
        """What each deployment of an endpoint serves, as ``fraud:3``; by its hash if that version is gone.

        Empty if the endpoint's spec is not in the artifact store.
        """
        spec = self.remembered(have)
        deployments = spec.deployments if isinstance(spec, Endpoint) else {}
        return {name: self._numbered(deployment.model) for name, deployment in deployments.items()}

    def _numbered(self, model: str) -> str:
        family, _, digest = split_reference(model)
        have = self.provider.models.observe(Key("model", family, self.stack), None)
        part = have.part("version", spec=digest) if have else None
        return f"{family}:{part.name}" if part else model

    def monitor_key(self, endpoint: str) -> str:
        return f"{self.stack}/monitors/{endpoint}.json"

    # -- inside ------------------------------------------------------------------------------------------------------

    def _subject(self, endpoint: str, serves: Goal[Endpoint] | None) -> Subject:
        have = self.provider.endpoints.observe(Key("endpoint", endpoint, self.stack), None)
        since = have.created if have else None
        if serves is not None and serves.want is not None:
            want, references = serves.want, serves.references
            model = references[most_asked(want)]
        elif have is not None:
            want = self.spec_of(have, Endpoint)
            model = self.reference_of(*self._named(most_asked(want)))
        else:
            raise NotFound(f"there is no endpoint {endpoint} in {self.stack}", hint="deploy it before it is watched")
        stored = sidecars.read(self.provider.artifacts, self.stack, model.family, model.hash)
        if stored and not stored.get("baseline"):
            said = f"monitor of {endpoint}: model {model.family} was registered without a baseline"
            raise ConfigError(said, hint="give baseline= when registering")
        known = Later(f"time of {endpoint}") if since is None else since
        return Subject(model, known, want.redact, tuple(sorted(shadows(want))))

    def check_schedule(self, endpoint: str, spec: Monitor) -> None:
        """ConfigError for a schedule that the provider cannot keep, long before there is anything to watch."""
        native = self.provider.monitors
        if native is None or not spec.schedule:
            return
        model = Reference(endpoint, "", Later("version"), Later("id"), Later("uri"), Later("sidecar").what)
        subject = Subject(model, Later(f"time of {endpoint}"))
        planned = spec.model_copy(update={"endpoint": endpoint})
        native.render(present(Key("monitor", endpoint, self.stack), planned, None, subject=subject), None)

    def content(self, content: Content) -> Pursuit[Content]:
        """A file, folder or document of the artifact store."""
        return Pursuit(Contents(self.provider.artifacts), Goal(Key(artifacts.KIND, content.key, self.stack), content))

    def _check(self, kind: str, name: str, spec: Spec) -> None:
        """Refuses, before anything is sent, what the provider cannot do and options that it does not have."""
        require(self.plugin, f"{kind} {name}", spec)
        if isinstance(spec, Endpoint) and spec.monitor:
            self.check_schedule(name, spec.monitor)
        given = spec.options.get(self.plugin.name) if isinstance(spec, Native) else None
        if not given:
            return
        if kind not in self.plugin.options:
            raise ConfigError(f"{kind} {name}: provider {self.plugin.name!r} has no options for it")
        make(self.plugin.options[kind], f"{name}.options.{self.plugin.name}", given)

    def _job_contents(self, spec: TrainingJob) -> tuple[TrainingJob, list[Content]]:
        contents: list[Content] = [Content(bundle.key(self.stack), bundle.read)] if self.plugin.carried else []
        source = self._stored(spec.source, contents) if spec.source else None
        inputs = {name: self._stored(path, contents) for name, path in spec.inputs.items()}
        return spec.model_copy(update={"source": source, "inputs": inputs}), contents

    def _model_contents(self, spec: Model) -> tuple[Model, list[Content]]:
        contents: list[Content] = []
        changes: dict[str, Any] = {"sample_input": sidecars.sample(spec)}
        if spec.path:
            changes["path"] = self._stored(spec.path, contents)
        if spec.baseline:
            data = self._stored(spec.baseline.data, [])  # its profile is kept, not the data itself
            changes["baseline"] = spec.baseline.model_copy(update={"data": data})
        return spec.model_copy(update=changes), contents

    def _stored(self, place: str, contents: list[Content]) -> str:
        """A path becomes content; a URI, or content already, stays what it is."""
        if "://" in place or place.startswith("sha256:"):
            return place
        planned, content = artifacts.from_path(self.stack, Path(place))
        contents.append(content)
        return planned

    def _document(self, planned: Spec) -> Content:
        kind = next(kind for kind, spec in SPECS.items() if type(planned) is spec)
        leave_out = frozenset() if isinstance(planned, Endpoint) else MUTABLE[type(planned)]
        return artifacts.document(self._spec_key(label(planned)), {"kind": kind, "spec": document(planned, leave_out)})

    @property
    def _deleted(self) -> str:
        return f"{self.stack}/deleted-runs"

    def _spec_key(self, label: str) -> str:
        return f"{self.stack}/specs/{label}.json"


def most_asked(want: Endpoint) -> str:
    """The model that gets most of the traffic, as ``family:hash``."""
    most = max(want.traffic, key=lambda name: want.traffic[name])
    return want.deployments[most].model


def shadows(want: Endpoint) -> set[str]:
    """The deployments that get copies of requests, and whose answers reach nobody."""
    return {name for name, share in want.mirror.items() if share and not want.traffic.get(name)}


def check_name(kind: str, name: str) -> None:
    """ConfigError for a name that one of the providers would refuse."""
    if not (3 <= len(name) <= 32 and re.fullmatch(NAME, name)):
        hint = "3 to 32 lower-case letters, digits and single dashes inside, a letter first"
        raise ConfigError(f"{name!r} is no name for {kind}s", hint=hint)


def _choose(versions: Sequence[Part], mark: str, which: str) -> Part | None:
    if not mark:
        return next((part for part in reversed(versions) if part.phase is not Phase.ARCHIVED), None)
    if mark == "@":
        return next((part for part in versions if which in part.facts.get("aliases", ())), None)
    return next((part for part in versions if which in (part.spec, part.name)), None)
