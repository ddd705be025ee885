"""The comfort that people use: a client for one provider and one stack, and collections of what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudml import notebook, plugins, profiles, versions
from cloudml.calls import NativeCaller
from cloudml.errors import AlreadyExists, NotFound
from cloudml.events import Events, Listener
from cloudml.goals import Session, check_name, stack_name
from cloudml.handles import FOREVER, EndpointHandle, Job, ModelVersion, model_fields, register, version_of
from cloudml.monitors import MonitorHandle, follow, watched
from cloudml.notebook import card, detaching
from cloudml.specs import Endpoint, Model, TrainingJob, document, make
from cloudml.spi import Plugin, Until
from cloudml.states import Key, State
from cloudml.waiting import Clock, Wait
from cloudml.watching import Watch, all_wrong, wrong

DEFAULT_PROJECT = "default"


def connect(
    provider: str | None = None,
    *,
    project: str | None = None,
    env: str | None = None,
    listeners: Sequence[Listener] = (),
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Client:
    """A client for a provider (``local``, ``sagemaker``, …) or a profile of ``~/.config/cloudml/config.toml``.

    Without a name: ``CLOUDML_PLATFORM``, else ``CLOUDML_PROFILE`` or the file's ``default_profile``, else this machine.
    ``project`` and ``env`` name the stack that everything made here is labelled with. The provider's own settings
    (``region``, ``role``, …) are given by keyword, or in ``settings`` where one has a name that is taken here:
    ``connect("vertex", project="fraud", settings={"project": "acme-ml"})``. A keyword goes before ``settings``, and
    both before the profile. In a notebook progress is shown; ``listeners`` are told of it as well. ConfigError for an
    unknown provider or setting, MissingExtra if its SDK is not installed.
    """
    chosen = profiles.resolve(provider)
    stack = stack_name(project or DEFAULT_PROJECT, env or chosen.provider)
    whole = {**chosen.settings, **(settings or {}), **more}
    return connect_plugin(plugins.load(chosen.provider), stack, [*listeners, *notebook.live()], whole)


def connect_plugin(
    plugin: Plugin,
    stack: str,
    listeners: Sequence[Listener] = (),
    settings: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> Client:
    """A client for a plugin that is at hand; ``clock`` is for tests."""
    events, ticking = Events(list(listeners)), clock or Clock()
    caller = NativeCaller(plugin.name, plugin.classify, ticking, events)
    opened = plugins.connect(plugin, make(plugin.config, plugin.name, settings or {}), caller)
    return Client(Session(opened, plugin, stack, events, ticking))


@dataclass(frozen=True)
class Client:
    """One provider, one stack."""

    session: Session

    @property
    def plugin(self) -> Plugin:
        return self.session.plugin

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.session.plugin.name

    @property
    def stack(self) -> str:
        """The label that everything made here carries."""
        return self.session.stack

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.session)

    @property
    def models(self) -> Models:
        return Models(self.session)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(self.session)

    @property
    def monitors(self) -> Monitors:
        return Monitors(self.session)

    def train(self, name: str, *, wait: bool = False, deadline: float | None = None, **fields: Any) -> Job:
        """Starts a new run of a job (fields as of TrainingJob), always a new one.

        (Two processes that start the same job at the same moment may share one run where the provider makes the ids.)
        With ``wait`` it returns when the run has succeeded, and raises Timeout after ``deadline`` seconds of waiting.
        """
        check_name("job", name)
        spec = make(TrainingJob, name, fields)
        attempt = self._next_attempt(name, spec)
        while True:
            pursuit = self.session.job(name, spec, attempt)
            try:
                self.session.pursue(pursuit, until=Until.SUBMITTED, exclusive=True)
            except AlreadyExists:  # another process was quicker: the next number is ours
                attempt += 1
                continue
            job = Job(self.session, pursuit.goal.key.name)
            return job.wait(deadline) if wait else job

    def deploy(
        self,
        name: str,
        model: str | ModelVersion | None = None,
        *,
        wait: bool = True,
        deadline: float | None = None,
        **fields: Any,
    ) -> EndpointHandle:
        """Makes an endpoint be as described (fields as of Endpoint); ``model`` alone is the deployment ``blue``.

        Raises Timeout after ``deadline`` seconds of waiting; a field ``timeout`` is that of a request.
        """
        if model is not None:
            fields["model"] = str(model)
        spec = make(Endpoint, name, fields)
        until = Until.DONE if wait else Until.SUBMITTED
        with detaching(f"endpoint {name}", "the same call again goes on from there"):
            pursuit = self.session.endpoint(name, spec)
            self.session.pursue(pursuit, deadline, until)
            if spec.monitor:
                self.session.pursue(self.session.monitor(name, spec.monitor, lambda: pursuit.goal))
            else:
                follow(self.session, name)
        return EndpointHandle(self.session, name)

    def _next_attempt(self, name: str, spec: TrainingJob) -> int:
        base = self.session.job(name, spec, 1).goal.key.name.removesuffix("-1")
        return self.session.ids().unused(base)

    def __repr__(self) -> str:
        return f"<Client {self.provider} stack {self.stack}>"

    def _repr_html_(self) -> str:
        then = ("cloud.train(…)", "cloud.models.list()", "cloud.endpoints.list()")
        return card(f"cloud {self.provider}", rows=[("stack", self.stack)], then=then)


@dataclass(frozen=True)
class Jobs:
    session: Session

    def get(self, id: str) -> Job:
        """The run of that id. NotFound if there is none."""
        job = Job(self.session, id)
        _ = job.state
        return job

    def wait(self, runs: Iterable[Job | str], deadline: float | None = None) -> Sequence[Job]:
        """Waits until all of some runs, or ids, have succeeded, by one list a look where the provider has one.

        Once all have ended, RunFailed names those that failed, or were cancelled or deleted. NotFound for an id that
        there is not, Timeout after ``deadline`` seconds; without one it waits as long as they run.
        """
        waited = [run if isinstance(run, Job) else self.get(run) for run in runs]
        wait = Wait(self.session.clock, FOREVER if deadline is None else deadline, self.session.plugin.pace)
        watch = Watch(self.session.provider.jobs, wait, self.session.events)
        watch.add(job.key for job in waited)
        with detaching(f"{len(waited)} jobs", "the same call again goes on from there, cloud.jobs.list() shows them"):
            ended = watch.until_all_end()
        if errors := [error for key, state in ended.items() if (error := wrong(key, state))]:
            raise all_wrong(errors, len(ended))
        return waited

    def list(self, all_stacks: bool = False) -> list[State]:
        """The runs of this stack, or of all; oldest first."""
        return _oldest_first(self.session.provider.jobs.list(None if all_stacks else self.session.stack))


@dataclass(frozen=True)
class Models:
    session: Session

    def get(self, text: str) -> ModelVersion:
        """``fraud@champion``, ``fraud:3``, or ``fraud`` for its newest version. NotFound if there is none."""
        reference = self.session.reference(text)
        return version_of(self.session, reference.family, self._family(reference.family), reference.hash)

    def list(self, all_stacks: bool = False) -> list[State]:
        """The families of this stack, or of all; their versions are parts."""
        return _oldest_first(self.session.provider.models.list(None if all_stacks else self.session.stack))

    def versions(self, family: str) -> Sequence[ModelVersion]:
        """Every version of a family, as the provider lists them."""
        state = self._family(family)
        return [version_of(self.session, family, state, part.spec) for part in state.of("version") if part.spec]

    def register(
        self, family: str, path: str, *, metrics: Mapping[str, float] | None = None, **fields: Any
    ) -> ModelVersion:
        """Registers a folder that no job made (fields as of Model, ``baseline`` also as a path with ``target``)."""
        spec = make(Model, family, {"path": path, **model_fields(fields)})
        return register(self.session, family, spec, {"metrics": dict(metrics or {})})

    def alias(self, family: str, alias: str, version: int | str) -> ModelVersion:
        """Moves an alias to a version: one write at the provider. NotFound if there is no such version."""
        return self._changed(f"{family}:{version}", alias=alias)

    def approve(self, model: str | ModelVersion) -> ModelVersion:
        """Lets a version (as of ``get``) be used. NotFound if there is none, Unsupported if nobody judges there."""
        return self._changed(str(model), approval="approved")

    def reject(self, model: str | ModelVersion) -> ModelVersion:
        """Says that a version must not be used."""
        return self._changed(str(model), approval="rejected")

    def suspend(self, model: str | ModelVersion) -> ModelVersion:
        """Says that a version waits for a judgement: ``pending``."""
        return self._changed(str(model), approval="pending")

    def _changed(self, text: str, **change: str) -> ModelVersion:
        """A version with what can change of it changed: one write at the provider."""
        reference = self.session.reference(text)
        stored = self.session.spec_document(reference.hash)
        if not isinstance(stored, Model):
            raise NotFound(f"the spec of model {text} is not in the artifact store")
        spec = make(Model, reference.family, document(stored) | change)
        self.session.pursue(self.session.model(reference.family, spec))
        return self.get(f"{reference.family}:{reference.hash}")

    def delete(self, family: str) -> None:
        """Removes a family, its versions and what is recorded of them. Conflict if an endpoint serves one of them."""
        versions.delete_family(self.session, family)

    def _family(self, family: str) -> State:
        state = self.session.provider.models.observe(Key("model", family, self.session.stack), None)
        if state is None:
            raise NotFound(f"there is no model {family} in stack {self.session.stack}")
        return state


@dataclass(frozen=True)
class Endpoints:
    session: Session

    def get(self, name: str) -> EndpointHandle:
        """The endpoint of that name. NotFound if there is none."""
        endpoint = EndpointHandle(self.session, name)
        _ = endpoint.state
        return endpoint

    def list(self, all_stacks: bool = False) -> list[State]:
        """The endpoints of this stack, or of all; oldest first."""
        return _oldest_first(self.session.provider.endpoints.list(None if all_stacks else self.session.stack))


@dataclass(frozen=True)
class Monitors:
    session: Session

    def get(self, endpoint: str) -> MonitorHandle:
        """What is watched on an endpoint. NotFound if nothing is, or there is no such endpoint."""
        monitor = MonitorHandle(self.session, endpoint)
        if monitor.spec is None:
            Endpoints(self.session).get(endpoint)
            raise NotFound(
                f"endpoint {endpoint} has no monitor", hint="set one with endpoint.monitor(drift={'psi': 0.2})"
            )
        return monitor

    def list(self) -> list[str]:
        """The endpoints of this stack that are watched."""
        return watched(self.session)


def _oldest_first(states: Any) -> list[State]:
    return sorted(states, key=lambda state: (state.created or 0.0, state.key.name))
