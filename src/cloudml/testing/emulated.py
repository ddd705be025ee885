"""Emulated clouds for tests: started once, reached by the variables of this process, an account for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudml import client, plugins
from cloudml.emulation.faults import Faults
from cloudml.emulation.network import variables
from cloudml.emulation.running import Emulated, Running, start

if TYPE_CHECKING:
    from cloudml.emulation import Emulator


@dataclass(frozen=True)
class EmulatedCloud:
    """What a test gets: the provider's name, faults to order, and clients that need no configuration."""

    provider: str
    running: Running

    @property
    def faults(self) -> Faults:
        return self._emulated.faults

    def inspect(self) -> Mapping[str, Any]:
        """What is in the cloud, as `cloudml emulate log` shows it."""
        return self._emulated.cloud.inspect()

    def connect(self, project: str = "tests", **settings: Any) -> client.Client:
        """A client of the provider, as `cloudml.connect` makes it."""
        return client.connect(self.provider, project=project, **settings)

    @property
    def _emulated(self) -> Emulated:
        return self.running.clouds[self.provider]


def start_named(names: Sequence[str]) -> Running:
    """Start the emulators of providers. Raises what `cloudml.plugins.emulator` and `start` raise."""
    emulators: list[Emulator] = [plugins.emulator(name) for name in names]
    return start(emulators)


@contextmanager
def environment(told: Mapping[str, str]) -> Iterator[None]:
    """Meanwhile, this process has a clean environment with these variables; then the one it had."""
    before = dict(os.environ)
    _become(variables.clean(before) | dict(told))
    try:
        yield
    finally:
        _become(before)


def _become(wanted: Mapping[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)
