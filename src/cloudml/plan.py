"""Many resources: what a project's file wants, in order, against what is there; apply, prune and destroy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from cloudml import artifacts, monitors, notebook, sidecars
from cloudml.client import Client
from cloudml.errors import ConfigError
from cloudml.events import Event, Happened
from cloudml.goals import Planned, Pursuit, Session, split_reference
from cloudml.ids import Ids
from cloudml.labels import refuse_foreign
from cloudml.specs import Endpoint, Model, Spec, TrainingJob
from cloudml.spi import Call, Goal, Kind, Later, Reference, Until
from cloudml.states import Key, State
from cloudml.watching import Runs, all_wrong


class Wanted(Protocol):
    """What a file asks for: a project's name, and resources by their names in the file."""

    @property
    def name(self) -> str: ...
    @property
    def jobs(self) -> Mapping[str, TrainingJob]: ...
    @property
    def models(self) -> Mapping[str, Model]: ...
    @property
    def endpoints(self) -> Mapping[str, Endpoint]: ...


@dataclass(frozen=True)
class Step:
    """What would be done to one resource: its calls in order; ``note`` says on what condition."""

    key: Key
    calls: tuple[Call, ...]
    have: State | None = None
    note: str = ""
    spec: Spec | None = None


@dataclass(frozen=True)
class Plan:
    """``steps`` in the order in which they would be sent; ``spec`` of a step is what is wanted, planned."""

    steps: tuple[Step, ...]

    @property
    def changes(self) -> bool:
        """Whether anything would be sent."""
        return any(step.calls for step in self.steps)

    def _repr_html_(self) -> str:
        rows = [
            (f"{call.effect.value} {call.operation}", str(step.key), call.why)
            for step in self.steps
            for call in step.calls
            if step.key.kind != artifacts.KIND
        ]
        stored = sum(len(step.calls) for step in self.steps if step.key.kind == artifacts.KIND)
        rows += [(f"+ {stored} files and documents", "", "not stored yet")] if stored else []
        return notebook.grid(("call", "resource", "why"), rows) if rows else notebook.card("plan", "nothing to do")


@dataclass(frozen=True)
class Outcome:
    """What apply reached: the last observation of each resource, and what is there that the file does not name."""

    states: Mapping[Key, State | None]
    left: tuple[Key, ...] = ()

    def _repr_html_(self) -> str:
        rows: list[tuple[Any, ...]] = [
            (str(key), state.phase if state else "gone", state.facts.get("url") or "" if state else "")
            for key, state in self.states.items()
            if key.kind != artifacts.KIND
        ]
        rows += [(str(key), "not in the file", "") for key in self.left]
        return notebook.grid(("resource", "phase", "url"), rows)


def plan(
    client: Client,
    project: Wanted,
    *,
    rerun: Collection[str] = (),
    prune: bool = False,
    adopt: bool = False,
    whole: bool = False,
) -> Plan:
    """The native calls that apply would send now, in order; nothing is sent.

    ``whole`` leaves out what is there already: the calls that make everything, without the uploads.
    """
    session, steps = client.session, []
    for resource in _resources(session, project, rerun):
        pursuit = resource.pursuit()
        planned = [_from_nothing(pursuit)] if whole else session.preview(pursuit, adopt)
        steps += [_step(each, resource.note, pursuit) for each in planned]
        resource.expect()
    steps += _removals(session, _left(session, project)) if prune else []
    return Plan(tuple(steps))


def apply(
    client: Client,
    project: Wanted,
    *,
    rerun: Collection[str] = (),
    prune: bool = False,
    adopt: bool = False,
    timeout: float | None = None,
    wait: bool = True,
) -> Outcome:
    """Makes what is there be what the file wants, and verifies it.

    Runs are started together; one that is going on is waited for, one that has succeeded is taken, and those that have
    failed are RunFailed, once all have ended, until they are named in ``rerun``. ``timeout`` is for each resource; of
    several runs, for the next one to end. With ``wait=False`` it ends as soon as something is left to wait for.
    """
    if prune and not wait:
        raise ConfigError("--prune needs to wait: what is left over is known only when the rest is done")
    session = client.session
    _preflight(session, project, adopt)
    known = _Known(session, session.ids())
    runs = _run(session, [*_jobs(known, project, rerun)], timeout, wait, adopt)
    states = runs.states
    for resource in _others(known, project) if not runs.going else ():
        pursuit = resource.pursuit()
        key = pursuit.goal.key
        resource.check()
        states[key] = session.pursue(pursuit, timeout, Until.DONE if wait else Until.SUBMITTED, adopt)
        resource.verify(states[key])
        if not wait and not _done(states[key]):
            _tell_later(session, [key])
            break
    left = _left(session, project) if wait else ()
    if prune:
        _remove(session, left)
        left = ()
    return Outcome(states, left)


