"""What is watched on an endpoint, its runs, and what is kept of them.

A run is the document ``<stack>/monitors/<endpoint>/runs/<time>.json``: the report, the counts that its plots are drawn
from, and the model whose baseline it was compared with. Who runs on a platform's own schedule may write it into folders
below that, as the platform has it. Runs go with their monitor.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cloudml import artifacts, notebook, sidecars
from cloudml.artifacts import Content
from cloudml.errors import CloudmlError, ConfigError, NotFound
from cloudml.events import Event, Happened
from cloudml.goals import Session, most_asked, shadows
from cloudml.specs import Endpoint, Monitor
from cloudml.spi import Window
from cloudml.states import Captured, Key, State

if TYPE_CHECKING:
    from cloudml.monitoring import Comparison, Report

RUN = re.compile(r"\d{8}T\d{6}\.\d{3}Z")  # a run's name: when it was
TOLD_EVERY = 1000  # captured requests between two events


@dataclass(frozen=True)
class MonitorRun:
    """One comparison of captured traffic with a baseline; ``time`` in UTC names it."""

    session: Session
    endpoint: str
    time: str
    document: Mapping[str, Any] = field(repr=False)

    @property
    def report(self) -> Report:
        """Verdict, findings and statistics."""
        from cloudml.monitoring.report import report_from_json

        return report_from_json(self.document["report"])

    @property
    def model(self) -> str:
        """The version whose baseline it was compared with, as ``family:hash``."""
        return str(self.document["model"])

    def html(self) -> str:
        """The report as one page; without plots if the model, and its baseline with it, is gone."""
        from cloudml.monitoring.html import html
        from cloudml.monitoring.profile import Baseline, Profile

        title = f"Drift of {self.endpoint}"
        family, _, digest = self.model.partition(":")
        store, stack = self.session.provider.artifacts, self.session.stack
        stored = sidecars.read(store, stack, family, digest).get("baseline")
        if not stored:
            return html(self.report, title=title)
        return html(self.report, Baseline.from_json(stored), Profile.from_json(self.document["profile"]), title=title)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


@dataclass(frozen=True)
class MonitorHandle:
    """What is watched on one endpoint."""

    session: Session
    endpoint: str

    @property
    def spec(self) -> Monitor | None:
        """What is set; None if nothing is."""
        stored = artifacts.read_document(self.session.provider.artifacts, self.session.monitor_key(self.endpoint))
        return Monitor.model_validate(stored) if stored else None

    def run(self, window: Window | None = None, keep: bool = True) -> Report:
        """Compares captured traffic with the baseline of the model that serves it; the report is kept.

        Without a window the last ``window`` seconds of the monitor's spec count, else all that was captured. Raises
        ConfigError if the model was registered without a baseline, NotFound if nothing is watched.
        """
        return self.check(window, keep).report

    def check(self, window: Window | None = None, keep: bool = True) -> MonitorRun:
        """The same, as the run: with what its plots are drawn from."""
        spec = self.spec
        if spec is None:
            raise NotFound(f"endpoint {self.endpoint} has no monitor", hint="endpoint.monitor(drift={'psi': 0.2})")
        state = self._endpoint()
        want = self.session.spec_of(state, Endpoint)
        model = most_asked(want)
        span = window or Window(start=time.time() - spec.window if spec.window else None)
        made = self._run(model, self._compared(state, _of_its_own(span, state), model, spec, want))
        if keep:
            self._keep(made)
        return made

    def history(self) -> list[MonitorRun]:
        """The runs that were kept, oldest first."""
        return [self._read(name, uri) for name, uri in self._runs().items()]

    def last(self) -> MonitorRun | None:
        """The last run that was kept; None if there is none."""
        found = [*self._runs().items()]
        return self._read(*found[-1]) if found else None

    def get(self, time: str | None = None) -> MonitorRun:
        """The last run that was kept, or that of a time, whose beginning is enough. NotFound if there is none."""
        found = [each for each in self._runs().items() if time is None or each[0].startswith(time)]
        if not found:
            said = "no run of that time" if time else "no run"
            raise NotFound(f"the monitor of {self.endpoint} has {said}", hint="'cloudml monitors history' lists them")
        return self._read(*found[-1])

    def delete(self) -> None:
        """Watches no longer, and removes what was kept of the runs; the endpoint stays."""
        forget(self.session, self.endpoint)

    def _endpoint(self) -> State:
        key = Key("endpoint", self.endpoint, self.session.stack)
        state = self.session.provider.endpoints.observe(key, None)
        if state is None:
            raise NotFound(f"there is no {key} in stack {key.stack}")
        return state

    def _compared(self, state: State, window: Window, model: str, spec: Monitor, want: Endpoint) -> Comparison:
        from cloudml.monitoring.run import compare

        telemetry, copied = self.session.provider.telemetry, shadows(want)
        captured = (each for each in telemetry.captured(state, window) if each.deployment not in copied)
        baseline = self._baseline(model)
        return compare(baseline, self._counted(captured), spec.drift, spec.min_samples, redacted=want.redact)

    def _counted(self, captured: Iterator[Captured]) -> Iterator[Captured]:
        """The same requests; tells how many there were."""
        key, number = Key("monitor", self.endpoint, self.session.stack), 0
        for number, each in enumerate(captured, 1):
            if number % TOLD_EVERY == 0:
                self.session.events.emit(Event(Happened.PROGRESS, key, f"{number:,} requests read"))
            yield each
        if number >= TOLD_EVERY:
            self.session.events.emit(Event(Happened.PROGRESS, key, f"{number:,} requests read, comparing"))

    def _baseline(self, model: str) -> Mapping[str, Any]:
        family, _, digest = model.partition(":")
        store, stack = self.session.provider.artifacts, self.session.stack
        found = sidecars.read(store, stack, family, digest).get("baseline")
        if not found:
            raise ConfigError(
                f"model {family} was registered without a baseline", hint="give baseline= when registering"
            )
        profile: Mapping[str, Any] = found
        return profile

    def _run(self, model: str, compared: Comparison) -> MonitorRun:
        from cloudml.monitoring import kept

        return MonitorRun(self.session, self.endpoint, *kept.of(self.endpoint, model, compared))

    def _keep(self, run: MonitorRun) -> None:
        body = json.dumps(run.document).encode()  # in its order, which is that of the tables
        place = f"{runs_key(self.session, self.endpoint)}/{run.time}.json"
        self.session.pursue(self.session.content(Content(place, lambda: body)))

    def _runs(self) -> dict[str, str]:
        """The URIs of the runs by their names, oldest first; what else a platform has written there is none."""
        uris = self.session.provider.artifacts.list(runs_key(self.session, self.endpoint))
        named = {uri.rsplit("/", 1)[-1].removesuffix(".json"): uri for uri in uris}
        return {name: named[name] for name in sorted(named) if RUN.fullmatch(name)}

    def _read(self, name: str, uri: str) -> MonitorRun:
        try:
            with self.session.provider.artifacts.open(uri) as file:
                return MonitorRun(self.session, self.endpoint, name, json.load(file))
        except NotFound as gone:
            raise NotFound(f"the run {name} of {self.endpoint} is gone") from gone

    def __repr__(self) -> str:
        return f"<Monitor of {self.endpoint}>"

    def _repr_html_(self) -> str:
        try:
            spec, names, run = self.spec, self._runs(), self.last()
            last = run.document["report"]["verdict"] if run else "not run yet"
        except CloudmlError as error:
            return notebook.card(f"monitor of {self.endpoint}", f"cannot be read: {error}", notebook.BAD)
        if spec is None:
            return notebook.card(f"monitor of {self.endpoint}", "nothing is watched")
        color = {"ok": notebook.GOOD, "drift": notebook.BAD}.get(last, notebook.QUIET)
        rows = [("drift", spec.drift), ("at least", f"{spec.min_samples} rows"), ("runs kept", len(names))]
        return notebook.card(f"monitor of {self.endpoint}", last, color, rows, ("monitor.run()", "monitor.history()"))


def runs_key(session: Session, endpoint: str) -> str:
    """The folder that holds what is kept of a monitor's runs."""
    return f"{session.stack}/monitors/{endpoint}/runs"


