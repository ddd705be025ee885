"""Waiting for what an emulation does, with a deadline."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

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


def processes(mark: str) -> list[str]:
    """The processes whose command is exactly that."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue  # ended since it was listed
        if command == mark:
            found.append(process.name)
    return found


def unlikely_sleep() -> str:
    """A command that sleeps for so long as no other one does, and so can be told from all others."""
    return f"sleep 6{uuid.uuid4().int % 10**8:08d}.5"