def _run(session: Session, jobs: Sequence[Resource], timeout: float | None, wait: bool, adopt: bool) -> Runs:
    """The file's runs, all started before the first is waited for. RunFailed for those that fail."""
    runs = Runs(session, timeout, adopt)
    by_key = {pursuit.goal.key: resource for resource in jobs for pursuit in [resource.pursuit()]}
    runs.start([resource.pursuit() for resource in jobs], queue=wait)
    if wait:
        runs.finish()
    for key, error in runs.errors.items():
        error.advise(by_key[key].hint)
    if runs.errors:
        raise all_wrong([*runs.errors.values()], len(jobs))
    if runs.going:
        _tell_later(session, runs.going)
    for key, state in runs.states.items():
        by_key[key].verify(state)
    return runs


def _tell_later(session: Session, keys: Sequence[Key]) -> None:
    what = str(keys[0]) if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
    text = f"{what} {'is' if len(keys) == 1 else 'are'} going on; apply again for what comes after"
    session.events.emit(Event(Happened.NOTE, keys[0], text))


def destroy_plan(client: Client, *, everything: bool = False) -> Plan:
    """The native calls that destroy would send now."""
    return Plan(tuple(_removals(client.session, _all(client.session, everything))))


def destroy(client: Client, *, everything: bool = False) -> tuple[Key, ...]:
    """Removes the stack's monitors and endpoints with their parts; ``everything`` also jobs, models and artifacts."""
    session = client.session
    removed = _all(session, everything)
    _remove(session, removed)
    return removed


def _step(planned: Planned, note: str, pursuit: Pursuit[Any]) -> Step:
    own = planned.key == pursuit.goal.key and isinstance(pursuit.goal.want, Spec)
    return Step(planned.key, planned.calls, planned.have, note, pursuit.goal.want if own else None)


def _from_nothing(pursuit: Pursuit[Any]) -> Planned:
    return Planned(pursuit.goal.key, tuple(pursuit.kind.render(pursuit.goal, None)), None)


# -- what the file wants, in order -----------------------------------------------------------------------------------


def _preflight(session: Session, project: Wanted, adopt: bool) -> None:
    """Refuses what is sure to fail later, before a long training: foreign names, unknown models, wrong columns."""
    provider = session.provider
    for family, model in project.models.items():
        key = Key("model", family, session.stack)
        refuse_foreign(Goal[Model](key), provider.models.observe(key, None), adopt)
        sidecars.check_files(family, model)
    for name, endpoint in project.endpoints.items():
        key = Key("endpoint", name, session.stack)
        refuse_foreign(Goal[Endpoint](key), provider.endpoints.observe(key, None), adopt)
        if endpoint.monitor:
            session.check_schedule(name, endpoint.monitor)
        for deployment in endpoint.deployments.values():
            if split_reference(deployment.model)[0] not in project.models:
                session.deployable(deployment.model)


@dataclass
class Resource:
    """One wanted resource, whose goal may depend on what came before it.

    ``check`` refuses before anything of it is sent, ``verify`` looks at what was reached, ``expect`` records for a plan
    what will be there; ``hint`` says what to do when it fails.
    """

    pursuit: Callable[[], Pursuit[Any]]
    note: str = ""
    check: Callable[[], None] = lambda: None
    verify: Callable[[State | None], None] = lambda state: None
    expect: Callable[[], None] = lambda: None
    hint: str | None = None


