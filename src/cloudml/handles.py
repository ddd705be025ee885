"""What the client hands out: small values that name a thing and look it up each time, so they survive the process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cloudml import monitors, notebook, sidecars, versions
from cloudml.capabilities import require_of_request
from cloudml.errors import CloudmlError, ConfigError, NotFound, RunFailed
from cloudml.goals import Pursuit, Session
from cloudml.labels import PREVIOUS, refuse_foreign
from cloudml.monitors import MonitorHandle
from cloudml.notebook import card, detaching, tint
from cloudml.specs import Deployment, Endpoint, Model, Monitor, TrainingJob, document, make
from cloudml.spi import Capability, Goal, Kind, Payload, Reachable, Reference, Window
from cloudml.states import Key, Phase, Sample, State
from cloudml.waiting import Wait
from cloudml.watching import wrong

FOREVER = float("inf")


class Log(Iterator[str]):
    """Lines as they come; Ctrl-C ends the reading, not what is read of."""

    def __init__(self, lines: Iterator[str], of: str, then: str) -> None:
        self._read, self._of, self._then = lines, of, then

    def __next__(self) -> str:
        with detaching(self._of, self._then):
            return next(self._read)

    def _ipython_display_(self) -> None:
        for line in self:
            sys.stdout.write(f"{line}\n")


@dataclass(frozen=True)
class Job:
    """One run of a training job."""

    session: Session
    id: str

    @property
    def key(self) -> Key:
        return Key("job", self.id, self.session.stack)

    @property
    def state(self) -> State:
        """As it is now. NotFound if it is gone."""
        return _there(self.key, self.session.provider.jobs.observe(self.key, None))

    @property
    def native(self) -> Mapping[str, Any]:
        """The provider's own description."""
        return self.state.native

    @property
    def metrics(self) -> Mapping[str, float]:
        """The last value of each metric that the run logged."""
        found: Mapping[str, float] = self.state.facts.get("metrics", {})
        return found

    def wait(self, deadline: float | None = None) -> Job:
        """Waits until it has succeeded. RunFailed if it fails or was cancelled, Timeout after ``deadline`` seconds."""
        spec = self.session.spec_of(self.state, TrainingJob)
        patience = spec.timeout + 3600 if deadline is None else deadline
        goal = Goal(self.key, spec)
        then = f"cloud.jobs.get({self.id!r}).cancel() ends it, .logs(follow=True) follows it"
        with detaching(f"job {self.id}", then):
            try:
                state = self.session.pursue(Pursuit(self.session.provider.jobs, goal), patience, existing=True)
            except NotFound as gone:
                raise RunFailed(f"{self.key} was deleted") from gone
        if error := wrong(self.key, state):
            raise error
        return self

    def logs(self, follow: bool = False) -> Log:
        """Its lines so far; with ``follow`` those to come as well, until it ends. A notebook prints them by itself."""
        return Log(self._lines(follow), f"job {self.id}", f"cloud.jobs.get({self.id!r}).cancel() ends it")

    def _lines(self, follow: bool) -> Iterator[str]:
        wait = Wait(self.session.clock, FOREVER, self.session.plugin.pace)
        cursor: str | None = None
        while True:
            state = self.state  # before the lines, so that those of the end are not missed
            lines, cursor = self.session.provider.telemetry.logs(state, cursor)
            yield from (line.text for line in lines)
            if lines:
                wait.restart()
            elif not follow or state.phase.settled:
                return
            else:
                wait.pause(f"{self.key}: logs", longest=1.0)

    def cancel(self) -> None:
        """Stops it and keeps what is there; nothing happens if it has ended."""
        self.session.pursue(Pursuit(self.session.provider.jobs, Goal[TrainingJob](self.key, cancel=True)))

    def delete(self) -> None:
        """Removes it with its logs; its registered model stays, and no other run gets its id."""
        self.session.delete_job(self.key)

    def register(self, family: str, **fields: Any) -> ModelVersion:
        """Registers what it made as a version of a family.

        Fields as of Model; ``baseline`` may also be a path, with ``target``, the column that is predicted. Raises
        GateFailed if a gate fails, RunFailed if the run has not succeeded.
        """
        state = self.state
        if state.phase is not Phase.SUCCEEDED:
            raise RunFailed(f"{self.key} is {state.phase.value}; only what has succeeded can be registered")
        spec = make(Model, family, {"from": f"run:{self.id}", **model_fields(fields)})
        made_by = self.session.remembered(state)
        job = made_by if isinstance(made_by, TrainingJob) else None
        return register(self.session, family, spec, sidecars.facts(self.session.provider.artifacts, state, job))

    def __repr__(self) -> str:
        return f"<Job {self.id} {_phase(self.session.provider.jobs.observe(self.key, None))}>"

    def _repr_html_(self) -> str:
        return _drawn(self.key, self.session.provider.jobs, self._card)

    def _card(self, state: State) -> str:
        if state.phase is Phase.SUCCEEDED:
            then: tuple[str, ...] = ('job.register("fraud")', "job.logs()")
        else:
            then = ("job.logs()",) if state.phase.settled else ("job.wait()", "job.logs(follow=True)", "job.cancel()")
        rows = [("metrics", state.facts.get("metrics")), ("failure", state.failure and state.failure.reason)]
        return card(str(self.key), state.phase.value, tint(state.phase), rows, then)


