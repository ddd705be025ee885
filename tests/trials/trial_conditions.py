"""The conditions that a cloud can be in; each asserts that it was met, or its column would be the plain one again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from trial import Result, Trial
from trial_words import FAILING, SHOWN, STARTS, UNAVAILABLE, WRITES

from cloudml.emulation.dockers import LABEL, DockerContainers
from cloudml.emulation.faults import Fault, Trouble
from cloudml.emulation.lifecycle import Lifecycle
from cloudml.emulation.processes import UNIVERSAL
from cloudml.errors import AnswerLost, RunFailed
from cloudml.events import Event, Happened
from cloudml.images.daemon import connect


@dataclass(frozen=True)
class Throttled:
    """The first call of each native write of an act is refused for its rate."""

    name: str = "throttled"

    def does(self, trial: Trial, act: str, do: Callable[[], Result]) -> Result:
        writes, told = WRITES[trial.column.provider].get(act, ()), retries(trial)
        for write in writes:
            trial.faults.add(Fault(Trouble.THROTTLE, write))
        try:
            return do()
        finally:
            left = [fault.operation for fault in trial.faults]
            assert left == [], f"never called while it did {act!r}"
            assert retries(trial) >= told + len(writes)


def retries(trial: Trial) -> int:
    return sum(event.what is Happened.RETRYING for event in trial.heard)


@dataclass(frozen=True)
class Remembered(Lifecycle):
    """A pace that remembers the states that it showed. By looks and not by seconds: a stalled machine hides none."""

    reads: int = 2
    shown: list[str] = field(default_factory=list)

    def stage(self, states: Sequence[str], since: float, reads: int) -> str | None:
        found = super().stage(states, since, reads)
        self.shown.extend([found] if found else [])
        return found


@dataclass(frozen=True)
class Slow:
    """Every state lasts for two looks: the cloud shows its own, and whoever waits is told the neutral ones."""

    name: str = "slow"
    lifecycle: Remembered = field(default_factory=Remembered)

    def does(self, trial: Trial, act: str, do: Callable[[], Result]) -> Result:
        wanted, told = SHOWN[trial.column.provider].get(act, {}), len(trial.heard)
        self.lifecycle.shown.clear()
        try:
            return do()
        finally:
            heard = {_phase(event) for event in trial.heard[told:] if event.what is Happened.WAITING}
            assert {*self.lifecycle.shown} >= wanted.keys(), f"while it did {act!r}"
            assert heard >= {*wanted.values()}, f"while it did {act!r}"


@dataclass(frozen=True)
class Failing:
    """What is taken fails, each operation of an act in turn; what is answered at once is answered 503."""

    name: str = "failing"

    def does(self, trial: Trial, act: str, do: Callable[[], Result]) -> Result:
        for operation in FAILING.get(act, ()):
            trial.faults.add(Fault(Trouble.FAIL, operation))
            with pytest.raises(RunFailed, match="internal"):
                do()
            assert not [*trial.faults], f"{operation} was never called while it did {act!r}"
        for operation in UNAVAILABLE.get(act, ()):
            trial.faults.add(Fault(Trouble.UNAVAILABLE, operation))
        if act == "ask":  # nobody looks for a prediction that may have been made: the next request is the repair
            with pytest.raises(AnswerLost, match="temporarily unavailable"):
                do()
        try:
            return do()
        finally:
            assert not [*trial.faults], f"never called while it did {act!r}"


@dataclass(frozen=True)
class InContainers:
    """What runs, runs in containers of this machine's Docker engine."""

    name: str = "docker"

    def does(self, trial: Trial, act: str, do: Callable[[], Result]) -> Result:
        before = time.time()
        try:
            return do()
        finally:
            if act in STARTS:
                assert {UNIVERSAL in image for image in _started(trial, before)} >= STARTS[act], f"for {act!r}"


def _started(trial: Trial, since: float) -> list[str]:
    """The images of the containers of this emulation that the engine has started since, as it tells itself."""
    containers = trial.running.clouds[trial.column.provider].containers
    assert isinstance(containers, DockerContainers)
    filters = {"type": "container", "event": "start", "label": f"{LABEL}={containers.mark}"}
    with contextlib.closing(connect()) as engine:
        told = engine.events(since=f"{since:.9f}", until=f"{time.time():.9f}", filters=filters, decode=True)
        return [event["Actor"]["Attributes"]["image"] for event in told]


def _phase(event: Event) -> str:
    """What somebody was waiting for: a phase, or an operation."""
    return "operation" if event.operation else event.text
