"""Running a command on this machine: what an engine is given, what it answers, and the Protocol of all engines.

An engine keeps its tasks outside the process that started them: they go on when it ends, and any process that opens
the same engine finds them again. Times are seconds since the epoch, durations are seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

OUT_OF_MEMORY = "out of memory"  # how the reason of such an end begins
LOG_CHUNK = 1_000_000  # bytes: the most that one call of `logs` returns


@dataclass(frozen=True)
class Restart:
    """A command that is to run until it is stopped: one that ends by itself is started again.

    The pause before it is ``first`` seconds, twice as long after each further end, at most ``longest``; a command that
    lived ``healthy`` seconds begins with ``first`` again. With one of the exit codes ``final`` it has said that another
    start would end the same way: the task has failed.
    """

    first: float = 0.5
    longest: float = 30.0
    healthy: float = 30.0
    final: tuple[int, ...] = ()


@dataclass(frozen=True)
class Slots:
    """What a task takes of a machine that several tasks share: ``take`` of the ``total`` slots of ``folder``.

    It is PENDING until they are free and everybody who asked before has got theirs, and FAILED if that takes longer
    than ``timeout`` seconds.
    """

    folder: str
    total: int
    take: int
    timeout: float | None = None


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine, at the same path inside unless ``inside`` says another."""

    path: str
    read_only: bool = False
    inside: str | None = None


@dataclass(frozen=True)
class Inside:
    """What a container is given to run, as its engine keeps it beside the command of its client."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    grace: float


@dataclass(frozen=True)
class Container:
    """The container of a task: ``argv`` of the task is what follows the image's entry point, its folder the cwd.

    ``memory`` and ``shm`` are bytes, ``cpus`` cores, ``pids`` the most processes. ``user`` is ``UID:GID``. What listens
    on ``port`` inside is reached on the loopback under ``host_port`` (0: any that is free), and once the container
    runs, ``announce`` names a file with the ``pid`` of its client and that ``port``. ``inside`` is the engine's.
    """

    image: str
    cpus: float | None = None
    memory: int | None = None
    shm: int | None = None
    pids: int = 4096
    gpus: int = 0
    mounts: tuple[Mount, ...] = ()
    user: str | None = None
    read_only: bool = False
    port: int | None = None
    host_port: int = 0
    announce: str | None = None
    entrypoint: tuple[str, ...] = ()
    inside: Inside | None = None


@dataclass(frozen=True)
class Task:
    """A command to run, under an id that is unique in its engine.

    ``env`` is the whole environment of the command; it may hold secrets and stays out of the repr.
    ``timeout`` counts from the first start of the command, whatever is started again; ``grace`` lies between SIGTERM
    and SIGKILL. ``retries`` is how often a command that ends with another code than 0 is started again; it finds the
    number of the attempt, from 1, in ``CLOUDML_ATTEMPT``. A command that cannot be executed at all is not tried again.
    Of an output of more than ``log_limit`` bytes the beginning and the end are kept. With a ``container`` it runs in
    that, where the engine has any.
    """

    id: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    timeout: float | None = None
    grace: float = 10.0
    labels: Mapping[str, str] = field(default_factory=dict)
    restart: Restart | None = None
    retries: int = 0
    slots: Slots | None = None
    log_limit: int = 64_000_000
    container: Container | None = None


class TaskState(Enum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed-out"

    @property
    def ended(self) -> bool:
        return self not in (TaskState.PENDING, TaskState.RUNNING)


@dataclass(frozen=True)
class TaskStatus:
    """How a task stands.

    ``exit_code`` is None while the command runs and if it never ran; a command that signal n killed has 128 + n,
    as shells and containers report it. ``reason`` is set in every ended state but SUCCEEDED; in PENDING it is what
    the task waits for, in RUNNING how the command ended last. ``restarts`` is how often it was started again, or is
    about to be; ``pid`` is None before that.
    """

    task: Task
    state: TaskState
    exit_code: int | None = None
    pid: int | None = None
    started: float | None = None
    ended: float | None = None
    reason: str | None = None
    restarts: int = 0


class Engine(Protocol):
    """Where tasks run. Every method that takes an id raises Invalid for one that cannot be the name of a folder."""

    def start(self, task: Task) -> TaskStatus:
        """Run a task detached from this process; returns once it runs, waits for its slots, or has failed to.

        A command that cannot be run is a FAILED status, not an error.
        Raises AlreadyExists if the id is taken, Invalid for a task that could never run.
        """

    def status(self, id: str) -> TaskStatus | None:
        """How a task stands; None if there is no such task."""

    def list(self) -> Iterator[TaskStatus]:
        """Every task of this engine, in the order of the ids."""

    def logs(self, id: str, cursor: int = 0) -> tuple[bytes, int]:
        """Output (stdout and stderr together) from byte ``cursor`` on, at most LOG_CHUNK, and the next cursor.

        Where output is not kept any more, one line more says how much was cut. Raises NotFound.
        """

    def stop(self, id: str) -> None:
        """Ask a task to end: SIGTERM, its grace, SIGKILL. Returns at once; nothing happens to an ended task.

        Raises NotFound.
        """

    def remove(self, id: str) -> None:
        """Forget an ended task and its output. Raises NotFound, and PreconditionFailed while it runs."""
