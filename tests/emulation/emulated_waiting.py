"""Waiting for what an emulation does, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from cloudml.emulation import Ran
from cloudml.emulation.processes import ProcessContainers

DEADLINE = 60.0  # seconds


def until(look: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + DEADLINE
    while not look():
        assert time.monotonic() < deadline, f"still not so after {DEADLINE:g} s: {what}"
        time.sleep(0.01)


def ended(containers: ProcessContainers, id: str) -> Ran:
    """How a container ended, once it has."""
    found: list[Ran] = []

    def look() -> bool:
        ran = containers.look(id)
        assert ran, f"there is no container {id}"
        found[:] = [ran]
        return not ran.running

    until(look, f"{id} has ended")
    return found[0]
