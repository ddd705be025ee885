"""What the in-memory clouds stand in: a clock that nobody waits for, rows in tables, faults in a given order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from cloudml.states import Captured
from cloudml.waiting import Clock

Row = dict[str, Any]
Result = TypeVar("Result")
LATENCY = 0.05  # seconds that each request takes: what goes on in the cloud can end between two of them
ENOUGH = 5000  # requests to one world; no test needs a tenth of it
NEVER_COMPARED = frozenset({"created"})


class Fault(Enum):
    """What happens to one write."""

    THROTTLE = "refused for its rate"
    UNAVAILABLE = "answered 503, nothing done"
    LOST = "carried out, connection reset before the answer"
    FAIL = "carried out, and what it starts fails later"
    ROLL_BACK = "carried out, and what it starts goes back silently"
    STALE = "carried out, and reads show what was before for some seconds"


class NativeError(Exception):
    """A cloud's own exception: an HTTP status (0 if no answer came), its own code, and text."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.status = status
        self.code = code
        self.text = text


@dataclass
class Planned:
    """A fault to come: ``skip`` matching writes are left alone first."""

    fault: Fault
    operation: str | None
    skip: int
    seconds: float

    def strikes(self, operation: str) -> bool:
        """Whether it is this write's turn."""
        if self.operation is not None and self.operation != operation:
            return False
        self.skip -= 1
        return self.skip < 0


@dataclass(frozen=True)
class Timer:
    """A change to come: ``changes`` for one row at a time, None if the row then goes."""

    at: float
    table: str
    name: str
    changes: Mapping[str, Any] | None
    make: bool


class World:
    """All that a cloud remembers, in plain dicts: ``tables[table][name]`` is a row.

    ``log`` lists the writes that were accepted; ``attempts`` counts those that were tried.
    """

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.clock = Clock(lambda: self.time, self._sleep)
        self.tables: dict[str, dict[str, Row]] = {}
        self.log: list[str] = []
        self.attempts = 0
        self.served = 0
        self.doom: Fault | None = None
        self.lines: dict[str, list[str]] = {}
        self.captured: dict[str, list[Captured]] = {}
        self.requests: Counter[str] = Counter()
        self._serials: Counter[str] = Counter()
        self._timers: list[Timer] = []
        self._faults: list[Planned] = []
        self._before: dict[str, dict[str, Row]] = {}
        self._stale_until = float("-inf")

    def inject(
        self, fault: Fault, operation: str | None = None, *, skip: int = 0, seconds: float | None = None
    ) -> None:
        """The next write (of that operation, after ``skip`` of them) meets the fault; in the order of injection.

        ``seconds`` is how long reads are old after it: 5 for STALE, else 0.
        """
        default = 5.0 if fault is Fault.STALE else 0.0
        self._faults.append(Planned(fault, operation, skip, default if seconds is None else seconds))

    @property
    def unmet(self) -> int:
        """The faults that no write has met yet."""
        return len(self._faults)

    def rows(self, table: str) -> dict[str, Row]:
        """A table as it is, to be changed by a write."""
        return self.tables.setdefault(table, {})

    def read(self, table: str) -> dict[str, Row]:
        """A table as a read sees it, which may be older than the last write; not to be changed."""
        self._busy()
        seen = self._before if self.time < self._stale_until else self.tables
        return seen.get(table, {})

    def write(self, operation: str, change: Callable[[], Result]) -> Result:
        """Carries out one write, or meets the fault that waits for it."""
        self._busy()
        self.attempts += 1
        planned = next((each for each in self._faults if each.strikes(operation)), None)
        if planned:
            self._faults.remove(planned)
        fault = planned.fault if planned else None
        if fault is Fault.THROTTLE:
            raise NativeError(429, "Throttling", "rate exceeded")
        if fault is Fault.UNAVAILABLE:
            raise NativeError(503, "ServiceUnavailable", "try again")
        if planned and planned.seconds:
            self._before, self._stale_until = copied(self.tables), self.time + planned.seconds
        self.doom = fault if fault in (Fault.FAIL, Fault.ROLL_BACK) else None
        result = change()
        self.log.append(operation)
        if fault is Fault.LOST:
            raise NativeError(0, "ConnectionReset", "connection reset by peer")
        return result

    def later(self, seconds: float, table: str, name: str, changes: Row | None, *, make: bool = False) -> None:
        """Changes one row after some seconds; ``make`` it if it is not there."""
        self._timers.append(Timer(self.time + seconds, table, name, changes, make))

    def forget(self, table: str, name: str) -> None:
        """Nothing that was to happen to that row happens any more."""
        self._timers = [timer for timer in self._timers if (timer.table, timer.name) != (table, name)]

    def serial(self, table: str) -> int:
        """The next number that the cloud gives out."""
        self._serials[table] += 1
        return self._serials[table]

    def twin(self) -> World:
        """A world that is the same now, and goes its own way."""
        other = World()
        other.time, other.tables, other.log = self.time, copied(self.tables), list(self.log)
        other.lines, other.captured = copied(self.lines), copied(self.captured)
        other.requests, other._serials, other._timers = (
            Counter(self.requests),
            Counter(self._serials),
            list(self._timers),
        )
        return other

    def settle(self) -> None:
        """Lets everything that is under way come to its end."""
        self._sleep(3600)

    def snapshot(self) -> dict[str, dict[str, Row]]:
        """All that is there once everything has settled, without what differs from run to run: times, history."""
        self.settle()
        return {
            table: {name: _comparable(row) for name, row in sorted(rows.items())}
            for table, rows in sorted(self.tables.items())
            if rows and table != "operations"
        }

    def _busy(self) -> None:
        self.served += 1
        if self.served > ENOUGH:
            raise AssertionError(f"{ENOUGH} requests: somebody asks for ever")
        self._sleep(LATENCY)

    def _sleep(self, seconds: float) -> None:
        self.time += seconds
        self._elapse()

    def _elapse(self) -> None:
        if not self._timers:
            return
        due = sorted((timer for timer in self._timers if timer.at <= self.time), key=lambda timer: timer.at)
        self._timers = [timer for timer in self._timers if timer.at > self.time]
        for timer in due:
            rows = self.rows(timer.table)
            if timer.changes is None:
                rows.pop(timer.name, None)
            elif timer.make or timer.name in rows:
                rows.setdefault(timer.name, {"name": timer.name}).update(copied(dict(timer.changes)))


def copied(value: Any) -> Any:
    """A deep copy of plain data."""
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


def _comparable(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in NEVER_COMPARED}