@dataclass
class _Known:
    """What earlier steps made, or in a plan are about to make: runs and versions by their names in the file."""

    session: Session
    ids: Ids
    runs: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: dict[str, Reference] = field(default_factory=dict)
    aliases: dict[str, str | None] = field(default_factory=dict)

    def resolve(self, text: str) -> Reference:
        """A version that this file makes, by family or family@alias; else one that is registered."""
        family, mark, which = split_reference(text)
        made = family in self.versions and (not mark or (mark == "@" and which == self.aliases.get(family)))
        return self.versions[family] if made else self.session.deployable(text)


def _resources(session: Session, project: Wanted, rerun: Collection[str]) -> Iterator[Resource]:
    """Jobs, then models, then endpoints with their monitors; each is made when those before it are known."""
    known = _Known(session, session.ids())
    yield from _jobs(known, project, rerun)
    yield from _others(known, project)


def _jobs(known: _Known, project: Wanted, rerun: Collection[str]) -> Iterator[Resource]:
    if unknown := set(rerun) - set(project.jobs):
        raise ConfigError(f"--rerun {sorted(unknown)[0]}: the file has no such job")
    for name, job in project.jobs.items():
        resource = _job(known, f"{project.name}-{name}", name, job, name in rerun)
        if name in rerun or not _registered(known, project, name):
            yield resource


def _others(known: _Known, project: Wanted) -> Iterator[Resource]:
    session = known.session
    for family, model in project.models.items():
        yield _model(known, family, model)
    gates = {family: " and ".join(model.gates) for family, model in project.models.items() if model.gates}
    for name, endpoint in project.endpoints.items():
        after = [gates[each] for each in _families(endpoint) if each in gates]
        yield Resource(
            partial(session.endpoint, name, endpoint, known.resolve), f"if {' and '.join(after)}" if after else ""
        )
        if endpoint.monitor:
            serves = partial(_goal, session, name, endpoint, known)
            yield Resource(partial(session.monitor, name, endpoint.monitor, serves))


def _goal(session: Session, name: str, endpoint: Endpoint, known: _Known) -> Goal[Endpoint]:
    return session.endpoint(name, endpoint, known.resolve).goal


def _job(known: _Known, full_name: str, name: str, job: TrainingJob, again: bool) -> Resource:
    session = known.session
    pursuit = session.job(full_name, job, ids=known.ids)
    if again:
        base, _, last = pursuit.goal.key.name.rpartition("-")
        attempt = known.ids.unused(base)
        pursuit = session.job(full_name, job, attempt) if attempt > int(last) else pursuit
    known.runs[name] = pursuit.goal.key.name

    def verify(state: State | None) -> None:
        known.facts[name] = sidecars.facts(session.provider.artifacts, state, pursuit.goal.want) if state else {}

    hint = f"'cloudml jobs logs {known.runs[name]}' shows what it said; 'cloudml apply --rerun {name}' runs it again"
    return Resource(lambda: pursuit, verify=verify, hint=hint)


def _registered(known: _Known, project: Wanted, name: str) -> bool:
    """Whether a deleted run's models are all there: then it is not run again, and a sidecar says what it was."""
    session, base = known.session, known.runs[name].rpartition("-")[0]
    families = [family for family, model in project.models.items() if model.from_ == f"jobs.{name}"]
    if not families or known.ids.attempts(base):
        return False
    for number in reversed(known.ids.deleted(base)):
        run = f"{base}-{number}"
        made = {family: _version_of(session, family, project.models[family], run) for family in families}
        if all(made.values()):
            known.runs[name] = run
            known.facts[name] = sidecars.read(
                session.provider.artifacts, session.stack, families[0], str(made[families[0]])
            )
            return True
    return False


def _version_of(session: Session, family: str, model: Model, run: str) -> str | None:
    """The hash of the version that a run made, if it is registered."""
    pursuit = session.model(family, model.model_copy(update={"from_": f"run:{run}"}))
    have = session.provider.models.observe(pursuit.goal.key, pursuit.goal.want)
    return pursuit.digest if have and have.part("version", spec=pursuit.digest) else None


