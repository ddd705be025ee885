"""Emulators that run in this process: their folders and containers, the network in front of them, and their end."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from cloudml.emulation import Cloud, Containers, Emulator, Route, Site, admin
from cloudml.emulation.faults import Faults
from cloudml.emulation.lifecycle import INSTANT, Lifecycle
from cloudml.emulation.processes import ProcessContainers
from cloudml.errors import AlreadyExists, ConfigError, MissingExtra

if TYPE_CHECKING:
    from cloudml.emulation.network.front import Network

PREFIX = "cloudml-emulation-"
ALIVE = "alive"  # in the folder of an emulation: locked as long as its process lives


class Engine(Containers, Protocol):
    """Containers that whoever started them ends; ``note`` is what is less than it could be."""

    note: str | None

    def ids(self) -> list[str]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Emulated:
    """One cloud that runs: its emulator, what it answered, and the faults that are ordered of it."""

    emulator: Emulator
    cloud: Cloud
    faults: Faults
    containers: Engine


class Running:
    """Emulators and their network, up until `close`; also a context manager."""

    def __init__(
        self, folder: Path, clouds: Sequence[Emulated], network: Network, notes: Sequence[str], end: Callable[[], None]
    ) -> None:
        self.folder, self.network, self.notes = folder, network, [*notes]
        self.clouds = {each.emulator.name: each for each in clouds}
        self.asked_to_end = threading.Event()
        self._end = end

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of a program on this machine's own network, to be added to a clean environment."""
        return {**self.network.by_proxy, **self._told(), admin.FOLDER: str(self.folder)}

    @property
    def isolated(self) -> Mapping[str, str]:
        """The variables of a program in a network namespace of `network`."""
        here = {admin.FOLDER: str(self.folder), admin.ADDRESS: f"http://{admin.HOST}"}
        return {**self.network.by_namespace, **self._told(), **here}

    def _told(self) -> dict[str, str]:
        return {name: value for each in self.clouds.values() for name, value in each.cloud.environment.items()}

    @property
    def reports(self) -> list[str]:
        """What whoever started this should know at the end, a sentence each."""
        refused = ", ".join(map(str, self.network.refused))
        return [*self.notes, *([f"your program also tried to reach {refused}"] if refused else [])]

    @property
    def owner(self) -> Path:
        """The file that is locked as long as this process lives."""
        return self.folder / ALIVE

    def reset(self) -> None:
        """Empty every cloud, and forget the faults that are still ordered."""
        for each in self.clouds.values():
            each.faults.clear()
            each.cloud.reset()

    def close(self) -> None:
        """End the network, the emulators and their containers; a folder that was made here goes too. Once is enough."""
        self._end()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(
    emulators: Sequence[Emulator],
    folder: Path | None = None,
    lifecycle: Lifecycle = INSTANT,
    engine: str = "process",
    allowed: Sequence[str] = (),
    images: Mapping[str, str] = MappingProxyType({}),
    isolated: bool = True,
) -> Running:
    """Start emulators, then the proxy in front of them. Without ``folder`` they get a temporary one.

    ``allowed`` are real hosts that may be reached, ``images`` are names of images that stand for others.
    Not ``isolated``: no container gets a network of its own, even where the kernel makes them. Raises
    MissingExtra without ``cryptography``, ConfigError for an engine that there is not, AlreadyExists for a folder that
    is in use, and whatever an emulator raises that does not start.
    """
    if engine not in ENGINES:
        raise ConfigError(f"there is no engine {engine!r}", hint=f"one of: {', '.join(ENGINES)}")
    place, lock = (folder, _hold(folder)) if folder else _temporary()
    made = functools.partial(ENGINES[engine], owner=place / ALIVE, images=images)
    return _Start(place, lock, folder is None, made, lifecycle, isolated).run(emulators, allowed)


def _hold(folder: Path) -> int:
    """Lock a folder, which is made if need be. Raises AlreadyExists if somebody else holds it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / ALIVE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise AlreadyExists(f"an emulation is running in {folder} already") from error
    return lock


def _temporary() -> tuple[Path, int]:
    """A new folder and its lock; those that killed emulations could not remove are removed."""
    _clear_away()
    draft = Path(tempfile.mkdtemp(prefix=f".new-{PREFIX}"))
    lock = _hold(draft)
    return draft.rename(draft.with_name(draft.name.removeprefix(".new-"))), lock  # held before others look at it


def _clear_away() -> None:
    """Remove the temporary folders whose lock nobody holds."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (left / ALIVE).open() as alive:  # somebody else's, or just being made
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)


@dataclass
class _Start:
    """What is up so far, so that all of it ends if the rest does not come up."""

    folder: Path
    lock: int
    temporary: bool
    engine: Callable[..., Engine]
    lifecycle: Lifecycle
    isolated: bool
    running: Running | None = None
    ends: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def run(self, emulators: Sequence[Emulator], allowed: Sequence[str]) -> Running:
        if self.temporary:
            self.ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.ends.callback(os.close, self.lock)
        try:
            administration = admin.Server(self.folder)
            self.ends.callback(administration.close)
            with ThreadPoolExecutor(max(1, len(emulators))) as pool:
                clouds = [*pool.map(self._emulate, emulators)]
            routes = [route for each in clouds for route in each.cloud.routes]
            routes.append(Route(admin.HOST, administration.server_port))
            network = _network()(routes, self.folder / "network", allowed)
            self.ends.callback(network.close)
            notes = {each.containers.note for each in clouds if each.containers.note}
            self.running = Running(self.folder, clouds, network, sorted(notes), self.ends.close)
            administration.publish(self.running)
            return self.running
        except BaseException:
            self.ends.close()
            raise

    def _emulate(self, emulator: Emulator) -> Emulated:
        folder = self.folder / emulator.name
        folder.mkdir(mode=0o700, exist_ok=True)
        containers, faults = self.engine(folder / "containers", network=self._own_network), Faults()
        self.ends.callback(containers.close)
        cloud = emulator.start(Site(folder, containers, self.lifecycle, faults, self._environment))
        self.ends.callback(cloud.close)
        return Emulated(emulator, cloud, faults, containers)

    def _own_network(self) -> Network | None:
        """What containers may have a part of, once it is up."""
        return self.running.network if self.running and self.isolated else None

    def _environment(self) -> Mapping[str, str]:
        return self.running.environment if self.running else {}


def _network() -> type[Network]:
    try:
        from cloudml.emulation.network.front import Network
    except ModuleNotFoundError as error:
        if error.name != "cryptography":
            raise
        raise MissingExtra("emulation needs cryptography", hint='pip install "cloudml-sdk[emulators]"') from error
    return Network


def _on_docker(folder: Path, owner: Path, images: Mapping[str, str], network: object) -> Engine:
    from cloudml.emulation.dockers import DockerContainers

    return DockerContainers(folder, owner, images)


ENGINES: Mapping[str, Callable[..., Engine]] = {"process": ProcessContainers, "docker": _on_docker}
