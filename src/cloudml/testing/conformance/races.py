"""Two processes at once, handing over to each other at every point, in every small rhythm."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from cloudml.errors import AlreadyExists, CloudmlError, Conflict
from cloudml.specs import Endpoint
from cloudml.spi import Repeat
from cloudml.states import Phase
from cloudml.testing.conformance.endpoints import hashed, runs, traffic
from cloudml.testing.conformance.rig import FAMILY, Content, Process, Rig, summary
from cloudml.testing.conformance.scenarios import (
    ENDPOINT,
    JOB,
    SCENARIOS,
    Scenario,
    Step,
    registered,
    serving,
    single,
)
from cloudml.testing.killing import Points

RHYTHMS = [(first, second) for first in (1, 2, 3, 4, 6) for second in (1, 2, 3, 5)]
SAME = [name for name in SCENARIOS if name not in ("job-cancelled", "whole", "destroyed")]


class Turns:
    """Two threads of which one runs at a time: each passes its number of points, then hands over."""

    def __init__(self, rhythm: Sequence[int]) -> None:
        self._rhythm = rhythm
        self._turn = 0
        self._left = rhythm[0]
        self._ended: set[int] = set()
        self._changed = threading.Condition()

    def points(self, who: int) -> Points:
        return Points(lambda point: self._pass(who))

    def run(self, *works: Callable[[], object]) -> list[Exception | None]:
        """Runs both to their ends; what each raised."""
        raised: list[Exception | None] = [None, None]

        def work(who: int) -> None:
            self._wait(who)
            try:
                works[who]()
            except Exception as error:  # noqa: BLE001 - handed to the test, which knows what may be raised
                raised[who] = error
            finally:
                with self._changed:
                    self._ended.add(who)
                    self._hand_over(who)

        threads = [threading.Thread(target=work, args=(who,), daemon=True) for who in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        return raised

    def _pass(self, who: int) -> None:
        with self._changed:
            self._left -= 1
            if self._left <= 0:
                self._hand_over(who)
        self._wait(who)

    def _hand_over(self, who: int) -> None:
        if 1 - who not in self._ended:
            self._turn, self._left = 1 - who, self._rhythm[1 - who]
        self._changed.notify_all()

    def _wait(self, who: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._turn == who, 60)


def both(rig: Rig, rhythm: Sequence[int], *acts: Callable[[Process], object]) -> list[Exception | None]:
    """Two processes at once; what each raised."""
    turns = Turns(rhythm)
    first, second = (rig.process(turns.points(who)) for who in (0, 1))
    return turns.run(lambda: acts[0](first), lambda: acts[1](second))


def _applied(want: Endpoint) -> Step:
    return lambda process: process.apply("endpoint", ENDPOINT, want)


def _made_anew(process: Process) -> Callable[[], object]:
    return lambda: process.apply("job", JOB, process.rig.slow)


def _championed(content: Content) -> Step:
    return lambda process: process.register(content, alias="champion")


class RacesContract:
    @pytest.mark.parametrize("name", SAME)
    def test_the_same_want_twice_at_once_is_harmless(self, rig: Rig, name: str) -> None:
        start = SCENARIOS[name].starts(rig)
        alone = start()
        SCENARIOS[name].act(alone.process())
        expected = summary(alone.process().everything())
        for rhythm in RHYTHMS:
            other = start()
            raised = both(other, rhythm, SCENARIOS[name].act, SCENARIOS[name].act)
            assert raised == [None, None], rhythm
            assert summary(other.process().everything()) == expected, rhythm

    @pytest.mark.parametrize("before", [registered, serving])
    def test_different_wants_end_with_one_of_them(self, rig: Rig, before: Step) -> None:
        """Who loses is told of the conflict, or was done before; what serves is never a mixture."""
        third = Content(rig.models[0].source.with_name("third"))
        third.source.write_bytes(b"model three")
        contents = (rig.models[1], third)

        def prepared(process: Process) -> None:
            before(process)
            process.register(third)

        start = Scenario(lambda process: None, prepared).starts(rig)
        for rhythm in RHYTHMS:
            other = start()
            process = other.process()
            raised = both(other, rhythm, *(_applied(single(content)) for content in contents))
            assert all(error is None or isinstance(error, Conflict) for error in raised), (rhythm, raised)
            assert traffic(process) == {"blue": 100}
            hashes = {hashed(content): single(content) for content in contents}
            winner = hashes[runs(process)["blue"] or ""]
            process.apply("endpoint", ENDPOINT, winner)
            assert process.plan("endpoint", ENDPOINT, winner) == []
            assert process.ask(ENDPOINT)

    def test_an_apply_and_a_delete_at_once_end_with_one_of_them(self, rig: Rig) -> None:
        start = SCENARIOS["endpoint-replaced"].starts(rig)
        for rhythm in RHYTHMS:
            other = start()
            raised = both(
                other, rhythm, SCENARIOS["endpoint-replaced"].act, lambda process: process.delete("endpoint", ENDPOINT)
            )
            assert all(error is None or isinstance(error, CloudmlError) for error in raised), (rhythm, raised)
            other.process().delete("endpoint", ENDPOINT)
            assert [state.key.kind for state in other.process().everything()] == ["model"]

    def test_two_aliases_at_once_end_with_one_of_them(self, rig: Rig) -> None:
        start = Scenario(lambda process: None, registered).starts(rig)
        for rhythm in RHYTHMS:
            other = start()
            raised = both(other, rhythm, *(_championed(each) for each in other.models))
            assert all(error is None or isinstance(error, CloudmlError) for error in raised), (rhythm, raised)
            have = other.process().state("model", FAMILY)
            assert have
            assert have.facts["aliases"]["champion"] in {part.name for part in have.of("version")}

    def test_two_that_make_one_job_end_with_one_job(self, rig: Rig) -> None:
        for rhythm in RHYTHMS:
            other = rig.fresh()
            raised = both(other, rhythm, *[lambda process: process.apply("job", JOB, process.rig.job)] * 2)
            assert raised == [None, None], rhythm
            have = other.process().state("job", JOB)
            assert have
            assert have.phase is Phase.SUCCEEDED
            assert {part.phase for part in have.of("job")} <= {Phase.CANCELLED}

    def test_only_one_of_two_new_jobs_gets_the_name(self, rig: Rig) -> None:
        """Where we choose the name, the second is told; it then takes the next."""
        for rhythm in RHYTHMS:
            other = rig.fresh()
            create = other.process().plan("job", JOB, other.slow)[0]
            turns = Turns(rhythm)
            pair = [other.process(turns.points(who), exclusive=True) for who in (0, 1)]
            raised = turns.run(*(_made_anew(process) for process in pair))
            told = [error for error in raised if isinstance(error, AlreadyExists)]
            assert len(told) == 1 or (create.repeat is Repeat.GUARDED and not told), (rhythm, raised)
