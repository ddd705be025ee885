"""The narrow waist: all that a provider implements, and all that the core knows of one.

A provider reads (``observe``, ``list``, ``poll``), says purely what it would do (``render``) and does one thing
(``send``). Retries, waiting, deadlines, progress, error translation, ownership and going on after a crash exist once,
in the core, around these verbs. An implementation contains no ``try``, no ``sleep`` and no retry.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from cloudml import specs
from cloudml.errors import ConfigError, ProviderError
from cloudml.states import EMPTY, Captured, Json, Key, LogLine, Operation, Part, Phase, Sample, State

Want = TypeVar("Want")
Want_contra = TypeVar("Want_contra", contravariant=True)
Result = TypeVar("Result")


class Until(Enum):
    """How long a goal is pursued: until it is done, or only until the provider has taken it."""

    SUBMITTED = "submitted"
    DONE = "done"


@dataclass(frozen=True)
class Later:
    """A value that the provider chooses while calls are sent, and that no plan can know: ``Later("version")``."""

    what: str

    def __str__(self) -> str:
        return f"<{self.what}>"


@dataclass(frozen=True)
class Secret:
    """A reference to a secret (``env:X``, ``file:P``, ``native:ARN``); printed and hashed as the reference."""

    reference: str

    def __str__(self) -> str:
        return "${secret:" + self.reference + "}"


WRITTEN = re.compile(r"\$\{secret:([^{}]+)\}")


def leaves(env: Mapping[str, str]) -> dict[str, str | Secret]:
    """A spec's variables, with each ``${secret:…}`` as the leaf that is resolved while it is sent.

    ConfigError where a secret is only a part of a value: the whole could not be shown as a reference any more.
    """
    found: dict[str, str | Secret] = {}
    for name, text in env.items():
        match = WRITTEN.fullmatch(text)
        if match is None and WRITTEN.search(text):
            raise ConfigError(f"env.{name}: a secret must be the whole value", hint="give it a variable of its own")
        found[name] = Secret(match[1]) if match else text
    return found


@dataclass(frozen=True)
class Reference:
    """A registered model version that a deployment names: what is unknown before it is made is a ``Later``.

    ``digest`` is that of the model's files, where the provider keeps it: a server loads a pickle that has it.
    """

    family: str
    hash: str
    version: str | Later
    id: str | Later
    uri: str | Later
    sidecar: str
    digest: str | Later | None = None


@dataclass(frozen=True)
class Subject:
    """What a monitor's schedule compares: an endpoint's requests with the baseline of its most asked model.

    The baseline stands in the sidecar of ``model``; requests before ``since`` (seconds since the epoch) were those of
    an earlier endpoint of the name; ``redact`` names the features that are never captured, ``shadows`` the deployments
    that get copies of requests and answer nobody: what was captured of them does not count.
    """

    model: Reference
    since: float | Later
    redact: tuple[str, ...] = ()
    shadows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Version:
    """What one version of a family, known by its hash, is to be: READY (again), ARCHIVED, or gone where None.

    An archived version keeps its files, number and labels, and is observed with ``Phase.ARCHIVED``. A provider is asked
    only if it declares ``MODELS_ARCHIVE``, and for what is to be gone ``MODELS_DELETE_VERSION``.
    """

    hash: str
    phase: Phase | None = None

    def differing(self, have: State | None) -> tuple[Part, ...]:
        """The versions with that hash that are not what they are to be; to be archived concerns what did not fail."""
        found = [part for part in have.of("version") if part.spec == self.hash] if have else []
        turning = (Phase.READY, Phase.ARCHIVED) if self.phase else tuple(Phase)
        return tuple(part for part in found if part.phase in turning and part.phase is not self.phase)


@dataclass(frozen=True)
class Goal(Generic[Want]):
    """Present (``want``), cancelled (``cancel``), absent (neither); or, of a family, one ``version`` otherwise.

    ``labels`` are all that the resource is to carry, the user's own too; ``references`` are the model versions that
    ``want`` names, ``subject`` what a monitor with a schedule is to compare. A goal with a ``version`` leaves the
    family and its other versions as they are.
    """

    key: Key
    want: Want | None = None
    cancel: bool = False
    until: Until = Until.DONE
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    references: Mapping[str, Reference] = field(default_factory=lambda: EMPTY)
    version: Version | None = None
    subject: Subject | None = None

    @property
    def present(self) -> bool:
        return self.want is not None


class Effect(Enum):
    CREATE = "+"
    UPDATE = "~"
    DELETE = "-"


class Repeat(Enum):
    """Whether sending a call again after a lost answer is harmless.

    SAFE: a name that we chose, a PUT, a delete. GUARDED: the provider makes the id, so a second one would be a second
    resource; the loop looks for the first before it sends again.
    """

    SAFE = "safe"
    GUARDED = "guarded"


@dataclass(frozen=True)
class Call:
    """One native request, which makes at most one write.

    ``operation`` is the provider's own name for it, ``target`` the native id that it writes, ``document`` the
    provider's own request, ``why`` the difference that asks for it.
    """

    operation: str
    target: str
    document: Mapping[str, Any]
    why: str
    effect: Effect = Effect.CREATE
    repeat: Repeat = Repeat.SAFE

    def fingerprint(self) -> str:
        """The same for the same request, in every process."""
        text = json.dumps([self.operation, self.target, self.document], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_document(self, document: Mapping[str, Any]) -> Call:
        return replace(self, document=document)


class Kind(Protocol[Want]):
    """One kind of resource at one provider: jobs, models, endpoints or monitors."""

    def observe(self, key: Key, want: Want | None) -> State | None:
        """What is there, parts and running operations of the wanted thing included; None if nothing is left.

        Versions of a model come oldest first.
        """

    def render(self, goal: Goal[Want], have: State | None) -> Sequence[Call]:
        """The whole way from ``have`` to the goal; empty if nothing is left to do.

        Pure: no I/O, no clock, no randomness. A call that is sent holds no ``Later``. Of a job that is not there, the
        last call to CREATE is the one that makes it; those before it prepare.
        """

    def send(self, call: Call) -> Operation | None:
        """Sends one rendered call; an operation if the provider goes on by itself."""

    def poll(self, operation: Operation) -> Operation:
        """The operation as it is now."""

    def list(self, stack: str | None) -> Iterator[State]:
        """Every resource of this kind with our label; of one stack, or of all."""


@runtime_checkable
class Listing(Protocol):
    """Jobs that many can be watched of by one list; a provider whose list costs no more than that need not say so."""

    def unsettled(self, stack: str) -> Mapping[str, Phase]:
        """The runs of a stack that have not ended, by their ids, in as few requests as there is a list for.

        It may name runs that have ended just now, and leave out any: whoever asks looks at those by themselves.
        """


@dataclass(frozen=True)
class Payload:
    """A request to, or an answer from, a model: bytes with a content type."""

    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY)


class Endpoints(Kind[specs.Endpoint], Protocol):
    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        """Sends one request to a model; ModelError if the model refused or failed."""


@runtime_checkable
class Reachable(Protocol):
    """Endpoints that requests reach without a look at all that they are; else there is a look before each request."""

    def reach(self, key: Key) -> State:
        """As much of the state as ``invoke`` needs. That one raises NotFound if there is no such endpoint."""


class Artifacts(Protocol):
    """A place for files and folders under keys that we choose (``<stack>/content/<digest>``).

    A key may name a folder that holds other keys: it is missing when nothing is under it, and deleted with all of it.
    """

    def uri(self, key: str) -> str:
        """Where a key is, in the provider's own form; pure, for things that do not exist yet too."""

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that are not there, or not whole."""

    def put(self, key: str, source: Path | bytes) -> str:
        """Stores a file, a folder or bytes, whole or not at all; the URI."""

    def open(self, uri: str) -> IO[bytes]:
        """Reads one file; NotFound if there is none."""

    def list(self, prefix: str) -> Iterator[str]:
        """The URIs of the files under a key."""

    def delete(self, uri: str) -> None:
        """Removes a file or a folder; nothing happens if it is not there."""


@dataclass(frozen=True)
class Window:
    """A span of time in seconds since the epoch; open where None."""

    start: float | None = None
    end: float | None = None


class Telemetry(Protocol):
    def logs(self, have: State, cursor: str | None) -> tuple[Sequence[LogLine], str]:
        """Lines after the cursor, and the next cursor."""

    def metrics(self, have: State, window: Window) -> Iterator[Sample]:
        """Operational metrics: requests, latency in milliseconds, errors."""

    def captured(self, have: State, window: Window) -> Iterator[Captured]:
        """Requests and answers that an endpoint kept, oldest first."""


class Provider(Protocol):
    """What ``connect`` returns. ``monitors`` is None where monitors live in the artifact store alone."""

    @property
    def jobs(self) -> Kind[specs.TrainingJob]: ...
    @property
    def models(self) -> Kind[specs.Model]: ...
    @property
    def endpoints(self) -> Endpoints: ...
    @property
    def monitors(self) -> Kind[specs.Monitor] | None: ...
    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def telemetry(self) -> Telemetry: ...


class Caller(Protocol):
    """Given to ``connect``: wraps every native call, translates its errors and retries what is safe to retry."""

    def read(self, operation: str, function: Callable[[], Result]) -> Result:
        """A read: retried while the provider throttles or is unavailable."""

    def find(self, operation: str, function: Callable[[], Result]) -> Result | None:
        """A read of one thing: None if it is not there."""

    def write(self, operation: str, function: Callable[[], Result]) -> Result:
        """A write: retried only while it is refused for its rate, because then nothing was done."""


class Capability(Enum):
    """What a provider can or cannot do; every provider answers every one."""

    JOBS = "jobs"
    JOBS_IMAGE = "jobs.image"
    JOBS_GPU = "jobs.gpu"
    JOBS_NODES = "jobs.nodes"
    JOBS_SPOT = "jobs.spot"
    JOBS_RETRIES = "jobs.retries"
    JOBS_DISK = "jobs.disk"
    JOBS_WAIT_TIMEOUT = "jobs.wait_timeout"
    MODELS = "models"
    MODELS_ALIAS = "models.alias"
    MODELS_APPROVAL = "models.approval"
    MODELS_ARCHIVE = "models.archive"
    MODELS_DELETE_VERSION = "models.delete_version"
    ENDPOINTS = "endpoints"
    ENDPOINTS_IMAGE = "endpoints.image"
    ENDPOINTS_GPU = "endpoints.gpu"
    ENDPOINTS_SCALE = "endpoints.scale"
    ENDPOINTS_SCALE_TO_ZERO = "endpoints.scale_to_zero"
    ENDPOINTS_SPOT = "endpoints.spot"
    ENDPOINTS_TRAFFIC = "endpoints.traffic"
    ENDPOINTS_MIRROR = "endpoints.mirror"
    ENDPOINTS_CAPTURE = "endpoints.capture"
    ENDPOINTS_REDACT = "endpoints.redact"
    ENDPOINTS_TIMEOUT = "endpoints.timeout"
    ENDPOINTS_PIN = "endpoints.pin"
    MONITORS = "monitors"
    MONITORS_SCHEDULE = "monitors.schedule"


@dataclass(frozen=True)
class Yes:
    """The provider can, by the evidence named (``conformance``, ``live``)."""

    evidence: str = "conformance"


@dataclass(frozen=True)
class No:
    """The provider cannot: ``reason`` says why and what to do instead; ``planned`` if it is only not written yet."""

    reason: str
    planned: bool = False


@dataclass(frozen=True)
class Scope:
    """What somebody is to be allowed to work on: a stack, and the names of its resources by kind (``job`` …)."""

    stack: str
    names: Mapping[str, Sequence[str]] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True)
class Plugin:
    """What a provider's entry point names; importable without the provider's SDK.

    ``connect`` is the only place that imports it. ``classify`` maps a native exception to an error of the tree, or
    None; ``options`` are the typed provider fields per kind; ``pace`` is the first pause between two looks, in seconds;
    ``emulator`` is where its cloud is emulated (``package.module:name`` of an Emulator), loaded on use. ``carried``
    says that jobs run where cloudml is not installed: the core then stores the runtime, at ``bundle.key(stack)``, and
    as for everybody the job's spec, at ``spec_key(stack, want)``, before a job is made. ``permissions`` gives the least
    that a scope needs, as the provider's own document, without asking anybody. ``files`` says calls in the form that
    the provider's own command line takes from files: their texts by their names. What only the
    provider can choose stands in them as ``<…>``, a secret as its reference.
    """

    name: str
    config: type[BaseModel]
    connect: Callable[[Any, Caller], Provider]
    classify: Callable[[Exception], ProviderError | None]
    capabilities: Mapping[Capability, Yes | No]
    options: Mapping[str, type[BaseModel]] = field(default_factory=lambda: EMPTY)
    pace: float = 1.0
    emulator: str | None = None
    carried: bool = False
    permissions: Callable[[Any, Scope], Mapping[str, Any]] | None = None
    files: Callable[[Sequence[Call]], Mapping[str, str]] | None = None


def patched(document: Mapping[str, Any], spec: specs.Native, provider: str) -> dict[str, Any]:
    """A native document with the spec's ``patch.<provider>`` merged in: maps merge, everything else is replaced."""
    return _merged(document, spec.patch.get(provider, {}))


def _merged(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for name, value in patch.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def spec_key(stack: str, want: BaseModel) -> str:
    """Where the planned spec of a job or a model lies as a document (``{"kind", "spec"}``)."""
    return f"{stack}/specs/{specs.spec_hash(want)}.json"


__all__ = [
    "Artifacts",
    "Call",
    "Caller",
    "Capability",
    "Effect",
    "Endpoints",
    "Goal",
    "Json",
    "Kind",
    "Later",
    "Listing",
    "No",
    "Operation",
    "Payload",
    "Plugin",
    "Provider",
    "Reachable",
    "Reference",
    "Repeat",
    "Scope",
    "Secret",
    "Subject",
    "Telemetry",
    "Until",
    "Version",
    "Window",
    "Yes",
    "leaves",
    "patched",
    "spec_key",
]