@dataclass(frozen=True)
class ModelVersion:
    """One registered version; ``uri`` is where its files are, ``created`` its time in seconds since the epoch."""

    session: Session
    family: str
    version: str
    hash: str
    uri: str
    aliases: tuple[str, ...] = ()
    approval: str | None = None
    created: float | None = None
    archived: bool = False

    def archive(self) -> ModelVersion:
        """Puts it away: kept, but neither the newest nor deployed. Conflict if an alias or an endpoint names it."""
        versions.archive(self.session, self._reference)
        return replace(self, archived=True)

    def unarchive(self) -> ModelVersion:
        """Brings it back."""
        versions.unarchive(self.session, self._reference)
        return replace(self, archived=False)

    def delete(self) -> None:
        """Removes it for good; no other gets its number. Conflict if an alias or an endpoint names it."""
        versions.delete(self.session, self._reference)

    @property
    def _reference(self) -> Reference:
        return self.session.reference(f"{self.family}:{self.hash}")

    @property
    def image(self) -> str | None:
        """The image that ``cloudml image push`` pushed last for it, by its digest; None if there is none."""
        return versions.image(self.session, self._reference)

    def record_image(self, name: str) -> None:
        """Keeps which image has it inside: ``registry/name@sha256:…``."""
        versions.record_image(self.session, self._reference, name)

    @property
    def metrics(self) -> Mapping[str, float]:
        """What its run logged last."""
        found: Mapping[str, float] = self.sidecar.get("metrics", {})
        return found

    @property
    def sidecar(self) -> Mapping[str, Any]:
        """Its signature, sample, baseline, metrics and lineage."""
        return sidecars.read(self.session.provider.artifacts, self.session.stack, self.family, self.hash)

    @property
    def lineage(self) -> Mapping[str, Any]:
        """What it was made from: ``job``, ``source`` and ``data`` by their digests, ``params``, ``requirements``."""
        found: Mapping[str, Any] = self.sidecar.get("lineage", {})
        return found

    def _repr_html_(self) -> str:
        try:
            sidecar = self.sidecar
        except CloudmlError as error:
            return card(f"model {self}", f"cannot be read: {error}", notebook.BAD)
        lineage = sidecar.get("lineage", {})
        rows = [
            ("aliases", self.aliases),
            ("metrics", sidecar.get("metrics")),
            ("features", len(sidecar.get("inputs") or ()) or None),
            ("job", lineage.get("job")),
            ("params", lineage.get("params")),
            ("hash", self.hash),
        ]
        then = (f'cloud.deploy("my-api", "{self}")', f'cloud.models.alias("{self.family}", "champion", {self.version})')
        return card(f"model {self}", "archived" if self.archived else self.approval or "", notebook.GOOD, rows, then)

    def __str__(self) -> str:
        return f"{self.family}:{self.version}"

    def __repr__(self) -> str:
        names = "".join(f" @{alias}" for alias in self.aliases)
        return f"<ModelVersion {self}{names}>"


