"""Containers on Docker: the real image, which reaches the emulated clouds over this machine's loopback.

A job, and a server of the universal image, which listens where it is told, share the network of this machine, so that
nothing has to listen beyond the loopback for them. Any other server listens on its own port in a network of its own,
published on the loopback; it reaches no cloud. An image comes from the engine, from a registry on the loopback, or
under another name by ``--image NAME=LOCAL``; it is never pulled from where its name points.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cloudml.emulation import Container, Ran, reaper
from cloudml.emulation.ports import LOOPBACK, free_port, with_port
from cloudml.emulation.processes import UNIVERSAL
from cloudml.engines import LOG_CHUNK
from cloudml.errors import AlreadyExists, NotFound, ProviderError
from cloudml.images import daemon

LABEL = "cloudml-emulation"  # on every container: which emulation it is of
ID, GRACE = f"{LABEL}-id", f"{LABEL}-grace"
ON_LOOPBACK = (f"{LOOPBACK}:", "localhost:")
CANNOT = 127  # exit code, as shells have it, of a command that cannot be executed


class DockerContainers:
    """Runs containers on the Docker engine of this machine.

    ``owner`` is a file that the emulator's process holds locked: its containers are removed when it does not any more.
    ``images`` are names of images that stand for others; ``mark`` is what the label ``cloudml-emulation`` says of all
    of them. Raises what `cloudml.images.daemon.connect` raises.
    """

    note: str | None = None

    def __init__(
        self, folder: Path, owner: Path | None = None, images: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._engine = daemon.connect()
        self.mark = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        self._shared = owner and owner.parent / "network" / "trust"  # what the variables of the network name
        self._images = images
        self._ports: dict[str, int] = {}
        self._late: dict[str, float] = {}
        self._timers: dict[str, threading.Timer] = {}
        self._pulled: set[str] = set()  # repositories of the loopback
        if owner:
            reap(owner, f"{LABEL}={self.mark}")

    def start(self, container: Container) -> None:
        """Starts it. Raises AlreadyExists, NotFound for an image that is not there, ProviderError if Docker refuses."""
        if self._find(container.id):
            raise AlreadyExists(f"container {container.id!r} exists already")
        options = self._network(container) | self._limits(container)
        port = self._ports.get(container.id, container.port)
        told = {"CLOUDML_HOST": LOOPBACK} if container.id in self._ports else {}  # else the image listens to anybody
        with daemon.refused():
            made = self._engine.containers.create(
                self._image(container.image),
                [with_port(word, port) for word in container.arguments] or None,
                entrypoint=[with_port(word, port) for word in container.command] or None,
                environment=told | {name: with_port(value, port) for name, value in container.env.items()},
                working_dir=None if container.cwd == "/" else container.cwd,
                hostname=container.host_name,
                extra_hosts=dict.fromkeys(container.peers, LOOPBACK),
                volumes=self._volumes(container),
                name=self._full(container.id),
                labels={LABEL: self.mark, ID: container.id, GRACE: f"{container.grace:.0f}"},
                **options,
            )
        try:
            with daemon.refused():
                made.start()
        except ProviderError:  # a command that cannot be executed is how a container ends, not an error of the engine
            made.reload()
            if not made.attrs["State"]["Error"]:
                raise
        if container.timeout is not None:
            self._limit(container, container.timeout)

    def look(self, id: str) -> Ran | None:
        """How it stands; None if there is none."""
        found = self._find(id)
        if found is None:
            return None
        state = found.attrs["State"]
        if state["Running"]:
            return Ran(True, address=self._address(id, found))
        if state["Error"]:
            return Ran(False, CANNOT, state["Error"])
        code = state["ExitCode"]
        if id in self._late:
            return Ran(False, code, f"still running after {self._late[id]:g} s")
        why = "out of memory" if state["OOMKilled"] else f"exit code {code}"
        return Ran(False, code, why if code else None)

    def logs(self, id: str, cursor: int = 0) -> tuple[bytes, int]:
        """Output from byte ``cursor`` on, and the next cursor. Raises NotFound."""
        found = self._find(id)
        if found is None:
            raise NotFound(f"no container {id!r}")
        try:
            with daemon.refused():
                said: bytes = found.logs(stdout=True, stderr=True)[cursor : cursor + LOG_CHUNK]
        except ProviderError as error:
            if not _leaving(error):
                raise
            raise NotFound(f"container {id!r} is being removed") from error
        return said, cursor + len(said)

    def stop(self, id: str) -> None:
        """SIGTERM, its grace, SIGKILL; returns at once. Nothing happens to one that has ended, or that is not there."""
        found = self._find(id)
        if found:
            threading.Thread(target=_stop, args=(found, int(found.labels[GRACE])), daemon=True).start()

    def remove(self, id: str) -> None:
        """Ends it, if need be, and forgets it and its output."""
        if timer := self._timers.pop(id, None):
            timer.cancel()
        if found := self._find(id):
            with suppress(ProviderError), daemon.refused():  # somebody else removed it, or is about to
                found.remove(force=True, v=True)

    def ids(self) -> list[str]:
        """Those that there are, ended ones too."""
        return sorted(found.labels[ID] for found in self._all())

    def close(self) -> None:
        """Remove all of them, and what was pulled for them."""
        for id in self.ids():
            self.remove(id)
        for name in self._names() if self._pulled else ():
            if name.startswith(tuple(self._pulled)):
                with suppress(ProviderError), daemon.refused():  # somebody else runs it, or has removed it
                    self._engine.images.remove(name)
        self._engine.close()

    def _find(self, id: str) -> Any | None:
        wanted = self._full(id)
        return next((each for each in self._all(wanted) if each.name == wanted), None)

    def _all(self, name: str = "") -> list[Any]:
        filters = {"label": f"{LABEL}={self.mark}"} | ({"name": name} if name else {})
        with daemon.refused():
            # One that is removed meanwhile is not there.
            found: list[Any] = self._engine.containers.list(all=True, filters=filters, ignore_removed=True)
        return found

    def _full(self, id: str) -> str:
        return f"{LABEL}-{self.mark}-{id}"

    def _image(self, name: str) -> str:
        """What the engine knows it as. Raises NotFound."""
        wanted = self._images.get(name, name)
        pulled = self._pull(wanted) if wanted.startswith(ON_LOOPBACK) else None  # a tag may be another image by now
        with daemon.refused():
            if self._engine.images.list(name=wanted):
                return wanted
        if pulled:
            raise NotFound(f"image {name!r} is not in the registry: {pulled}") from pulled
        hint = f"push it to the emulated registry, or name one of this machine: --image {name}=LOCAL"
        raise NotFound(f"image {name!r} is not there", hint=hint)

    def _pull(self, name: str) -> ProviderError | None:
        """Why it was not pulled, if it was not."""
        try:
            with daemon.refused():
                self._engine.images.pull(name)
        except ProviderError as error:
            return error
        self._pulled.add(re.split(r"@|:(?!\d+/)", name)[0])
        return None

    def _names(self) -> list[str]:
        """Of all images: tags, and digests where an image has lost its tag to another."""
        with daemon.refused():
            found = self._engine.images.list()
        return [name for each in found for name in [*each.tags, *each.attrs["RepoDigests"]]]

    def _network(self, container: Container) -> dict[str, Any]:
        universal = UNIVERSAL in self._images.get(container.image, container.image)
        if container.port and not universal:
            return {"ports": {f"{container.port}/tcp": (LOOPBACK, 0)}}
        if container.port:
            self._ports[container.id] = free_port()
        return {"network_mode": "host"}

    def _address(self, id: str, found: Any) -> tuple[str, int] | None:
        if id in self._ports:
            return LOOPBACK, self._ports[id]
        published = [each for each in (found.attrs["NetworkSettings"]["Ports"] or {}).values() if each]
        return (LOOPBACK, int(published[0][0]["HostPort"])) if published else None

    def _volumes(self, container: Container) -> dict[str, dict[str, str]]:
        shared = {str(self._shared): {"bind": str(self._shared), "mode": "ro"}} if self._shared else {}
        return shared | {
            str(source.absolute()): {"bind": inside, "mode": "ro" if inside in container.read_only else "rw"}
            for inside, source in container.mounts.items()
        }

    def _limits(self, container: Container) -> dict[str, Any]:
        cpus = min(container.cpus or 0, os.cpu_count() or 1)
        memory = {"mem_limit": container.memory} if container.memory else {}
        return memory | ({"nano_cpus": int(cpus * 1e9)} if cpus else {})

    def _limit(self, container: Container, seconds: float) -> None:
        def end() -> None:
            ran = self.look(container.id)
            if ran and ran.running:
                self._late[container.id] = seconds
                self.stop(container.id)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        self._timers[container.id] = timer
        timer.start()


def _leaving(error: ProviderError) -> bool:
    """Whether Docker refused because the container is gone, or about to be: 404, or 409 (seen with 20.10)."""
    answer = getattr(error.__cause__, "response", None)
    return getattr(answer, "status_code", None) in (404, 409)


def _stop(found: Any, grace: int) -> None:
    with suppress(ProviderError), daemon.refused():  # it has ended, or somebody else removed it
        found.stop(timeout=grace)


def reap(owner: Path, label: str) -> None:
    """Start what removes the containers with a label once nobody holds the owner's lock; on a local engine only."""
    place = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if place.startswith("unix://"):
        command = [sys.executable, "-I", "-S", reaper.__file__, str(owner), place.removeprefix("unix://"), label]
        none = subprocess.DEVNULL  # whoever reads the output of this process is not to wait for that one
        subprocess.run(command, start_new_session=True, check=True, stdin=none, stdout=none, stderr=none)
