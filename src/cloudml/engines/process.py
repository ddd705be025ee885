"""The process engine: each task is a detached process of this machine, and a folder that any process can read.

    FOLDER/ID/task.json    what was asked, mode 0600: the environment may hold secrets
              log log.N    stdout and stderr: the beginning, and pieces of the end
              status.json  replaced in one step by the supervisor
              alive        locked while the task is watched; the supervisor's pid and birth
              stop         somebody asked it to stop
              spare        room for the last status on a full disk

A task is watched while ``alive`` is locked: a pid may be somebody else's by now, a lock may not. A new task is put
together in ``FOLDER/.new-*`` and renamed by its supervisor, so an id is taken, complete and watched in one step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

from cloudml.engines import (
    LOG_CHUNK,
    Container,
    Inside,
    Mount,
    Restart,
    Task,
    TaskState,
    TaskStatus,
    groups,
    logs,
    supervisor,
)
from cloudml.errors import AlreadyExists, Invalid, NotFound, PreconditionFailed

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
SHOWN = ("exit_code", "pid", "started", "ended", "reason", "restarts")  # of status.json, in a TaskStatus
LEAST_LOG = 1000  # bytes
TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


class ProcessEngine:
    """Runs tasks as processes of this machine; keeps them in ``folder``, which several processes may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def start(self, task: Task) -> TaskStatus:
        check(task)
        if self._path(task.id).exists():
            raise AlreadyExists(f"task {task.id!r} exists already")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._aside("new")
        try:
            _write(draft / "task.json", _document(task))
            _write(draft / "status.json", {"state": "pending"})
            word = _launch(draft, task.id)
            taken = word == b"taken" or (not word and not self._publish_failure(draft, task.id))
        except OSError:  # a full disk, for example
            shutil.rmtree(draft, ignore_errors=True)
            raise
        if taken:
            shutil.rmtree(draft)
            raise AlreadyExists(f"task {task.id!r} exists already")
        status = self.status(task.id)
        if status is None:
            raise NotFound(f"task {task.id!r} was removed while it started")
        return status

    def status(self, id: str) -> TaskStatus | None:
        path = self._path(id)
        try:
            task = _task(path)
            record = _record(path)
            if not TaskState(record["state"]).ended and not _watched(path):
                record = _record(path)  # it may have ended between the two looks
                if not TaskState(record["state"]).ended:
                    record = _lost(record)
        except (FileNotFoundError, NotADirectoryError):
            return None
        shown = {name: record[name] for name in SHOWN if name in record}
        return TaskStatus(task, TaskState(record["state"]), **shown)

    def list(self) -> Iterator[TaskStatus]:
        ids = sorted(os.listdir(self._folder)) if self._folder.exists() else []
        for id in filter(ID.fullmatch, ids):
            if status := self.status(id):
                yield status

    def logs(self, id: str, cursor: int = 0) -> tuple[bytes, int]:
        if cursor < 0:
            raise Invalid(f"a log cursor is a byte offset, not {cursor}")
        try:
            return logs.read(str(self._path(id)), cursor, LOG_CHUNK)
        except FileNotFoundError as error:
            raise NotFound(f"no task {id!r}") from error

    def stop(self, id: str) -> None:
        status = self.status(id)
        if status is None:
            raise NotFound(f"no task {id!r}")
        if status.state.ended:
            return
        path = self._path(id)
        try:
            (path / "stop").touch()
            pid, born = (path / "alive").read_text().split(" ", 1)
        except FileNotFoundError:  # removed since the look above, so it had ended
            return
        if _watched(path) and str(groups.birth(int(pid))) == born:
            _kill(os.kill, int(pid), signal.SIGTERM)

    def remove(self, id: str) -> None:
        status = self.status(id)
        if status is None:
            raise NotFound(f"no task {id!r}")
        if not status.state.ended:
            raise PreconditionFailed(f"task {id!r} is still {status.state.value}", hint="stop it first")
        grave = self._aside("gone")
        try:
            self._path(id).rename(grave)
        except FileNotFoundError as error:
            raise NotFound(f"no task {id!r}") from error
        finally:
            shutil.rmtree(grave)

    def _path(self, id: str) -> Path:
        if not ID.fullmatch(id):
            raise Invalid(f"task id {id!r} is not of the form {ID.pattern}")
        return self._folder / id

    def _aside(self, what: str) -> Path:
        """A new empty folder beside the tasks, on their file system, with a name that no id has."""
        path = self._folder / f".{what}-{os.urandom(8).hex()}"
        path.mkdir(mode=0o700)
        return path

    def _publish_failure(self, draft: Path, id: str) -> bool:
        """Make a task of a draft whose supervisor died before it could; False if the id is taken."""
        said = (draft / "log").read_bytes().decode(errors="replace").strip().rpartition("\n")[2]
        reason = "its supervisor did not start" + (f": {said}" if said else "")
        try:
            _write(draft / "status.json", {"state": "failed", "ended": time.time(), "reason": reason})
            draft.rename(self._folder / id)
        except FileNotFoundError:
            return True  # it died after it published: the status tells
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            return False
        return True


