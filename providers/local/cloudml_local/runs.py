"""Runs of jobs on this machine: a folder each, and a task of the engine. What ``jobs`` calls its native service."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudml.engines import Engine, Slots, Task, TaskState, TaskStatus
from cloudml.errors import AlreadyExists, Invalid, NotFound
from cloudml_local.artifacts import copy_folder
from cloudml_local.home import Home, encode, read
from cloudml_local.places import Processes

GRACE = 30.0  # seconds: more than the runtime itself gives the script, so that it can still write down what happened


@dataclass(frozen=True)
class Run:
    """One run: what was asked (``record``), how its process stands (None before it was started), what it left."""

    id: str
    record: Mapping[str, Any]
    status: TaskStatus | None
    metrics: Mapping[str, float]
    failure: Mapping[str, Any] | None
    model: Path | None


class Runs:
    """Every run of one home folder. ``cpus`` is how many all of them together may take."""

    def __init__(self, home: Home, engine: Engine, cpus: int, place: Processes) -> None:
        self.cpus = cpus
        self._place = place
        self._home = home
        self._engine = engine
        self._metrics: dict[str, tuple[int, dict[str, float]]] = {}
        self._ended: dict[str, tuple[tuple[int, int], Run]] = {}  # nothing changes in them any more

    def get(self, id: str) -> Run:
        """Raises NotFound."""
        folder = self._home.runs / id
        try:
            found = (folder / "job.json").stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"there is no job {id!r}") from error
        mark = found.st_ino, found.st_mtime_ns  # another run may have that id by now
        if id in self._ended and self._ended[id][0] == mark:
            return self._ended[id][1]
        run = self._read(id, folder)
        if run.status and run.status.state.ended:
            self._ended[id] = mark, run
        return run

    def _read(self, id: str, folder: Path) -> Run:
        record = read(folder / "job.json")
        if record is None:
            raise NotFound(f"there is no job {id!r}")
        output = folder / "output"
        status = self._engine.status(id)
        done = status is not None and status.state is TaskState.SUCCEEDED
        model = output / "model"
        return Run(
            id,
            record["cloudml"],
            status,
            self._last_values(id, output / "metrics.jsonl"),
            _left(output / "failure.json") if status and status.state.ended and not done else None,
            model if done and (model / "cloudml-model.json").is_file() else None,
        )

    def list(self) -> Iterator[Run]:
        found = sorted(path.name for path in self._home.runs.iterdir()) if self._home.runs.exists() else []
        for id in found:
            if (self._home.runs / id / "job.json").exists():
                yield self.get(id)

    def start(self, id: str, request: Mapping[str, Any]) -> None:
        """Makes the run's folder and starts its process; a folder that the same request left without one is used.

        Raises AlreadyExists if the id runs, ran, or is another request's; NotFound if the source is missing.
        """
        folder = self._home.runs / id
        if read(folder / "job.json") is None:
            with contextlib.suppress(AlreadyExists):  # another process prepared it meanwhile: either may start it
                self._prepare(id, request)
        record = read(folder / "job.json")
        if record is None or record["cloudml"]["spec"] != request["spec"]:
            raise AlreadyExists(f"job {id!r} exists already, and is another one")
        self._engine.start(
            Task(
                id=id,
                argv=tuple(request["argv"]),
                env=self._place.environment(
                    {
                        **request["env"],
                        "CLOUDML_JOB": str(folder / "job.json"),
                        "CLOUDML_OUTPUT_DIR": str(folder / "output"),
                        "CLOUDML_ATTEMPT": "1",
                    },
                    request["inherit"],
                ),
                cwd=str(folder / "source"),
                timeout=request["timeout"],
                grace=GRACE,
                labels=request["labels"],
                retries=request["retries"],
                slots=Slots(str(self._home.path / "slots"), self.cpus, request["slots"], request["wait_timeout"]),
                container=self._place.job(request, self._home, folder),
            )
        )

    def log(self, id: str, cursor: int) -> tuple[bytes, int]:
        """Raises NotFound."""
        return self._engine.logs(id, cursor)

    def stop(self, id: str) -> None:
        self._engine.stop(id)

    def ended(self, id: str) -> bool:
        """Whether its process has ended, or there is none."""
        status = self._engine.status(id)
        return status is None or status.state.ended

    def remove(self, id: str) -> None:
        """Raises PreconditionFailed while it runs."""
        if self._engine.status(id):
            self._engine.remove(id)
        self._home.discard(self._home.runs / id)

    def _prepare(self, id: str, request: Mapping[str, Any]) -> None:
        """The folder, whole or not at all. The environment is not written down: it may hold secrets."""
        draft, folder = self._home.draft(), self._home.runs / id
        draft.mkdir()
        source = request["source"]
        if source is None:
            (draft / "source").mkdir()
        elif Path(source).is_dir():
            copy_folder(Path(source), draft / "source")
        else:
            raise Invalid(f"the source {source} is not a folder")
        (draft / "output").mkdir()
        job = {name: request[name] for name in ("id", "name", "attempt", "command", "params", "inputs")}
        kept = {"spec": request["spec"], "labels": request["labels"], "created": time.time()}
        (draft / "job.json").write_bytes(encode({**job, "source": str(folder / "source"), "cloudml": kept}))
        self._home.publish(draft, folder)

    def _last_values(self, id: str, path: Path) -> dict[str, float]:
        """The last value of every metric. Only what is new is read; a line that is still being written is not."""
        if not path.exists():
            return {}
        offset, values = self._metrics.get(id, (0, {}))
        with open(path, "rb") as file:
            if file.seek(0, os.SEEK_END) < offset:  # another run of that id
                offset, values = 0, {}
            file.seek(offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        values = values | dict(filter(None, map(_metric, whole.splitlines())))
        self._metrics[id] = (offset + len(whole), values)
        return values


def _metric(line: bytes) -> tuple[str, float] | None:
    """Name and value of a record; None for one that has none, or that a full disk has cut."""
    try:
        record = json.loads(line)
        return (record["name"], record["value"]) if record["value"] is not None else None
    except (ValueError, KeyError, TypeError):
        return None


def _left(path: Path) -> dict[str, Any] | None:
    """A document that a job left; None if there is none, or if a full disk has cut it."""
    try:
        return read(path)
    except ValueError:
        return None
