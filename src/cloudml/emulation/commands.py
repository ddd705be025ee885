"""A command that runs against emulated clouds: where it runs, which signals reach it, and how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import FrameType

from cloudml.emulation.box import Box, refusal
from cloudml.emulation.network import variables
from cloudml.emulation.running import Running

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
TO_END = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Strength(Enum):
    """How well a program is kept from the real network."""

    ISOLATED = "isolated"  # a network of its own, in which only emulated hosts exist
    PROXY = "proxy"  # variables, which a program may ignore


def strength(wanted: Strength | None) -> tuple[Strength, str | None]:
    """The strength that can be had here, and why it is less than the best one, unless it was asked for."""
    if wanted is Strength.PROXY:
        return wanted, None
    refused = refusal(network=True)
    if refused is None:
        return Strength.ISOLATED, None
    return Strength.PROXY, f"no network of its own ({refused}): a program that ignores proxies reaches the real network"


def run(running: Running, argv: Sequence[str], strength: Strength, inherited: Mapping[str, str]) -> int:
    """Run a command to its end, in this terminal if there is one; its exit code, 128 + n for signal n.

    Whatever it started ends with it, and it ends with this process. A terminal's Ctrl-C is the command's to answer;
    other requests to end are passed on, and what then still runs is killed after GRACE.
    """
    isolated = strength is Strength.ISOLATED
    told = running.isolated if isolated else running.environment
    terminal = sys.stdin.isatty()
    box = Box(
        tuple(argv),
        variables.clean(inherited) | dict(told),
        str(Path.cwd()),
        running.folder / "command",
        running.owner,
        boxed=isolated,
        covers=running.network.covers(),
        network=running.network.namespace() if isolated else None,
        terminal=terminal,
        grace=GRACE,
    )
    with subprocess.Popen(box.command(), start_new_session=not terminal) as started, _passing_on(started, terminal):
        code = started.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _passing_on(started: subprocess.Popen[bytes], terminal: bool) -> Iterator[None]:
    """Meanwhile, requests to end this process are requests to end the command."""

    def pass_on(number: int, _: FrameType | None) -> None:
        if not (terminal and number == signal.SIGINT):
            with contextlib.suppress(ProcessLookupError):
                os.kill(started.pid, number)

    before = {number: signal.signal(number, pass_on) for number in TO_END}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
