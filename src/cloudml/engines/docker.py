"""The Docker engine: a container is a client process in the process engine, so all that is proved there holds here.

The command that is supervised is ``python -m cloudml.engines.attached``: it runs one container, passes its output on,
and ends as it does. Queue, retries, pauses, log caps and lost supervisors are the process engine's.

    FOLDER/ID/             as in the process engine; task.json holds the container too
              container.json   the client's: whether there is a container, and why it ended

Whoever looks at an ended task removes what a killed client has left, by the task's own label.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudml
from cloudml.engines import Inside, Task, TaskState, TaskStatus, attached, daemon
from cloudml.engines.process import ProcessEngine, check
from cloudml.errors import AlreadyExists, NotFound, PreconditionFailed, ProviderError

MARGIN = 15.0  # seconds that a client has beyond its container's grace, to stop and remove it
KEPT = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


class DockerEngine:
    """Runs tasks with a container on Docker, and all others as processes; keeps them in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._processes = ProcessEngine(folder)

    def start(self, task: Task) -> TaskStatus:
        """As every engine; raises what `daemon.connect` raises, and NotFound if the image is not there."""
        if task.container is None:
            return self._processes.start(task)
        check(replace(task, container=None))
        if self._processes.status(task.id):
            raise AlreadyExists(f"task {task.id!r} exists already")
        with daemon.refused(), closing(daemon.connect()) as engine:
            engine.images.get(task.container.image)
        inside = Inside(task.argv, task.env, task.cwd, task.grace)
        status = self._processes.start(
            replace(
                task,
                argv=(sys.executable, "-m", attached.__name__, str(self._folder / task.id), label(self._folder)),
                env=_environment(),
                cwd=str(self._folder),
                grace=task.grace + MARGIN,
                container=replace(task.container, inside=inside),
            )
        )
        return self._told(status)

    def status(self, id: str) -> TaskStatus | None:
        status = self._processes.status(id)
        return status and self._told(status)

    def list(self) -> Iterator[TaskStatus]:
        yield from map(self._told, self._processes.list())

    def logs(self, id: str, cursor: int = 0) -> tuple[bytes, int]:
        return self._processes.logs(id, cursor)

    def stop(self, id: str) -> None:
        self._processes.stop(id)

    def remove(self, id: str) -> None:
        """As every engine; raises Unavailable while a container is left that no engine answers for."""
        status = self._processes.status(id)
        if status is None:
            raise NotFound(f"no task {id!r}")
        if not status.state.ended:
            raise PreconditionFailed(f"task {id!r} is still {status.state.value}", hint="stop it first")
        if attached.noted(self._folder / id).get("made"):
            self._clear(id)
        self._processes.remove(id)

    def stats(self, id: str) -> dict[str, float]:
        """Of a running container: ``memory`` and ``limit`` in bytes, ``cpu`` in seconds, ``pids``. Raises NotFound."""
        with daemon.refused(), closing(daemon.connect()) as engine:
            found = self._containers(engine, id)
            said = found[0].stats(stream=False) if found else {}
        if not said.get("memory_stats"):
            raise NotFound(f"no container of task {id!r} runs")
        return {
            "memory": float(said["memory_stats"]["usage"]),
            "limit": float(said["memory_stats"]["limit"]),
            "cpu": said["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            "pids": float(said["pids_stats"]["current"]),
        }

    def _told(self, status: TaskStatus) -> TaskStatus:
        """The status of the task as it was asked for, and the container's own reason in place of the client's."""
        if status.task.container is None:
            return status
        note = attached.noted(self._folder / status.task.id)
        if status.state.ended and note.get("made"):
            with suppress(ProviderError):  # whoever looks next removes it
                self._clear(status.task.id)
        inside = status.task.container.inside
        assert inside is not None
        task = replace(
            status.task,
            argv=inside.argv,
            env=inside.env,
            cwd=inside.cwd,
            grace=inside.grace,
            container=replace(status.task.container, inside=None),
        )
        own = note.get("reason") if status.state in (TaskState.FAILED, TaskState.RUNNING) else None
        by_itself = (status.reason or "").startswith("exit code")
        return replace(status, task=task, reason=own if own and by_itself else status.reason)

    def _clear(self, id: str) -> None:
        with daemon.refused(), closing(daemon.connect()) as engine:
            for each in self._containers(engine, id):
                each.remove(force=True, v=True)
        attached.note(self._folder / id, attached.noted(self._folder / id) | {"made": False})

    def _containers(self, engine: Any, id: str) -> Sequence[Any]:
        labels = [f"{attached.ENGINE}={label(self._folder)}", f"{attached.TASK}={id}"]
        found: Sequence[Any] = engine.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return found


def label(folder: Path) -> str:
    """What tells the containers of one engine's folder from those of all others."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:8]


def _environment() -> dict[str, str]:
    """Of the client: nothing of the task's own, which goes into the container alone."""
    assert cloudml.__file__ is not None
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    paths = [str(Path(cloudml.__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}
