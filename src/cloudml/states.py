"""What there is: frozen values that providers return and everybody reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, TypedDict

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
EMPTY: Mapping[str, Any] = MappingProxyType({})


class Phase(Enum):
    """Where a resource, or a part of one, is in its life; each provider maps its own words to these by a table."""

    PENDING = "pending"
    PROVISIONING = "provisioning"
    PREPARING = "preparing"
    RUNNING = "running"
    PREEMPTED = "preempted"
    FINALIZING = "finalizing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    CREATING = "creating"
    READY = "ready"
    UPDATING = "updating"
    MAINTENANCE = "maintenance"
    ROLLING_BACK = "rolling back"
    DEGRADED = "degraded"
    EMPTY = "empty"
    ARCHIVED = "archived"
    DELETING = "deleting"
    UNKNOWN = "unknown"

    @property
    def settled(self) -> bool:
        """Nothing changes any more unless somebody asks for it."""
        return self in _SETTLED

    @property
    def failed(self) -> bool:
        return self in (Phase.FAILED, Phase.TIMED_OUT)


_SETTLED = frozenset(
    {
        Phase.SUCCEEDED,
        Phase.FAILED,
        Phase.CANCELLED,
        Phase.TIMED_OUT,
        Phase.READY,
        Phase.DEGRADED,
        Phase.EMPTY,
        Phase.ARCHIVED,
    }
)
LEAVING = frozenset({Phase.CANCELLING, Phase.DELETING})


@dataclass(frozen=True)
class Key:
    """Names one resource: its kind (``job``, ``model``, ``endpoint``, ``monitor``), its name, and its stack."""

    kind: str
    name: str
    stack: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Failure:
    """Why something failed; ``reason`` is the provider's own text, ``code`` its own code."""

    reason: str
    code: str | None = None


@dataclass(frozen=True)
class Operation:
    """A provider's long-running operation on ``target``, the native id that it writes.

    ``after`` are the seconds until it wants to be asked again, where it says so.
    """

    id: str
    target: str
    running: bool
    error: Failure | None = None
    after: float | None = None


@dataclass(frozen=True)
class Part:
    """A child of a resource: a deployment, a model version, a configuration; referenced or not.

    ``spec`` is the hash of what it runs, ``facts`` are neutral: a version's are VersionFacts.
    """

    kind: str
    name: str
    id: str
    phase: Phase
    spec: str | None = None
    failure: Failure | None = None
    facts: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


class JobFacts(TypedDict, total=False):
    """``facts`` of a job. Owed by every provider once it has SUCCEEDED: ``model`` and ``metrics``."""

    model: str | None  # where its model is, in the provider's own form; None if it left none
    metrics: Mapping[str, float]  # the last value of each
    exit_code: int | None
    waiting: str | None  # what a run that has not started waits for, for people


class FamilyFacts(TypedDict, total=False):
    """``facts`` of a model family; owed: ``aliases``."""

    aliases: Mapping[str, str]  # the version that each names


class VersionFacts(TypedDict, total=False):
    """``facts`` of a part ``version``; owed: ``uri`` and ``aliases``, and ``approval`` where the provider has it."""

    uri: str  # where its files are
    aliases: tuple[str, ...]
    approval: str | None  # pending, approved, rejected
    digest: str | None  # of its files, if the provider keeps it
    created: float | None  # seconds since the epoch


class EndpointFacts(TypedDict, total=False):
    """``facts`` of an endpoint; owed: ``traffic``, and ``url`` where there is an address for any HTTP client."""

    url: str | None
    traffic: Mapping[str, int]  # per cent by deployment


@dataclass(frozen=True)
class State:
    """What a provider has of one resource; exists only while any part of it is left.

    ``owner`` is its stack label, ``spec`` the hash of what runs; ``facts`` are neutral (JobFacts, FamilyFacts,
    EndpointFacts; a provider may add its own), ``native`` is the provider's own description.
    """

    key: Key
    phase: Phase
    owner: str | None
    spec: str | None = None
    id: str = ""
    parts: tuple[Part, ...] = ()
    operations: tuple[Operation, ...] = ()
    failure: Failure | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    facts: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    created: float | None = None
    native: Mapping[str, Any] = field(default_factory=lambda: EMPTY, repr=False, compare=False)

    @property
    def working(self) -> bool:
        """Whether an operation on it is running."""
        return any(operation.running for operation in self.operations)

    def part(self, kind: str, *, spec: str | None = None, name: str | None = None) -> Part | None:
        """The first part of that kind with that hash or name, or None."""
        return next(
            (
                part
                for part in self.parts
                if part.kind == kind and (spec is None or part.spec == spec) and (name is None or part.name == name)
            ),
            None,
        )

    def of(self, kind: str) -> tuple[Part, ...]:
        """Its parts of one kind."""
        return tuple(part for part in self.parts if part.kind == kind)


@dataclass(frozen=True)
class LogLine:
    """One line of a log; ``time`` in seconds since the epoch when the provider knows it."""

    text: str
    source: str = ""
    time: float | None = None


@dataclass(frozen=True)
class Sample:
    """One value of an operational metric: ``requests`` per window, ``latency`` in milliseconds, ``errors``."""

    name: str
    value: float
    time: float
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True)
class Captured:
    """One captured request and its answer, in neutral form; ``time`` is ISO 8601 in UTC."""

    id: str
    time: str
    inputs: list[Any]
    outputs: list[Any]
    names: list[str] | None = None
    deployment: str | None = None
    version: str | None = None
    status: int = 200
    latency_ms: float | None = None
