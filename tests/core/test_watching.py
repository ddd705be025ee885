"""Many runs at once: one list for all of them at each look, one error for those that fail, and a queue at the quota."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cloudml import plan as planning
from cloudml.client import Client, connect_plugin
from cloudml.errors import NotFound, QuotaExceeded, RunFailed, Timeout
from cloudml.events import Event, Happened
from cloudml.specs import Endpoint, Model, TrainingJob
from cloudml.spi import Call, Caller, Operation, Provider
from cloudml.states import Key, Phase, State
from cloudml.testing.clouds import CLOUDS
from cloudml.testing.killing import Points, Watched
from cloudml.testing.world import World


@dataclass(frozen=True)
class Wanted:
    """A project of jobs alone."""

    jobs: Mapping[str, TrainingJob]
    name: str = "shop"
    models: Mapping[str, Model] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)


class Counted(Watched[TrainingJob]):
    """Jobs that count looks and lists, of which at most some run at once, and that reads may not show yet."""

    def __init__(self, kind: Any, place: Place) -> None:
        super().__init__(kind, Points())
        self._place, self._looks = place, place.looks

    def observe(self, key: Key, want: TrainingJob | None) -> State | None:
        self._looks["observe"] += 1
        return super().observe(key, want) if self._place.world.time >= self._place.shown else None

    def unsettled(self, stack: str) -> Mapping[str, Phase]:
        self._looks["list"] += 1
        found: Mapping[str, Phase] = self._kind.unsettled(stack)  # type: ignore[attr-defined]
        return found if self._place.world.time >= self._place.shown else {}

    def send(self, call: Call) -> Operation | None:
        running = sum(not state.phase.settled for state in self._kind.list(None))
        if self._place.quota is not None and running >= self._place.quota:
            raise QuotaExceeded(f"{running} run already")
        self._looks["most"] = max(self._looks["most"], running + 1)
        return super().send(call)


@dataclass
class Place:
    """A cloud of chosen names whose looks at jobs are counted."""

    quota: int | None = None
    world: World = field(default_factory=World)
    looks: Counter[str] = field(default_factory=Counter)
    heard: list[Event] = field(default_factory=list)
    shown: float = 0.0
    pace: float = 1.0

    def client(self) -> Client:
        plugin = CLOUDS["named"](self.world)

        def connect(config: Any, caller: Caller) -> Provider:
            provider: Any = plugin.connect(config, caller)
            made: Provider = replace(provider, jobs=Counted(provider.jobs, self))
            return made

        return connect_plugin(
            replace(plugin, connect=connect, pace=self.pace), "shop-test", [self.heard.append], clock=self.world.clock
        )


@pytest.fixture
def place() -> Place:
    return Place()


def many(count: int, command: Callable[[int], str] = lambda number: "sleep") -> Wanted:
    jobs = {f"job-{number}": TrainingJob(command=command(number), params={"n": number}) for number in range(count)}
    return Wanted(jobs)


def test_a_file_s_runs_are_together_and_watched_by_lists(place: Place) -> None:
    wanted = many(40)
    outcome = planning.apply(place.client(), wanted)
    assert [state.phase for state in outcome.states.values() if state] == [Phase.SUCCEEDED] * 40
    assert place.looks["most"] > 5, "they are started before the first is waited for"
    submitted = 3 * 40  # before, for what is stored before, and after
    assert place.looks["observe"] <= submitted + 40 + 5
    assert 1 <= place.looks["list"] <= 12


def test_runs_of_python_are_waited_for_together(place: Place) -> None:
    client = place.client()
    runs = [client.train(f"job-{number}", command="sleep") for number in range(10)]
    place.looks.clear()
    assert client.jobs.wait([*runs[:5], *(run.id for run in runs[5:])]) == runs
    assert place.looks["observe"] == 10 + 5, "an id is looked up"
    assert 1 <= place.looks["list"] <= 12


def test_one_that_fails_does_not_keep_the_others(place: Place) -> None:
    wanted = many(8, lambda number: "fail" if number in (2, 5) else "sleep")
    with pytest.raises(
        RunFailed, match=r"^2 of 8 runs failed: job shop-job-2-\S+ failed: .*; job shop-job-5"
    ) as failed:
        planning.apply(place.client(), wanted)
    assert "--rerun job-2" in (failed.value.hint or "")
    phases = Counter(state.phase for state in place.client().jobs.list())
    assert phases == {Phase.SUCCEEDED: 6, Phase.FAILED: 2}


def test_waiting_names_all_that_failed_or_went_away(place: Place) -> None:
    client = place.client()
    runs = [client.train(f"job-{number}", command="fail" if number < 7 else "sleep") for number in range(9)]
    runs[8].delete()
    with pytest.raises(RunFailed, match=r"^8 of 9 runs failed: (job .* failed: .*; ){4}.*; and 3 more$"):
        client.jobs.wait(runs)
    with pytest.raises(RunFailed, match=f"^{runs[8].key} was deleted$"):
        client.jobs.wait(runs[7:])
    with pytest.raises(NotFound):
        client.jobs.wait([runs[8].id])


def test_what_is_over_the_quota_waits_for_its_turn() -> None:
    place = Place(quota=3)
    outcome = planning.apply(place.client(), many(10))
    assert [state.phase for state in outcome.states.values() if state] == [Phase.SUCCEEDED] * 10
    assert place.looks["most"] == 3


def test_a_quota_of_nothing_is_an_error() -> None:
    with pytest.raises(QuotaExceeded):
        planning.apply(Place(quota=0).client(), many(2))
    with pytest.raises(QuotaExceeded):
        planning.apply(Place(quota=1).client(), many(2), wait=False)


def test_nobody_waits_for_what_is_only_to_be_started(place: Place) -> None:
    outcome = planning.apply(place.client(), many(5), wait=False)
    assert not any(state.phase.settled for state in outcome.states.values() if state)
    assert len(place.client().jobs.list()) == 5
    (note,) = [event for event in place.heard if event.what is Happened.NOTE]
    assert "and 4 more are going on" in note.text


def test_a_deadline_ends_the_waiting_and_not_the_runs(place: Place) -> None:
    client = place.client()
    runs = [client.train(f"job-{number}", command="sleep") for number in range(3)]
    with pytest.raises(Timeout, match=r"and 2 more"):
        client.jobs.wait(runs, deadline=1.0)
    client.jobs.wait(runs)


def test_a_read_that_is_behind_is_no_deletion(place: Place) -> None:
    """For some seconds, list and look both come from before the runs were made."""
    client = place.client()
    runs = [client.train(f"job-{number}", command="sleep") for number in range(2)]
    place.shown = place.world.time + 6.0
    assert client.jobs.wait(runs) == runs


def test_each_phase_of_each_run_is_told_and_then_the_last_again() -> None:
    """So that a terminal's last line goes on counting its seconds."""
    place = Place(pace=0.05)
    client = place.client()
    runs = [client.train(f"job-{number}", command="sleep") for number in range(3)]
    place.heard.clear()
    client.jobs.wait(runs)
    told = [event for event in place.heard if event.what in (Happened.WAITING, Happened.DONE)]
    for run in runs:
        phases = [event.state.phase for event in told if event.key == run.key and event.state]
        assert phases[-2:] == [Phase.RUNNING, Phase.SUCCEEDED]
    again = [one.key for one, other in itertools.pairwise(told) if one.key == other.key and one.text == other.text]
    assert again
    assert len(told) <= 3 * 3 + sum(place.looks.values())