@dataclass(frozen=True)
class EndpointHandle:
    """A stable address with one deployment or several behind it."""

    session: Session
    name: str

    @property
    def key(self) -> Key:
        return Key("endpoint", self.name, self.session.stack)

    @property
    def state(self) -> State:
        """As it is now. NotFound if it is gone."""
        return _there(self.key, self.session.provider.endpoints.observe(self.key, None))

    @property
    def native(self) -> Mapping[str, Any]:
        """The provider's own description."""
        return self.state.native

    @property
    def url(self) -> str | None:
        """Where requests go, if the provider has an address that any HTTP client can use."""
        found: str | None = self.state.facts.get("url")
        return found

    def predict(self, rows: Any, deployment: str | None = None) -> Any:
        """Predictions for rows: a list of rows, a NumPy array or a DataFrame.

        A list in the same order, or a DataFrame with the column ``prediction`` for a DataFrame. ModelError if the model
        refuses the rows or fails on them.
        """
        frame = hasattr(rows, "columns") and hasattr(rows, "index")
        if frame:
            cells = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
            body: Any = {"dataframe_split": {"columns": list(rows.columns), "data": cells}}
        else:
            body = {"instances": rows.tolist() if hasattr(rows, "tolist") else rows}
        answer = self.invoke(_json(body), deployment=deployment)
        predictions = json.loads(answer.body)["predictions"]
        return type(rows)({"prediction": predictions}, index=rows.index) if frame else predictions

    def invoke(self, body: bytes, content_type: str = "application/json", deployment: str | None = None) -> Payload:
        """Sends a request as it is, to any deployment or to one; the answer as it came.

        Unsupported where the provider's requests cannot name a deployment.
        """
        if deployment is not None:
            require_of_request(self.session.plugin, Capability.ENDPOINTS_PIN, "a request that names a deployment")
        endpoints = self.session.provider.endpoints
        have = endpoints.reach(self.key) if isinstance(endpoints, Reachable) else self.state
        return endpoints.invoke(have, Payload(body, content_type), deployment)

    def deploy(
        self,
        model: str | ModelVersion,
        name: str = "blue",
        traffic: Mapping[str, int] | None = None,
        deadline: float | None = None,
        **fields: Any,
    ) -> EndpointHandle:
        """Adds or replaces one deployment; ``traffic`` shares out 100 per cent, and stays as it is where not given."""
        spec = self.session.spec_of(self.state, Endpoint)
        one = make(Deployment, name, {**fields, "model": str(model)})
        whole = document(spec)
        whole["deployments"] = {**whole["deployments"], name: document(one)}
        return self._apply(make(Endpoint, self.name, whole), traffic, deadline)

    def shift(self, traffic: Mapping[str, int], deadline: float | None = None) -> EndpointHandle:
        """Shares the traffic out anew; a deployment that is not named gets none."""
        return self._apply(self.session.spec_of(self.state, Endpoint), traffic, deadline)

    def rollback(self, deadline: float | None = None) -> EndpointHandle:
        """Goes back to what the endpoint was before its last change. NotFound if it was nothing."""
        before = self.session.remembered(self.state, PREVIOUS)
        if not isinstance(before, Endpoint):
            raise NotFound(f"{self.key} has nothing to go back to", hint="only a changed endpoint can be rolled back")
        return self._apply(before, None, deadline)

    def delete(self) -> None:
        """Removes it, its deployments and its monitor; models stay."""
        monitors.forget(self.session, self.name)
        self.session.pursue(self.session.absent(self.session.provider.endpoints, self.key))

    def logs(self) -> Log:
        """The lines of its servers so far. A notebook prints them by itself."""
        return Log(self._lines(), str(self.key), "endpoint.delete() ends it")

    def _lines(self) -> Iterator[str]:
        cursor: str | None = None
        while True:
            lines, cursor = self.session.provider.telemetry.logs(self.state, cursor)
            if not lines:
                return
            yield from (line.text for line in lines)

    def metrics(self, window: Window | None = None) -> Sequence[Sample]:
        """What the platform counted of its requests, oldest first: ``requests``, ``errors``, mean ``latency`` in ms.

        As often as the platform keeps it, and as late: some minutes on a cloud; a server here counts from its start.
        Without a window those of the last hours.
        """
        found = self.session.provider.telemetry.metrics(self.state, window or Window())
        return sorted(found, key=lambda sample: sample.time)

    def monitor(self, **fields: Any) -> MonitorHandle:
        """Sets what is watched (fields as of Monitor) and returns its handle.

        With no fields it is what is set already, or Monitor's defaults. Conflict for another stack's endpoint.
        """
        refuse_foreign(Goal[Endpoint](self.key), self.state, adopt=False)
        handle = MonitorHandle(self.session, self.name)
        if fields or handle.spec is None:
            self.session.pursue(self.session.monitor(self.name, make(Monitor, self.name, fields)))
        return handle

    def _apply(self, spec: Endpoint, traffic: Mapping[str, int] | None, deadline: float | None) -> EndpointHandle:
        if traffic is not None:
            spec = make(Endpoint, self.name, document(spec) | {"traffic": dict(traffic)})
        with detaching(str(self.key), "the same call again goes on from there"):
            self.session.pursue(self.session.endpoint(self.name, spec), deadline)
            monitors.follow(self.session, self.name)
        return self

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {_phase(self.session.provider.endpoints.observe(self.key, None))}>"

    def _repr_html_(self) -> str:
        return _drawn(self.key, self.session.provider.endpoints, self._card)

    def _card(self, state: State) -> str:
        traffic = {name: f"{share} %" for name, share in (state.facts.get("traffic") or {}).items()}
        failed = [f"{part.name}: {part.failure.reason}" for part in state.of("deployment") if part.failure]
        rows = [
            ("url", state.facts.get("url")),
            ("traffic", traffic),
            ("failure", state.failure.reason if state.failure else "; ".join(failed)),
        ]
        then = ("endpoint.predict(rows)", "endpoint.monitor().run()", "endpoint.delete()")
        return card(str(self.key), state.phase.value, tint(state.phase), rows, then)


