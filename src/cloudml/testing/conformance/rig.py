"""What a contract runs on: a provider to connect to again and again, and what to ask of it.

Whoever wrote a provider makes one with ``rig_of``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cloudml import bundle, specs
from cloudml.calls import NativeCaller
from cloudml.content import digest
from cloudml.events import Event, Events, Happened
from cloudml.labels import present
from cloudml.reconcile import look, reconcile
from cloudml.run import Run
from cloudml.spi import (
    Call,
    Goal,
    Kind,
    Later,
    Payload,
    Plugin,
    Provider,
    Reachable,
    Reference,
    Subject,
    Until,
    Version,
    spec_key,
)
from cloudml.states import Key, Phase, State
from cloudml.testing.killing import Points, Watched
from cloudml.testing.world import World
from cloudml.waiting import Clock, Wait

FAMILY = "fraud"
KINDS = {"job": "jobs", "model": "models", "endpoint": "endpoints", "monitor": "monitors"}


@dataclass(frozen=True)
class Content:
    """A model as content: a file or a folder."""

    source: Path

    @property
    def digest(self) -> str:
        return digest(self.source)

    def spec(self, **more: Any) -> specs.Model:
        """The planned spec of a version of it."""
        return specs.Model(path=self.digest, **more)

    @property
    def reference(self) -> str:
        """How a planned deployment names it."""
        return f"{FAMILY}:{specs.spec_hash(self.spec())}"


@dataclass(frozen=True)
class Rig:
    """A provider and what to ask of it; ``fresh`` gives the same in an empty world, ``fork`` in a copy.

    ``models`` answer differently to ``request``, ``broken`` loads nowhere; ``job`` ends well at once, ``failing`` ends
    with an error, ``slow`` runs until it is cancelled or for some seconds. ``snapshot`` is all that there is, to be
    compared from run to run; ``world`` is set for the clouds in memory alone.
    """

    plugin: Plugin
    config: Any
    clock: Clock
    fresh: Callable[[], Rig]
    job: specs.TrainingJob
    failing: specs.TrainingJob
    slow: specs.TrainingJob
    models: tuple[Content, Content]
    broken: Content
    request: bytes
    snapshot: Callable[[], Any]
    stack: str = "shop-test"
    timeout: float = 3600.0
    world: World | None = None
    fork: Callable[[], Rig] | None = None

    def until(self, met: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Whether something comes true within some seconds: what a provider writes a moment later."""
        deadline = self.clock.now() + seconds
        while not (true := met()) and self.clock.now() < deadline:
            self.clock.sleep(0.05)
        return true

    def process(self, points: Points | None = None, **more: Any) -> Process:
        """A new process with a connection of its own."""
        return Process(self, points or Points(), **more)


def rig_of(
    plugin: Plugin,
    empty: Callable[[], Any],
    *,
    job: specs.TrainingJob,
    failing: specs.TrainingJob,
    slow: specs.TrainingJob,
    models: tuple[Path, Path],
    broken: Path,
    request: bytes,
    native: Callable[[Any], Any] = lambda config: None,
    timeout: float = 60.0,
) -> Rig:
    """A rig for a provider that works by the clock; ``empty`` gives the configuration of a new, empty place.

    ``job`` leaves a model and ends well at once, ``failing`` ends with an error, ``slow`` runs for some seconds;
    ``models`` are files or folders that answer differently to ``request``, ``broken`` can be registered and not served.
    ``native`` tells what is at a configuration besides the labelled resources and the artifacts.
    """

    def fresh() -> Rig:
        config = empty()
        if plugin.carried:
            _stock(made(config), (job, failing, slow))
        return replace(start, config=config, snapshot=lambda: (_everywhere(made(config)), native(config)))

    def made(config: Any) -> Process:
        return replace(start, config=config).process()

    start = Rig(
        plugin=plugin,
        config=None,
        clock=Clock(),
        fresh=fresh,
        job=job,
        failing=failing,
        slow=slow,
        models=(Content(models[0]), Content(models[1])),
        broken=Content(broken),
        request=request,
        snapshot=lambda: None,
        timeout=timeout,
    )
    return fresh()