def _model(known: _Known, family: str, model: Model) -> Resource:
    session = known.session
    job = model.from_.removeprefix("jobs.") if model.from_ else None
    if job is not None and job not in known.runs:
        raise ConfigError(f"model {family}: there is no job {job!r} in the file")
    spec = model.model_copy(update={"from_": f"run:{known.runs[job]}"}) if job else model
    pursuit = session.model(family, spec, lambda: known.facts.get(job or "", {}))
    known.aliases[family] = model.alias

    def check() -> None:
        sidecars.admit(family, model.gates, known.facts.get(job or "", {}))

    def verify(state: State | None) -> None:
        part = state.part("version", spec=pursuit.digest) if state else None
        if part:
            known.versions[family] = session.reference_of(family, part)

    def expect() -> None:
        verify(session.provider.models.observe(pursuit.goal.key, pursuit.goal.want))
        if family not in known.versions:
            known.versions[family] = _expected(session, family, pursuit)

    note = f"if {' and '.join(model.gates)}" if model.gates else ""
    return Resource(lambda: pursuit, note, check, verify, expect)


def _expected(session: Session, family: str, pursuit: Pursuit[Model]) -> Reference:
    """The version that a plan is about to make: its hash is known, the provider chooses the rest."""
    digest = pursuit.digest
    sidecar = session.provider.artifacts.uri(sidecars.key(session.stack, family, digest))
    return Reference(
        *(family, digest, Later(f"version of {family}"), Later(f"id of {family}"), Later(f"files of {family}")),
        *(sidecar, Later(f"digest of {family}")),
    )


def _families(endpoint: Endpoint) -> Iterator[str]:
    for deployment in endpoint.deployments.values():
        yield split_reference(deployment.model)[0]


def _done(state: State | None) -> bool:
    return state is None or state.phase.settled


# -- what is there that is not wanted --------------------------------------------------------------------------------


def _left(session: Session, project: Wanted) -> tuple[Key, ...]:
    """Endpoints, monitors and families of the stack that the file does not name; runs are history, not left-overs."""
    provider, watched = session.provider, {name for name, each in project.endpoints.items() if each.monitor}
    named = {*project.models, *(family for each in project.endpoints.values() for family in _families(each))}
    found = [state.key for state in provider.endpoints.list(session.stack) if state.key.name not in project.endpoints]
    found += [state.key for state in provider.models.list(session.stack) if state.key.name not in named]
    native = [state.key for state in provider.monitors.list(session.stack)] if provider.monitors else []
    schedules = [key for key in native if key.name not in watched]
    return (*(key for key in _monitors(session) if _monitored(key) not in watched), *schedules, *found)


def _all(session: Session, everything: bool) -> tuple[Key, ...]:
    provider = session.provider
    kinds: list[Kind[Any] | None] = [provider.monitors, provider.endpoints]
    kinds += [provider.models, provider.jobs] if everything else []
    found = [state.key for kind in kinds if kind is not None for state in kind.list(session.stack)]
    stored = everything and not provider.artifacts.missing([session.stack])
    store = [Key(artifacts.KIND, session.stack, session.stack)] if stored else []
    return (*_monitors(session), *found, *store)


def _monitors(session: Session) -> list[Key]:
    """What is watched, and what is kept of the runs."""
    places = [session.monitor_key(name) for name in monitors.watched(session)]
    places += [monitors.runs_key(session, name) for name in monitors.kept(session)]
    return [Key(artifacts.KIND, place, session.stack) for place in places]


def _monitored(key: Key) -> str:
    return key.name.split("/")[2].removesuffix(".json")


def _absent(session: Session, key: Key) -> Pursuit[Any]:
    provider = session.provider
    if key.kind == artifacts.KIND:
        return session.absent_content(key.name)
    kinds: dict[str, Kind[Any] | None] = {
        "job": provider.jobs,
        "model": provider.models,
        "endpoint": provider.endpoints,
        "monitor": provider.monitors,
    }
    kind = kinds[key.kind]
    assert kind is not None, f"{key} was listed by its kind"
    return session.absent(kind, key)


def _removals(session: Session, keys: Collection[Key]) -> list[Step]:
    planned: list[Planned] = [each for key in keys for each in session.preview(_absent(session, key))]
    return [Step(each.key, each.calls, each.have) for each in planned]


def _remove(session: Session, keys: Collection[Key]) -> None:
    for key in keys:
        session.pursue(_absent(session, key))
        if key.kind == "model":
            session.pursue(session.absent_content(sidecars.folder(session.stack, key.name)))