def _json(body: Any) -> bytes:
    """A request's body: NaN and what else is missing as null, NumPy's scalars as numbers, times as text.

    ConfigError for what has no place in JSON.
    """
    try:
        return json.dumps(body, default=_plain, allow_nan=False).encode()
    except ValueError:  # a NaN somewhere: rare, so looked for only now
        return json.dumps(_without_nan(body), default=_plain).encode()
    except TypeError as error:
        raise ConfigError(f"these rows cannot be sent: {error}", hint="lists, NumPy arrays or a DataFrame") from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if type(value).__name__ == "NAType":
        return None
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def register(session: Session, family: str, spec: Model, facts: Mapping[str, Any]) -> ModelVersion:
    """Registers a version whose gates pass, and returns it as it is registered."""
    sidecars.admit(family, spec.gates, facts)
    pursuit = session.model(family, spec, lambda: facts)
    state = session.pursue(pursuit)
    return version_of(session, family, _there(pursuit.goal.key, state), pursuit.digest)


def version_of(session: Session, family: str, state: State, digest: str) -> ModelVersion:
    """The handle of an observed version, by its hash."""
    part = state.part("version", spec=digest)
    if part is None:
        raise NotFound(f"model {family} has no version with the hash {digest}")
    aliases = tuple(part.facts.get("aliases", ()))
    uri, approval, created = str(part.facts.get("uri", "")), part.facts.get("approval"), part.facts.get("created")
    archived = part.phase is Phase.ARCHIVED
    return ModelVersion(session, family, part.name, digest, uri, aliases, approval, created, archived)


def model_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``baseline="train.csv", target="y"`` as the long form of a Model's baseline."""
    full = dict(fields)
    target = full.pop("target", None)
    if isinstance(full.get("baseline"), str):
        full["baseline"] = {"data": full["baseline"], "target": target}
    elif target is not None:
        raise ConfigError("target names a column of the baseline: give baseline= too")
    return full


def _there(key: Key, state: State | None) -> State:
    if state is None:
        raise NotFound(f"there is no {key} in stack {key.stack}")
    return state


def _phase(state: State | None) -> str:
    return state.phase.value if state else "gone"


def _drawn(key: Key, kind: Kind[Any], card_of: Callable[[State], str]) -> str:
    """A handle's card; one of something that is gone, or cannot be read now, says so."""
    try:
        state = kind.observe(key, None)
    except CloudmlError as error:
        return card(str(key), f"cannot be read: {error}", notebook.BAD)
    return card_of(state) if state is not None else card(str(key), "gone")