def _stock(process: Process, jobs: Sequence[specs.TrainingJob]) -> None:
    """What the core stores before a job is made, where jobs carry the runtime along."""
    put = process.provider.artifacts.put
    put(bundle.key(process.stack), bundle.read())
    for want in jobs:
        stored = {"kind": "job", "spec": specs.document(want, specs.MUTABLE[specs.TrainingJob])}
        put(spec_key(process.stack, want), json.dumps(stored).encode())


def _everywhere(process: Process) -> Any:
    """Every resource that carries a label, and the keys of the stack's artifacts.

    But what a cancelled run has written by then: how far its program had come is up to the machine.
    """
    provider = process.provider
    kinds = [kind for name in KINDS.values() if (kind := getattr(provider, name)) is not None]
    found = [state for kind in kinds for state in kind.list(None)]
    cut = {state.key for state in found if state.phase is Phase.CANCELLED}
    told = [replace(state, parts=()) if state.key in cut else state for state in found]
    root, left = provider.artifacts.uri(process.stack), tuple(f"/runs/{key.name}/" for key in cut)
    keys = sorted(uri.removeprefix(root) for uri in provider.artifacts.list(process.stack))
    return summary(told), [key for key in keys if not key.startswith(left)]


@dataclass
class Process:
    """One process that uses cloudml: what it was told, what it sent, what it passed."""

    rig: Rig
    points: Points
    stack: str = ""
    adopt: bool = False
    exclusive: bool = False
    heard: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stack = self.stack or self.rig.stack
        self.events = Events([self.heard.append, self.points.heard])
        plugin = self.rig.plugin
        caller = NativeCaller(plugin.name, plugin.classify, self.rig.clock, self.events, spread=lambda: 0.5)
        self.provider: Provider = plugin.connect(self.rig.config, caller)

    @property
    def sent(self) -> list[Call]:
        """The calls that were sent, in order."""
        return [event.call for event in self.heard if event.what is Happened.SENDING and event.call]

    def kind(self, name: str) -> Kind[Any]:
        return Watched(getattr(self.provider, KINDS[name]), self.points)

    def key(self, kind: str, name: str) -> Key:
        return Key(kind, name, self.stack)

    def state(self, kind: str, name: str, want: specs.Spec | None = None) -> State | None:
        return self.kind(kind).observe(self.key(kind, name), want)

    def goal(self, kind: str, name: str, want: specs.Spec, until: Until = Until.DONE) -> Goal[Any]:
        references = self._references(want) if isinstance(want, specs.Endpoint) else {}
        subject = self._subject() if isinstance(want, specs.Monitor) else None
        return present(self.key(kind, name), want, self.state(kind, name, want), references, until, subject)

    def plan(self, kind: str, name: str, want: specs.Spec | None) -> Sequence[Call]:
        """What would be sent."""
        goal = self.goal(kind, name, want) if want else Goal[Any](self.key(kind, name))
        return look(self.kind(kind), goal, self.adopt)[1]

    def apply(self, kind: str, name: str, want: specs.Spec, until: Until = Until.DONE) -> State:
        have = self.pursue(self.goal(kind, name, want, until))
        assert have is not None
        return have

    def cancel(self, kind: str, name: str) -> State | None:
        return self.pursue(Goal[Any](self.key(kind, name), cancel=True))

    def turn(self, content: Content, phase: Phase | None) -> State | None:
        """One version of the family archived, brought back, or removed."""
        return self.pursue(
            Goal[Any](self.key("model", FAMILY), version=Version(specs.spec_hash(content.spec()), phase))
        )

    def delete(self, kind: str, name: str) -> None:
        assert self.pursue(Goal[Any](self.key(kind, name))) is None

    def pursue(self, goal: Goal[Any]) -> State | None:
        wait = Wait(self.rig.clock, self.rig.timeout, self.rig.plugin.pace)
        run = Run(wait, self.events, adopt=self.adopt, exclusive=self.exclusive)
        return reconcile(self.kind(goal.key.kind), goal, run)

    def upload(self, *contents: Content) -> None:
        """What the core uploads before a model is registered."""
        for content in contents:
            key = f"{self.stack}/content/{content.digest.removeprefix('sha256:')}"
            if self.provider.artifacts.missing([key]):
                self.provider.artifacts.put(key, content.source)

    def register(self, content: Content, **more: Any) -> State:
        self.upload(content)
        return self.apply("model", FAMILY, content.spec(**more))

    def ask(self, name: str, deployment: str | None = None) -> Any:
        """What an endpoint answers."""
        endpoints = self.provider.endpoints
        key = self.key("endpoint", name)
        have = endpoints.reach(key) if isinstance(endpoints, Reachable) else self.state("endpoint", name)
        assert have is not None
        return endpoints.invoke(have, Payload(self.rig.request), deployment).body

    def everything(self) -> list[State]:
        """Every resource that carries this stack's label."""
        kinds = [kind for kind, attribute in KINDS.items() if getattr(self.provider, attribute) is not None]
        return [state for kind in kinds for state in self.kind(kind).list(self.stack)]

    def _subject(self) -> Subject:
        """The first model, whether it is registered or not: a schedule names its sidecar."""
        family, _, spec = (text := self.rig.models[0].reference).partition(":")
        sidecar = self.provider.artifacts.uri(f"{self.stack}/models/{family}/{spec}.json")
        return Subject(replace(self._reference(text), version="1", sidecar=sidecar), since=0.0)

    def _references(self, want: specs.Endpoint) -> dict[str, Reference]:
        return {each.model: self._reference(each.model) for each in want.deployments.values()}

    def _reference(self, text: str) -> Reference:
        family, _, spec = text.partition(":")
        have = self.state("model", family)
        part = have.part("version", spec=spec) if have else None
        sidecar = f"{self.stack}/models/{family}/{spec}.json"
        if part is None:
            return Reference(family, spec, Later("version"), Later("id"), Later("uri"), sidecar, Later("digest"))
        return Reference(family, spec, part.name, part.id, part.facts["uri"], sidecar, part.facts.get("digest"))


