"""Emulated clouds: what an emulator is given, what it answers, and what stands behind it.

An emulator is a cloud's real wire API in front and this machine behind: a training job trains, an endpoint serves. The
kit gives it the network (the real host names lead to it), containers (the cloud's file tree around a process, or
Docker), the pace of the cloud's states, and faults to order. It never knows the adapter of its cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cloudml.emulation.faults import Faults
    from cloudml.emulation.lifecycle import Lifecycle


class Evidence(Enum):
    """How it is known that an emulated route behaves as the cloud's does, best first."""

    RECORDED = "recorded"  # compared with what the real service answered
    SCHEMA = "schema"  # request and answer are checked against the vendor's own published model
    DOCUMENTED = "documented"  # and the behaviour behind them is written in the vendor's documentation
    GUESSED = "guessed"


@dataclass(frozen=True)
class Route:
    """A real host name, as a pattern of fnmatch (``*.amazonaws.com``), and the loopback port that answers for it.

    ``port`` speaks plain HTTP/1.1; ``grpc``, where the host has it, plain HTTP/2. TLS ends before either. A metadata
    service is a route of its address (``169.254.169.254``); where the clouds share one, ``header`` names a header
    that only requests to this one have.
    """

    host: str
    port: int
    grpc: int | None = None
    header: str | None = None


@dataclass(frozen=True)
class Container:
    """What a cloud would start: an image with a command, variables and a file tree.

    ``command`` overrides the image's entry point and ``arguments`` its command, as in Kubernetes; both empty is the
    image's own. ``mounts`` are absolute paths inside to folders or files of this machine, ``read_only`` those
    that cannot be written. ``port`` is where a server answers (None for a job); where an engine cannot give a container
    a network of its own, it listens elsewhere: ``{port}`` in a value of ``env``, and in a word of ``command`` and
    ``arguments``, is filled in with the real one. ``host_name`` is what it calls itself; under each name of ``peers``
    it reaches the container that calls itself so.
    Limits: ``memory`` in bytes, ``cpus`` in cores, ``timeout`` and ``grace`` in seconds.
    """

    id: str
    image: str
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str = "/"
    mounts: Mapping[str, Path] = field(default_factory=dict)
    read_only: frozenset[str] = frozenset()
    port: int | None = None
    memory: int | None = None
    cpus: float | None = None
    timeout: float | None = None
    grace: float = 30.0
    host_name: str | None = None
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """How a container stands: ``exit_code`` is None while it runs; ``reason`` says why it ended other than well."""

    running: bool
    exit_code: int | None = None
    reason: str | None = None
    address: tuple[str, int] | None = None  # where its port can be reached from the emulator


class Containers(Protocol):
    """Where an emulator's containers run: processes with a private file tree, or Docker."""

    def start(self, container: Container) -> None:
        """Starts it. Raises AlreadyExists, and NotFound for an image that is not there or cannot run here."""

    def look(self, id: str) -> Ran | None:
        """How it stands; None if there is none."""

    def logs(self, id: str, cursor: int = 0) -> tuple[bytes, int]:
        """Output from byte ``cursor`` on, and the next cursor."""

    def stop(self, id: str) -> None:
        """SIGTERM, its grace, SIGKILL; returns at once."""

    def remove(self, id: str) -> None:
        """Ends it, if need be, and forgets it."""


@dataclass(frozen=True)
class Site:
    """What an emulator is given: a folder of its own, containers, the pace of states, the faults that are ordered.

    ``environment`` is what a container needs to reach the emulated clouds as the program does; it is complete once
    the network is up, so it is asked for when a container starts.
    """

    folder: Path
    containers: Containers
    lifecycle: Lifecycle
    faults: Faults
    environment: Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class Cloud:
    """A started emulator: which hosts it answers for, what the program is told, what is in it, how it ends.

    ``environment`` holds the vendor's own variables (region, credentials) and what cloudml's provider of this cloud
    needs, so that ``-p NAME`` works without configuration. ``inspect`` is a JSON document for ``cloudml emulate log``.
    ``account`` makes an account that nobody else uses and answers the variables that lead to it instead: a test each.
    """

    routes: Sequence[Route]
    environment: Mapping[str, str]
    close: Callable[[], None]
    inspect: Callable[[], Mapping[str, Any]] = dict
    reset: Callable[[], None] = lambda: None
    account: Callable[[], Mapping[str, str]] = dict


@dataclass(frozen=True)
class Emulator:
    """What ``Plugin.emulator`` names. ``evidence`` maps each route or operation to what is known of it."""

    name: str
    start: Callable[[Site], Cloud]
    evidence: Callable[[], Mapping[str, Evidence]]
