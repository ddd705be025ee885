"""Containers as processes of this machine: the file tree of the cloud around this Python environment.

    FOLDER/tasks/       the process engine's
           places/ID-*/ box/  home/  tmp/  bin/  of one container; root/ where boxes are refused

Images are not used. The universal image is known as the runtime that it contains; any other runs only with a command.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from cloudml.emulation import Container, Ran
from cloudml.emulation.box import Box, refusal
from cloudml.emulation.ports import LOOPBACK, free_port, with_port
from cloudml.engines import Task, TaskState
from cloudml.engines.process import ProcessEngine
from cloudml.errors import CloudmlError, NotFound, Unavailable

if TYPE_CHECKING:
    from cloudml.emulation.network.front import Network

UNIVERSAL = "cloudml-serve"  # what the name of the universal image contains
ENTRYPOINT = "cloudml-entrypoint"  # its entry point, and what that does; the first argument is the container's /
ENTER = """
import sys, pathlib
from cloudml.runtime.entrypoint import main
sys.exit(main(sys.argv[2:], pathlib.Path(sys.argv[1])))
"""
SCRIPT = f'#!/bin/sh\nexec "{{python}}" -c "{ENTER}" "{{root}}" "$@"\n'  # the same, for a command line that names it
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OWN = {"home": "rw", "tmp": "rw", "bin": "ro"}  # the folders of a container's own, and how it sees them
ROOT = "CLOUDML_ROOT"  # where boxes are refused: the folder that stands for the container's /
ENDING = 30.0  # seconds for a killed container to be gone
LOOK_EVERY = 0.01  # seconds


class ProcessContainers:
    """Runs containers as processes, in boxes where the kernel makes them; ``note`` says if, and why, it does not.

    ``owner`` is a file that the emulator's process holds locked: its containers end when it does. ``images`` are names
    of images that are to be known by another name. ``network`` is the network of the emulation, once it is up: a job
    that is alone gets one of its own; a server, and a job whose containers know each other, share this machine's.
    """

    def __init__(
        self,
        folder: Path,
        owner: Path | None = None,
        boxed: bool | None = None,
        images: Mapping[str, str] = MappingProxyType({}),
        network: Callable[[], Network | None] = lambda: None,
    ) -> None:
        self._engine = ProcessEngine(folder / "tasks")
        self._places = folder / "places"
        self._owner, self._images, self._network = owner, images, network
        refused = (refusal() if boxed is None else None) or ("not wanted" if boxed is False else None)
        self._boxed = refused is None
        self.note = refused and f"no boxes ({refused}): containers find their folders by variables and arguments"

    def start(self, container: Container) -> None:
        """Starts it. Raises AlreadyExists, and NotFound for an image whose command cannot be known here."""
        place = self._places / f"{container.id}-{os.urandom(4).hex()}"
        known = replace(container, image=self._images.get(container.image, container.image))
        argv = _argv(known, "/" if self._boxed else str(place / "root"))
        labels = {"place": place.name}
        try:
            for name in OWN:
                (place / name).mkdir(mode=0o700, parents=True)
            if UNIVERSAL in known.image:
                _entry_point(place / "bin" / ENTRYPOINT, "/" if self._boxed else str(place / "root"))
            port = free_port() if container.port else None
            if port:
                labels["port"] = str(port)
            words = tuple(with_port(word, port) for word in argv)
            env = {name: with_port(value, port) for name, value in (_own(place) | dict(container.env)).items()}
            box = (self._in_box if self._boxed else self._in_folder)(container, words, env, place)
            self._engine.start(
                Task(container.id, box.command(), {}, str(place), container.timeout, container.grace, labels)
            )
        except (CloudmlError, OSError):
            shutil.rmtree(place, ignore_errors=True)
            raise

    def look(self, id: str) -> Ran | None:
        """How it stands; None if there is none."""
        status = self._engine.status(id)
        if status is None:
            return None
        if not status.state.ended:
            port = status.task.labels.get("port")
            return Ran(True, address=(LOOPBACK, int(port)) if port else None)
        return Ran(False, status.exit_code, None if status.state is TaskState.SUCCEEDED else status.reason)

    def logs(self, id: str, cursor: int = 0) -> tuple[bytes, int]:
        """Output from byte ``cursor`` on, and the next cursor. Raises NotFound."""
        return self._engine.logs(id, cursor)

    def stop(self, id: str) -> None:
        """SIGTERM, its grace, SIGKILL; returns at once. Nothing happens to one that has ended, or that is not there."""
        with suppress(NotFound):
            self._engine.stop(id)

    def remove(self, id: str) -> None:
        """Ends it, if need be, and forgets it and its output. Raises Unavailable if the kernel does not let it end."""
        deadline = time.monotonic() + ENDING
        while (status := self._engine.status(id)) and not status.state.ended:
            if status.pid:
                with suppress(ProcessLookupError):
                    os.kill(status.pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise Unavailable(f"container {id!r} was killed and has not ended", operation="remove")
            time.sleep(LOOK_EVERY)
        if status:
            with suppress(NotFound):  # somebody else removed it
                self._engine.remove(id)
            shutil.rmtree(self._places / status.task.labels["place"], ignore_errors=True)

    def ids(self) -> list[str]:
        """Those that there are, ended ones too."""
        return sorted(status.task.id for status in self._engine.list())

    def close(self) -> None:
        """Remove all of them."""
        for id in self.ids():
            self.remove(id)

    def _in_box(self, container: Container, argv: tuple[str, ...], env: Mapping[str, str], place: Path) -> Box:
        mounts = {
            path: (source, "ro" if path in container.read_only else "rw") for path, source in container.mounts.items()
        } | {str(place / name): (place / name, how) for name, how in OWN.items()}
        network = None if container.port or container.peers or refusal(network=True) else self._network()
        return Box(
            argv,
            env,
            container.cwd,
            place / "box",
            self._owner,
            mounts=mounts,
            network=network.namespace() if network else None,
            covers=network.covers() if network else {},
            hosts=dict.fromkeys([*filter(None, [container.host_name]), *container.peers], LOOPBACK),
            host_name=container.host_name,
            memory=container.memory,
        )

    def _in_folder(self, container: Container, argv: tuple[str, ...], env: Mapping[str, str], place: Path) -> Box:
        if container.peers:
            raise Unavailable(
                f"{container.id}: containers that know each other by name need boxes, and there are none here",
                hint="a kernel that allows user namespaces, or --engine docker",
            )
        root = place / "root"
        for path, source in sorted(container.mounts.items()):
            _stand_in(Path(f"{root}{path}"), source)
        inside = _translation(container.mounts, root)
        return Box(
            tuple(map(inside, argv)),
            {name: inside(value) for name, value in env.items()} | {ROOT: str(root)},
            inside(container.cwd),
            place / "box",
            self._owner,
            boxed=False,
            memory=container.memory,
        )


def _argv(container: Container, root: str) -> tuple[str, ...]:
    """What to execute. Raises NotFound where only the image could tell."""
    if container.command:
        given = (*container.command, *container.arguments)
        return _runtime(given[1:], root) if given[0] == ENTRYPOINT else given
    if UNIVERSAL in container.image:
        return _runtime(container.arguments, root)
    raise NotFound(
        f"image {container.image!r} cannot run as a process: what it starts is known to the image alone",
        hint="give the container a command, use the cloudml-serve image, or emulate with --engine docker",
    )


def _runtime(arguments: tuple[str, ...], root: str) -> tuple[str, ...]:
    """The universal image's entry point, as it is in this environment."""
    return (sys.executable, "-c", ENTER, root, *arguments)


def _entry_point(path: Path, root: str) -> None:
    path.write_text(SCRIPT.format(python=sys.executable, root=root), encoding="utf-8")
    path.chmod(0o755)


def _own(place: Path) -> dict[str, str]:
    """What every container has: this Python environment on its path, and folders of its own."""
    path = f"{place / 'bin'}:{Path(sys.executable).parent}:{SYSTEM_PATH}"
    return {"PATH": path, "HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "LANG": "C.UTF-8"}


def _stand_in(path: Path, source: Path) -> None:
    """A link where a box would have a mount; within another mount, an empty folder gives way to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        path.rmdir()
    path.symlink_to(source.absolute())


def _translation(mounts: Iterable[str], root: Path) -> Callable[[str], str]:
    """What puts the folder that stands for ``/`` before every path of a container in a text."""
    named = "|".join(re.escape(path) for path in sorted(mounts, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w./-])({named})(?![\w.-])") if named else None
    return lambda text: pattern.sub(lambda match: f"{root}{match[1]}", text) if pattern else text
