"""The conditions that a cloud can be in; each asserts that it was met, or its column would be the plain one again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trial import Result, Trial
from trial_words import SHOWN, WRITES

from cloudml.emulation.faults import Fault, Trouble
from cloudml.events import Event, Happened


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
class Slow:
    """Every state lasts for two looks, so that whoever asks sees each of them."""

    name: str = "slow"

    def does(self, trial: Trial, act: str, do: Callable[[], Result]) -> Result:
        wanted, told = set(SHOWN[trial.column.provider].get(act, ())), len(trial.heard)
        try:
            return do()
        finally:
            seen = {_shown(event) for event in trial.heard[told:] if event.what is Happened.WAITING}
            assert seen >= wanted, f"while it did {act!r}"


def _shown(event: Event) -> str:
    """What somebody was waiting for: a phase, or an operation."""
    return event.state.phase.value if event.state else "operation"
