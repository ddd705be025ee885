"""One trial: a story told in an account of its own, in an emulated cloud that is in some condition."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from trial_words import ACTS

from cloudml import plugins
from cloudml.client import Client, connect_plugin
from cloudml.emulation.faults import Faults
from cloudml.emulation.running import Running
from cloudml.events import Event
from cloudml.waiting import Clock

Result = TypeVar("Result")
FASTER = 4.0  # than the wall's: what is ten seconds of patience to a client passes in two and a half
CLOCK = Clock(lambda: FASTER * time.monotonic(), lambda seconds: time.sleep(seconds / FASTER))
PACE = 0.2  # seconds of that clock between two looks
HISTORY = ("calls", "counts")  # of what a cloud says of itself: not what is in it
PATIENCE = 60.0  # of the wall's seconds, for what a cloud does by itself


class Condition(Protocol):
    """The state that a cloud is in while a story is told."""

    @property
    def name(self) -> str: ...

    def does(self, trial: Trial, act: str, do: Callable[[], Result]) -> Result:
        """Carries out one act of a story, and asserts that the condition was met meanwhile."""


@dataclass(frozen=True)
class Plain:
    """Nothing is asked of the cloud."""

    name: str = "plain"

    def does(self, trial: Trial, act: str, do: Callable[[], Result]) -> Result:
        return do()


@dataclass(frozen=True)
class Column:
    """A cloud in a condition, and how it is started; ``settings`` are the provider's."""

    provider: str
    condition: Condition
    start: Callable[[], Running]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.provider}-{self.condition.name}"


@dataclass(frozen=True)
class Trial:
    """What a story is told with: ``account`` is the environment that leads to its own account."""

    column: Column
    running: Running
    folder: Path
    heard: list[Event] = field(default_factory=list)

    def connect(self) -> Client:
        """A client as ``cloudml.connect`` makes it, by a faster clock."""
        plugin = replace(plugins.load(self.column.provider), pace=PACE)
        return connect_plugin(plugin, "shop-trial", [self.heard.append], self.column.settings, CLOCK)

    def does(self, act: str, do: Callable[[], Result]) -> Result:
        """Carries out one act of a story, by its name in trial_words.py."""
        assert act in ACTS, f"no condition knows of {act!r}"
        return self.column.condition.does(self, act, do)

    @property
    def faults(self) -> Faults:
        return self.running.clouds[self.column.provider].faults

    @property
    def containers(self) -> Sequence[str]:
        """The ids of the containers that there are, of all accounts."""
        return self.running.clouds[self.column.provider].containers.ids()

    def everything(self) -> Mapping[str, Any]:
        """What is in the cloud, and what runs for it."""
        found = self.running.clouds[self.column.provider].cloud.inspect()
        there = {name: kept for name, rows in found.items() if name not in HISTORY and (kept := _without_nothing(rows))}
        return {**there, "containers": self.containers}


def _without_nothing(rows: Any) -> Any:
    """What is in a table of tables; Azure's environments are nobody's: others may use them too, so they stay."""
    if isinstance(rows, Mapping):
        return {name: kept for name, each in rows.items() if (kept := _without_nothing(each))}
    return [row for row in rows if not row.startswith("environments/")] if isinstance(rows, list) else rows


def until(met: Callable[[], Result]) -> Result:
    """Looks until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not (found := met()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)
    return found
