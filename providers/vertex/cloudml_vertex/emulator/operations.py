"""Long-running operations: what they are, the states between, and the work behind them on threads of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from google.cloud import aiplatform_v1
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, timestamp_pb2

from cloudml.emulation.lifecycle import Lifecycle
from cloudml.errors import CloudmlError
from cloudml_vertex.emulator.checks import RULES
from cloudml_vertex.emulator.problems import Problem, missing
from cloudml_vertex.emulator.world import World

STAGES = ("running",)  # what an operation shows before it is done
TICK = 0.02  # seconds
Finish = Callable[[], Any]  # under the world's lock: makes the change, gives the response


class Operations:
    """``close`` ends the threads; operations live as long as the emulator."""

    def __init__(self, world: World, lifecycle: Lifecycle) -> None:
        self._world = world
        self._lifecycle = lifecycle
        self._rows: dict[str, Any] = {}
        self._reads: dict[str, int] = {}
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()

    def start(
        self, method: str, resource: str, finish: Finish, work: Callable[[threading.Event], None] | None = None
    ) -> Any:
        """An operation on a resource: ``work`` first, which may raise Problem, then ``finish``.

        Without work and with an instant lifecycle it is done when it is answered.
        """
        row = operations_pb2.Operation(name=f"{resource}/operations/{self._world.number()}")
        metadata = _message(RULES["lro"][method][1])()
        now = timestamp_pb2.Timestamp()
        now.FromNanoseconds(time.time_ns())
        metadata.generic_metadata.create_time.CopyFrom(now)
        metadata.generic_metadata.update_time.CopyFrom(now)
        row.metadata.Pack(metadata)
        with self._world.lock:
            self._rows[row.name] = row
            self._reads[row.name] = 0
        began = self._lifecycle.clock()
        if work is None and self._lifecycle.stage(STAGES, began, 0) is None:
            self._end(row, finish)
        else:
            thread = threading.Thread(target=self._run, args=(row, began, finish, work), name=row.name, daemon=True)
            thread.start()
            self._threads = {each for each in self._threads if each.is_alive()} | {thread}
        return self.read(row.name, count=False)

    def read(self, name: str, count: bool = True) -> Any:
        """A copy of one as it is. Raises Problem if there is none."""
        with self._world.lock:
            if name not in self._rows:
                raise missing(name)
            self._reads[name] += count
            copy = operations_pb2.Operation()
            copy.CopyFrom(self._rows[name])
            return copy

    def under(self, resource: str) -> Sequence[Any]:
        """Those on a resource, newest first."""
        with self._world.lock:
            names = [name for name in self._rows if name.startswith(f"{resource}/operations/")]
        return [self.read(name) for name in reversed(names)]

    def busy(self, resource: str) -> bool:
        with self._world.lock:
            return any(not row.done for name, row in self._rows.items() if name.startswith(f"{resource}/operations/"))

    def clear(self) -> None:
        """Waits for what is running to see that it is not wanted any more."""
        self._closing.set()
        for thread in list(self._threads):
            thread.join()
        with self._world.lock:
            self._rows.clear()
        self._closing.clear()

    def _run(self, row: Any, began: float, finish: Finish, work: Callable[[threading.Event], None] | None) -> None:
        try:
            while self._lifecycle.stage(STAGES, began, self._reads.get(row.name, 0)) is not None:
                if self._closing.wait(TICK):
                    return
            if work is not None:
                work(self._closing)
            if not self._closing.is_set():
                self._end(row, finish)
        except Problem as problem:
            self._fail(row, problem)
        except (CloudmlError, OSError) as error:  # of this machine: an operation must not run for ever
            self._fail(row, Problem("INTERNAL", f"The emulator could not do it: {error}"))

    def _end(self, row: Any, finish: Finish) -> None:
        with self._world.lock:
            try:
                row.response.Pack(finish())
            except Problem as problem:
                self._fail(row, problem)
            except (CloudmlError, OSError) as error:
                self._fail(row, Problem("INTERNAL", f"The emulator could not do it: {error}"))
            row.done = True

    def _fail(self, row: Any, problem: Problem) -> None:
        with self._world.lock:
            row.error.code, row.error.message = problem.number, problem.message
            row.done = True


def _message(name: str) -> Any:
    """A message class by its short name."""
    return empty_pb2.Empty if name.startswith("google.protobuf") else getattr(aiplatform_v1, name).pb()