def follow(session: Session, endpoint: str) -> None:
    """A native schedule is told what the endpoint serves by now; nothing happens where there is none."""
    if session.provider.monitors is None:
        return
    spec = MonitorHandle(session, endpoint).spec
    if spec is not None and spec.schedule:
        session.pursue(session.monitor(endpoint, spec))


def watched(session: Session) -> list[str]:
    """The endpoints of a stack that are watched."""
    return sorted({name for name, is_run in _documents(session) if not is_run})


def kept(session: Session) -> list[str]:
    """The endpoints of a stack that a monitor has run on."""
    return sorted({name for name, is_run in _documents(session) if is_run})


def forget(session: Session, endpoint: str) -> None:
    """Removes a monitor's document, its runs and its native schedule; nothing happens if there are none."""
    if session.provider.monitors is not None:
        session.pursue(session.absent(session.provider.monitors, Key("monitor", endpoint, session.stack)))
    session.pursue(session.absent_content(session.monitor_key(endpoint)))
    session.pursue(session.absent_content(runs_key(session, endpoint)))


def _documents(session: Session) -> Iterator[tuple[str, bool]]:
    """The endpoint of each document under the stack's monitors, and whether the document is of a run."""
    store, place = session.provider.artifacts, f"{session.stack}/monitors"
    for uri in store.list(place):
        name, *below = uri.removeprefix(store.uri(place)).lstrip("/").split("/")
        yield name.removesuffix(".json"), bool(below)


def _of_its_own(window: Window, state: State) -> Window:
    """Without the time before the endpoint was made: what an earlier one of its name captured may be there still."""
    return replace(window, start=max(window.start or 0.0, state.created or 0.0) or None)
