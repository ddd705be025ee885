"""Long-running operations: what a 201 or 202 promises, how it stands, what happens when it is done.

Azure answers such a call at once with ``Azure-AsyncOperation`` (a document with a status) or ``Location`` (202 until it
is done), or both, and the resource itself shows ``provisioningState``. The real service leaves the pause between polls
to the client (recorded: none of these answers has Retry-After); ``x-ms-retry-after-ms``, which the SDK honours, is the
emulator's courtesy to people who wait.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from cloudml.emulation.faults import Faults
from cloudml.emulation.http import Answer
from cloudml.emulation.lifecycle import Lifecycle
from cloudml_azureml.emulator import ordered
from cloudml_azureml.emulator.answers import Document, Refused, missing
from cloudml_azureml.emulator.store import PROVIDER, Workspace, now

ARM = "https://management.azure.com"
PACE = {"x-ms-retry-after-ms": "200"}


def outcome(failure: Refused | None) -> str:
    """How an operation ended, as its status and the resource's ``provisioningState`` have it."""
    if failure is None:
        return "Succeeded"
    return "Canceled" if failure.code == ordered.CANCELED else "Failed"


@dataclass
class Operation:
    """``states`` are what it shows before it is done; ``work``, if any, is what must have ended first.

    ``finish`` is called once, with why the work failed or None, and makes the change visible.
    """

    workspace: Workspace
    states: Sequence[str]
    since: float
    finish: Callable[[Refused | None], None]
    work: Future[None] | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: str = field(default_factory=now)
    ended: str | None = None
    error: Refused | None = None
    reads: int = 0

    def place(self, what: str, version: str) -> str:
        at = self.workspace
        base = f"{ARM}/subscriptions/{at.subscription}/providers/{PROVIDER}/locations/{at.region}"
        return f"{base}/{what}/{self.id}?api-version={version}"


class Operations:
    """All operations of one emulator."""

    def __init__(self, lifecycle: Lifecycle, faults: Faults) -> None:
        self._lifecycle, self._faults = lifecycle, faults
        self._known: dict[str, Operation] = {}
        self._going: dict[str, Operation] = {}  # those of them that have not ended
        self._lock = threading.RLock()

    def doomed(self, operation: str, *names: str, size: str = "") -> Future[None] | None:
        """The work of an operation that is ordered to end badly; None if none is."""
        return ordered.doomed(self._faults, operation, "/".join(names), size)

    def begin(
        self,
        workspace: Workspace,
        states: Sequence[str],
        finish: Callable[[Refused | None], None],
        work: Future[None] | None = None,
    ) -> Operation:
        operation = Operation(workspace, states, self._lifecycle.clock(), finish, work)
        with self._lock:
            self._known[operation.id] = self._going[operation.id] = operation
        return operation

    def state(self, operation: Operation, *, read: bool = False) -> str | None:
        """The intermediate state that it shows now; None when it has ended. A ``read`` is a client's look at it."""
        with self._lock:
            if operation.ended:
                return None
            stage = self._lifecycle.stage(operation.states, operation.since, operation.reads)
            operation.reads += read
            if stage is None and operation.work is not None and not operation.work.done():
                stage = operation.states[-1]
            if stage is None:
                self._end(operation)
            return stage

    def _end(self, operation: Operation) -> None:
        failure = operation.work.exception() if operation.work else None
        if failure is not None and not isinstance(failure, Refused):
            failure = Refused(500, "InternalServerError", f"{type(failure).__name__}: {failure}")
        operation.error, operation.ended = failure, now()
        self._going.pop(operation.id, None)
        operation.finish(failure)

    def settle(self) -> None:
        """Ends what is due: before anything is read."""
        with self._lock:
            for operation in tuple(self._going.values()):
                self.state(operation)

    def status(self, id: str) -> Answer:
        """GET mfeOperationsStatus/{id}."""
        operation = self._get(id)
        stage = self.state(operation, read=True)
        status = stage or outcome(operation.error)
        body: Document = {"id": operation.place("mfeOperationsStatus", "").removeprefix(ARM).split("?")[0]}
        body |= {
            "name": id,
            "status": status,
            "startTime": operation.started,
            "percentComplete": 0.0 if stage else 100.0,
        }
        if operation.ended:
            body["endTime"] = operation.ended
        if operation.error:
            body["error"] = operation.error.error()
        return Answer(200, body, PACE if stage else {})

    def result(self, id: str, version: str) -> Answer:
        """GET mfeOperationResults/{id}: 202 until it is done."""
        operation = self._get(id)
        if self.state(operation, read=True):
            return Answer(202, None, {"Location": operation.place("mfeOperationResults", version), **PACE})
        if operation.error:
            raise operation.error
        return Answer(200)

    def _get(self, id: str) -> Operation:
        with self._lock:
            if id not in self._known:
                raise missing("operation", id)
            return self._known[id]

    def clear(self) -> None:
        with self._lock:
            self._known.clear()
            self._going.clear()


def headers(operation: Operation, version: str, *, location: bool = False, status: bool = True) -> dict[str, Any]:
    """The headers that tell a client where to look."""
    made = dict(PACE)
    if status:
        made["Azure-AsyncOperation"] = operation.place("mfeOperationsStatus", version)
    if location:
        made["Location"] = operation.place("mfeOperationResults", version)
    return {**made, "x-ms-async-operation-timeout": "PT30M"}
