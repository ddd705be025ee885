"""Faults that somebody has ordered: the next calls of an operation fail as was asked for, then it is over."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum


class Trouble(Enum):
    """What can be ordered. An emulator answers each in its cloud's own form."""

    THROTTLE = "throttle"  # refused for its rate; nothing was done
    UNAVAILABLE = "unavailable"  # a 5xx; nothing was done
    SLOW = "slow"  # answered after ``seconds``
    LOSE = "lose"  # done, but the connection ends before the answer
    DENY = "deny"  # refused: who asks has no permission for it
    QUOTA = "quota"  # refused: the account's limit is reached
    CAPACITY = "capacity"  # taken, and fails later: the cloud has no machine of that kind
    PREEMPT = "preempt"  # the spot machine is taken away while the job runs
    ROLLBACK = "rollback"  # the update is taken and then quietly undone
    FAIL = "fail"  # the operation is taken and fails
    CANCEL = "cancel"  # the operation is taken, and canceled by the cloud


@dataclass(frozen=True)
class Fault:
    """``trouble`` for the next ``times`` calls of ``operation`` (a pattern of fnmatch) on ``target``."""

    trouble: Trouble
    operation: str = "*"
    target: str = "*"
    times: int = 1
    seconds: float = 0.0


class Faults:
    """The faults of one emulator, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(fault)

    def take(self, operation: str, target: str = "", *troubles: Trouble) -> Fault | None:
        """The fault that this call meets, which is one the fewer; of the ``troubles`` named, or of any."""
        with self._lock:
            for index, fault in enumerate(self._waiting):
                fits = fnmatch.fnmatchcase(operation, fault.operation) and fnmatch.fnmatchcase(target, fault.target)
                if fits and (not troubles or fault.trouble in troubles):
                    self._waiting[index : index + 1] = [replace(fault, times=fault.times - 1)] * (fault.times > 1)
                    return fault
        return None

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter([*self._waiting])

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()
