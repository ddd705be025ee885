"""A kill at any point: wrapped around a provider, so that it works with every one of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cloudml.events import Event, Happened
from cloudml.spi import Call, Goal, Kind, Operation
from cloudml.states import Key, State

Want = TypeVar("Want")
LOOKS = ("read", "poll")


class Killed(BaseException):
    """The process is dead. Nothing of the program may catch it."""


@dataclass
class Points:
    """The program points that a process passes; ``visit`` is told each, and may raise.

    Before a read, before a call is sent, after the provider took it, after its answer was noted, before a poll.
    """

    visit: Callable[[str], None] = lambda point: None
    passed: list[str] = field(default_factory=list)

    def at(self, point: str) -> None:
        self.passed.append(point)
        self.visit(point)

    def heard(self, event: Event) -> None:
        """A listener: the answer of a call has reached the loop."""
        if event.what in (Happened.SENT, Happened.REFUSED, Happened.LOST) and event.call:
            self.at(f"answered {event.call.operation}")


def kill_at(number: int, leave_out: Collection[str] = ()) -> Points:
    """Points of a process that dies at the n-th of them, counted from 1 without those that are left out."""
    points = Points()

    def visit(point: str) -> None:
        if sum(each not in leave_out for each in points.passed) == number:
            raise Killed(point)

    points.visit = visit
    return points


class Watched(Kind[Want]):
    """A kind whose process passes points."""

    def __init__(self, kind: Kind[Want], points: Points) -> None:
        self._kind = kind
        self._points = points

    def observe(self, key: Key, want: Want | None) -> State | None:
        self._points.at("read")
        return self._kind.observe(key, want)

    def render(self, goal: Goal[Want], have: State | None) -> Sequence[Call]:
        return self._kind.render(goal, have)

    def send(self, call: Call) -> Operation | None:
        self._points.at(f"before {call.operation}")
        answer = self._kind.send(call)
        self._points.at(f"taken {call.operation}")
        return answer

    def poll(self, operation: Operation) -> Operation:
        self._points.at("poll")
        return self._kind.poll(operation)

    def list(self, stack: str | None) -> Iterator[State]:
        return self._kind.list(stack)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kind, name)