def summary(states: Sequence[State]) -> list[Any]:
    """What counts of some states, without native ids and times: for comparing one world with another."""
    return sorted(map(_summary, states), key=repr)


def _summary(state: State) -> Any:
    parts = sorted(
        (part.kind, part.name, part.spec, part.phase is Phase.ARCHIVED)
        for part in state.parts
        if part.phase is not Phase.CANCELLED
    )
    facts = {key: state.facts[key] for key in ("traffic", "aliases") if key in state.facts}
    return (state.key, state.phase, state.spec, parts, facts)


def matches(planned: Any, sent: Any) -> bool:
    """Whether what was sent is what was planned, where a Later stands for any value."""
    if isinstance(planned, Later):
        return not isinstance(sent, Later)
    if isinstance(planned, Call) and isinstance(sent, Call):
        target, _, rest = planned.target.partition("<")
        same = sent.target.startswith(target) if rest else sent.target == planned.target
        return same and planned.operation == sent.operation and matches(planned.document, sent.document)
    if isinstance(planned, Mapping) and isinstance(sent, Mapping):
        return planned.keys() == sent.keys() and all(matches(planned[key], sent[key]) for key in planned)
    if isinstance(planned, (list, tuple)) and isinstance(sent, (list, tuple)):
        return len(planned) == len(sent) and all(map(matches, planned, sent))
    return bool(planned == sent)


def laters(value: Any) -> Iterator[Later]:
    """Every Later in a document."""
    if isinstance(value, Later):
        yield value
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ():
        yield from laters(each)