def check(task: Task) -> None:
    """Refuse what no process can be given."""
    if not task.argv:
        raise Invalid(f"task {task.id!r} has no command")
    if any("\0" in text for text in (*task.argv, task.cwd, *task.env, *task.env.values())):
        raise Invalid(f"task {task.id!r}: its command, folder or environment holds a NUL character")
    if any(not name or "=" in name for name in task.env):
        raise Invalid(f"task {task.id!r}: the name of an environment variable is empty or holds '='")
    if (task.timeout is not None and task.timeout <= 0) or task.grace < 0:
        raise Invalid(f"task {task.id!r}: timeout must be positive and grace not negative")
    if task.retries < 0 or (task.restart and (task.retries or min(astuple(task.restart)[:3]) < 0)):
        raise Invalid(f"task {task.id!r}: either retries or a restart, and neither with negative numbers")
    if task.container and task.container.inside is None:
        raise Invalid(f"task {task.id!r} asks for a container, and this engine runs processes")
    if task.slots and not 0 < task.slots.take <= task.slots.total:
        raise Invalid(f"task {task.id!r} asks for {task.slots.take} slots, and there are {task.slots.total}")
    if task.log_limit < LEAST_LOG:
        raise Invalid(f"task {task.id!r}: a log limit is at least {LEAST_LOG} bytes")


def _document(task: Task) -> dict[str, Any]:
    fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    cwd = os.path.abspath(task.cwd)  # the supervisor has a folder of its own
    inner: dict[str, Any] = {
        "restart": task.restart and asdict(task.restart),
        "slots": task.slots and asdict(task.slots),
    }
    inner["container"] = task.container and asdict(replace(task.container, inside=None)) | {
        "inside": task.container.inside and {**vars(task.container.inside), "env": dict(task.container.inside.env)}
    }
    return {**fields, **inner, "env": dict(task.env), "cwd": cwd, "labels": dict(task.labels)}


def _write(path: Path, document: dict[str, Any]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(document, file)


def _launch(draft: Path, id: str) -> bytes:
    """Start the supervisor of a draft; answers its one word, or nothing if it died before it said one."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as report:
        try:
            _spawn(draft, id, write_end)
        finally:
            os.close(write_end)
        return report.read(16) or b""


def _spawn(draft: Path, id: str, report: int) -> None:
    # By path and isolated: the caller's folder, PYTHONPATH and site-packages have no say in it.
    command = [sys.executable, "-I", "-S", supervisor.__file__, str(draft), id, str(report)]
    with open(os.open(draft / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as log:
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[report], start_new_session=True
            )
        except OSError as error:  # no such interpreter, or no room for another process: read from the log like the rest
            log.write(str(error).encode())


def _task(path: Path) -> Task:
    document = json.loads((path / "task.json").read_text())
    restart = document.get("restart")
    if restart:
        restart = Restart(**restart | {"final": tuple(restart["final"])})
    container = document.get("container")
    return Task(
        **document
        | {"argv": tuple(document["argv"]), "restart": restart, "container": container and _container(container)}
    )


def _container(document: dict[str, Any]) -> Container:
    inside = document["inside"]
    return Container(
        **document
        | {
            "mounts": tuple(Mount(**each) for each in document["mounts"]),
            "entrypoint": tuple(document["entrypoint"]),
            "inside": inside and Inside(**inside | {"argv": tuple(inside["argv"])}),
        }
    )


def _record(path: Path) -> dict[str, Any]:
    text = (path / "status.json").read_text()
    # A power cut may leave it empty; whoever finds it so finds no supervisor either.
    record: dict[str, Any] = json.loads(text or '{"state": "pending"}')
    return record


def _watched(path: Path) -> bool:
    """Whether a supervisor, or the guard that ends the command in its place, holds the lock."""
    with open(path / "alive", "rb") as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lost(record: dict[str, Any]) -> dict[str, Any]:
    """A task that nobody watches and nobody wrote the end of: supervisor and guard were killed, or the machine."""
    if record["state"] == "pending" and "reason" not in record:
        return record | {"state": "failed", "reason": "its supervisor never came up"}
    pid, born = record.get("pid"), record.get("birth")
    if pid and born and groups.birth(pid) == born:  # provably the command, not a later process of that number
        _kill(os.killpg, pid, signal.SIGKILL)
    return record | {"state": "failed", "reason": "its supervisor was killed"}


def _kill(send: Any, pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        send(pid, number)
