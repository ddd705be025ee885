"""What happens, told to whoever listens: progress for the command line, for notebooks and for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from cloudml.spi import Call
from cloudml.states import Key, Operation, State


class Happened(Enum):
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    LOST = "answer lost"
    WAITING = "waiting"
    PROGRESS = "progress"
    RETRYING = "retrying"
    DONE = "done"
    NOTE = "note"


@dataclass(frozen=True)
class Event:
    """One thing that happened to ``key``; ``text`` is for people, the rest for programs."""

    what: Happened
    key: Key | None
    text: str
    call: Call | None = None
    state: State | None = None
    operation: Operation | None = None


Listener = Callable[[Event], None]


@dataclass
class Events:
    """The listeners; an event goes to each in order."""

    listeners: list[Listener] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)
