"""Jobs as processes or containers of this machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from cloudml import specs
from cloudml.engines import OUT_OF_MEMORY, TaskState
from cloudml.errors import Unsupported
from cloudml.spi import Call, Caller, Effect, Goal, Operation, leaves, patched
from cloudml.states import Failure, Key, Phase, State
from cloudml_local.artifacts import LocalArtifacts
from cloudml_local.environment import threads
from cloudml_local.options import JobOptions
from cloudml_local.places import Processes
from cloudml_local.runs import Run, Runs

PHASES = {
    TaskState.PENDING: Phase.PENDING,
    TaskState.RUNNING: Phase.RUNNING,
    TaskState.SUCCEEDED: Phase.SUCCEEDED,
    TaskState.FAILED: Phase.FAILED,
    TaskState.CANCELLED: Phase.CANCELLED,
    TaskState.TIMED_OUT: Phase.TIMED_OUT,
}
RUN_ID = re.compile(r"(?P<name>.+)-[0-9a-f]{8}-(?P<attempt>[0-9]+)")


class Jobs:
    """A job is one detached process or container with a folder of its own; its id is the run's."""

    def __init__(self, runs: Runs, artifacts: LocalArtifacts, caller: Caller, place: Processes) -> None:
        self._runs = runs
        self._where = place
        self._cpus = runs.cpus
        self._artifacts = artifacts
        self._call = caller
        self._stop_call = f"Stop{place.noun}"
        self._send = {
            "BuildImage": lambda call: place.build(call.document),
            f"Start{place.noun}": self._start,
            self._stop_call: self._stop,
            "RemoveRun": self._remove,
        }

    def observe(self, key: Key, want: specs.TrainingJob | None) -> State | None:
        run = self._call.find("GetRun", lambda: self._runs.get(key.name))
        return _state(key.stack, run) if run else None

    def render(self, goal: Goal[specs.TrainingJob], have: State | None) -> Sequence[Call]:
        if goal.want is not None:
            there = have is not None and have.phase is not Phase.EMPTY
            return [] if there else self._start_calls(goal, goal.want)
        if have is None:
            return []
        running = have.phase is not Phase.EMPTY and not have.phase.settled
        stop = [Call(self._stop_call, goal.key.name, {}, "it runs", Effect.UPDATE)] if running else []
        if goal.cancel:
            return stop
        return [*stop, Call("RemoveRun", goal.key.name, {}, "it is not wanted", Effect.DELETE)]

    def send(self, call: Call) -> Operation | None:
        return self._call.write(call.operation, lambda: self._send[call.operation](call))

    def poll(self, operation: Operation) -> Operation:
        ended = self._call.read("GetRun", lambda: self._runs.ended(operation.target))
        return Operation(operation.id, operation.target, running=not ended)

    def list(self, stack: str | None) -> Iterator[State]:
        for run in self._call.read("ListRuns", lambda: [*self._runs.list()]):
            state = _state(stack or "", run)
            if stack is None or state.owner == stack:
                yield state

    def _start_calls(self, goal: Goal[specs.TrainingJob], want: specs.TrainingJob) -> Sequence[Call]:
        slots = self._slots(goal.key, want.resources.cpu)
        options = JobOptions.model_validate(want.options.get(self._where.name, {}))
        source = self._place(goal.key.stack, want.source) if want.source else None
        match = RUN_ID.fullmatch(goal.key.name)
        document = {
            "id": goal.key.name,
            "name": match["name"] if match else goal.key.name,
            "attempt": int(match["attempt"]) if match else 1,
            "argv": list(self._where.train),
            "command": want.command if isinstance(want.command, str) else list(want.command),
            "params": dict(want.params),
            "inputs": {name: self._place(goal.key.stack, value) for name, value in want.inputs.items()},
            "source": source,
            "env": {**threads(want.resources.cpu), "CLOUDML_PLATFORM": self._where.name, **leaves(want.env)},
            "inherit": list(options.inherit),
            "timeout": want.timeout,
            "retries": want.retries,
            "slots": slots,
            "wait_timeout": want.wait_timeout,
            "spec": specs.spec_hash(want),
            "labels": {**want.labels, **goal.labels, "cloudml-stack": goal.key.stack},
            **self._where.image_of_job(source, want.resources),
        }
        start = patched(document, want, self._where.name)
        return [
            *self._where.builds(goal.key.name, start),
            Call(f"Start{self._where.noun}", goal.key.name, start, "there is no such run"),
        ]

    def _slots(self, key: Key, cpu: float) -> int:
        """How many of the machine's CPUs a job takes. Raises Unsupported if there will never be so many."""
        slots = math.ceil(cpu)
        if slots > self._cpus:
            raise Unsupported(
                f"{key} asks for {cpu:g} CPUs, and there are {self._cpus} on this machine: it would wait for ever",
                hint=f"ask for fewer, use a cloud, or set 'cpus' of provider '{self._where.name}' ($CLOUDML_CPUS)",
            )
        return slots

    def _place(self, stack: str, value: str) -> str:
        """Content is where the core has put it; anything else is a path already."""
        kind, _, digest = value.partition(":")
        return self._artifacts.uri(f"{stack}/content/{digest}") if kind == "sha256" else value.removeprefix("file://")

    def _start(self, call: Call) -> None:
        self._runs.start(call.target, call.document)

    def _stop(self, call: Call) -> Operation:
        self._runs.stop(call.target)
        return Operation(f"stop {call.target}", call.target, running=True)

    def _remove(self, call: Call) -> None:
        self._runs.remove(call.target)


def _state(stack: str, run: Run) -> State:
    status = run.status
    labels = run.record["labels"]
    return State(
        key=Key("job", run.id, stack or labels["cloudml-stack"]),
        phase=PHASES[status.state] if status else Phase.EMPTY,
        owner=labels["cloudml-stack"],
        spec=run.record["spec"],
        id=run.id,
        failure=_failure(run),
        labels=labels,
        facts={
            "model": str(run.model) if run.model else None,
            "metrics": run.metrics,
            "exit_code": status.exit_code if status else None,
            "attempt": status.restarts + 1 if status else None,
            "waiting": status.reason if status and status.state is TaskState.PENDING else None,
        },
        created=run.record["created"],
        native={"task": status.task.id, "pid": status.pid, "argv": status.task.argv} if status else {},
    )


def _failure(run: Run) -> Failure | None:
    """The script's own exception if it left one, else how the process ended."""
    status = run.status
    if status is None or status.state in (TaskState.SUCCEEDED, TaskState.CANCELLED) or not status.state.ended:
        return None
    if status.reason and status.reason.startswith(OUT_OF_MEMORY):  # what the script says of it names no limit
        return Failure(status.reason)
    if run.failure and status.state is TaskState.FAILED:
        return Failure(f"{run.failure['type']}: {run.failure['message']}")
    return Failure(status.reason or status.state.value, code=None)
