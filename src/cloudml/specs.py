"""What you want: specs as frozen pydantic models. The same spec goes to every provider.

A spec is *planned* when it names content instead of places: a path has become ``sha256:…``, a job's model
``run:<job id>``, a model reference ``<family>:<hash8>``. Only planned specs reach a provider, are hashed and stored.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from cloudml.errors import ConfigError

NAME = r"^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$"
# The intersection of what twelve naming rules of three clouds allow (shared facts, containers.md §4).
Name = Annotated[str, StringConstraints(pattern=NAME, min_length=3, max_length=32)]
DeploymentName = Annotated[str, StringConstraints(pattern=NAME, min_length=3, max_length=20)]
InputName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Alias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,38}[a-z0-9]$")]
Scalar = bool | int | float | str

RESERVED_ALIASES = frozenset({"default", "latest"})
RESERVED_ENV = ("AIP_", "SAGEMAKER_", "AZUREML_", "CLOUDML_")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate("KMGT", 1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)},
}


def seconds(value: Any) -> Any:
    """``90``, ``"90s"``, ``"2h"`` as seconds; anything else is left for pydantic to refuse."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value) if isinstance(value, str) else None
    return float(match[1]) * _UNITS[match[2]] if match else value


def size(value: Any) -> Any:
    """``"4Gi"`` as bytes; anything else is left for pydantic to refuse."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?|)B?", value) if isinstance(value, str) else None
    return int(float(match[1]) * _SIZES[match[2]]) if match else value


def _free(name: str) -> str:
    """Platforms set these themselves and refuse or overwrite a user's."""
    if name.startswith(RESERVED_ENV):
        raise ValueError(f"{name} is reserved: names with {', '.join(RESERVED_ENV)} belong to the platforms")
    return name


EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), AfterValidator(_free)]
Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(size), Field(gt=0)]


class Spec(BaseModel):
    """What all specs share: frozen, unknown fields refused, ``from`` and ``from_`` both accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, validate_default=True)


class Resources(Spec):
    """What one node or one server needs: ``cpu`` in cores, ``memory`` and ``disk`` in bytes or as ``"4Gi"``."""

    cpu: float = Field(default=1, gt=0)
    memory: Bytes | None = None
    gpu: int = Field(default=0, ge=0)
    gpu_type: str | None = None
    disk: Bytes | None = None
    shm: Bytes | None = None


class Native(Spec):
    """The escape hatches: typed ``options`` and raw ``patch`` per provider; another provider's are inert."""

    options: dict[str, dict[str, Any]] = {}
    patch: dict[str, dict[str, Any]] = {}
    labels: dict[str, str] = {}


class TrainingJob(Native):
    """A command run on given inputs; what it writes to its model directory is its model.

    ``command`` is a shell line or a list; ``{params.x}``, ``{inputs.x}`` and ``{model_dir}`` are filled in on the node.
    ``timeout`` in seconds of running, ``wait_timeout`` in seconds of waiting for capacity.
    """

    command: str | tuple[str, ...]
    source: str | None = None
    params: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Scalar] = {}
    inputs: dict[InputName, str] = {}
    env: dict[EnvName, str] = {}
    image: str | None = None
    resources: Resources = Resources()
    nodes: int = Field(default=1, ge=1)
    spot: bool = False
    timeout: Seconds = 86400
    wait_timeout: Seconds | None = None
    retries: int = Field(default=0, ge=0, le=30)
    metrics: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        known: dict[str, list[str]] = {"params": list(self.params), "inputs": list(self.inputs)}
        words = [self.command] if isinstance(self.command, str) else self.command
        for section, name in re.findall(r"\{(params|inputs)\.([^{}]*)\}", " ".join(words)):
            if name not in known[section]:
                close = difflib.get_close_matches(name, known[section], n=1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known[section]) or 'none'}"
                raise ValueError(f"the command names {{{section}.{name}}}, which is not one of the {section}{hint}")
        return self


class Baseline(Spec):
    """The reference data that live traffic is compared with; ``target`` is the column that is predicted."""

    data: str
    target: str | None = None
    categorical: tuple[str, ...] = ()


class Model(Native):
    """A version of a model family, made by a job (``from: jobs.train``) or from a folder (``path``).

    ``gates`` are conditions on its metrics (``"auc >= 0.90"``); a version that fails one is not registered.
    """

    from_: str | None = Field(default=None, alias="from")
    path: str | None = None
    sample_input: str | list[Any] | None = None
    baseline: Baseline | None = None
    gates: tuple[
        Annotated[str, StringConstraints(pattern=r"^\s*[\w.-]+\s*(>=|<=|>|<|==)\s*-?[\d.]+(e-?\d+)?\s*$")], ...
    ] = ()
    alias: Alias | None = None
    approval: Literal["approved", "pending", "rejected"] | None = None
    description: str = ""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.from_ is None) == (self.path is None):
            raise ValueError("give either 'from' (a job) or 'path' (a folder)")
        if self.alias in RESERVED_ALIASES:
            raise ValueError(f"alias {self.alias!r} is reserved")
        return self


class Scale(Spec):
    """How many servers: fixed when ``min == max``, else automatic by ``metric`` around ``target``."""

    min: int = Field(default=1, ge=0)
    max: int = Field(default=1, ge=1)
    metric: Literal["requests", "cpu", "gpu"] = "cpu"
    target: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is over max {self.max}")
        return self


class Serving(Native):
    """What a deployment needs besides its model."""

    env: dict[EnvName, str] = {}
    image: str | None = None
    resources: Resources = Resources()
    scale: Scale = Scale()
    spot: bool = False


class Deployment(Serving):
    """One model behind an endpoint; ``model`` is ``family@alias``, ``family:version`` or ``family`` for its newest."""

    model: str


SHARED = ("env", "image", "resources", "scale", "spot")


def _with_defaults(deployment: Any, shared: Mapping[str, Any]) -> Any:
    """The deployment, a map or a spec, with what it does not say itself."""
    if isinstance(deployment, Deployment):
        deployment = deployment.model_dump(by_alias=True, exclude_unset=True)
    return {**shared, **deployment} if isinstance(deployment, Mapping) else deployment


# What a threshold may be set on; computed, and explained, in cloudml.monitoring.checks.
STATISTICS = (
    *("psi", "ks", "js_distance", "js_divergence", "wasserstein_normalized", "chi_squared", "l_infinity"),
    *("missing_rate", "type_error_rate", "out_of_range_rate", "unseen_rate"),
    *("latency_p50", "latency_p95", "latency_p99", "error_rate"),
)


CRON = r"[\dA-Za-z*,/-]+(?:\s+[\dA-Za-z*,/-]+){4}"


class Monitor(Spec):
    """What is watched on an endpoint: ``drift`` maps a statistic to its threshold; ``schedule`` is a cron line."""

    endpoint: str | None = None
    drift: dict[str, float] = {"psi": 0.2}
    min_samples: int = Field(default=200, ge=1)
    window: Seconds | None = None
    schedule: str | None = None

    @field_validator("drift")
    @classmethod
    def _statistics_are_known(cls, drift: dict[str, float]) -> dict[str, float]:
        for name in drift:
            if name not in STATISTICS:
                close = difflib.get_close_matches(name, STATISTICS, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(STATISTICS)}"
                raise ValueError(f"unknown statistic {name!r}; {hint}")
        return drift

    @field_validator("schedule")
    @classmethod
    def _schedule_is_a_cron_line(cls, schedule: str | None) -> str | None:
        if schedule is not None and not re.fullmatch(CRON, schedule.strip()):
            raise ValueError(f"{schedule!r} is no cron line: minute, hour, day, month, day of the week: '0 * * * *'")
        return schedule


class Endpoint(Serving):
    """A stable address; deployments behind it share its traffic by weights that sum to 100.

    ``model`` alone is short for one deployment ``blue``. ``capture`` is the share (0 to 1) of requests that are kept,
    ``redact`` names the features that are never kept with them, ``timeout`` is a request's limit in seconds, ``mirror``
    the per cent of traffic copied to a deployment.
    """

    model: str | None = None
    deployments: dict[DeploymentName, Deployment] = {}
    traffic: dict[str, Annotated[int, Field(ge=0, le=100)]] = {}
    mirror: dict[str, Annotated[int, Field(ge=0, le=100)]] = {}
    capture: float = Field(default=0.0, ge=0, le=1)
    redact: tuple[str, ...] = ()
    monitor: Monitor | None = None
    timeout: Seconds = 60

    @model_validator(mode="before")
    @classmethod
    def _long_form(cls, data: Any) -> Any:
        """``model`` becomes the deployment ``blue``; what is said of servers here holds for every deployment."""
        if not isinstance(data, Mapping):
            return data
        full = dict(data)
        shared = {name: full.pop(name) for name in SHARED if name in full}
        deployments = full.get("deployments") or {}
        if full.get("model") is not None and not deployments:
            deployments = {"blue": {"model": full.pop("model")}}
        if isinstance(deployments, Mapping):
            full["deployments"] = {name: _with_defaults(each, shared) for name, each in deployments.items()}
            if not full.get("traffic") and len(deployments) == 1:
                full["traffic"] = dict.fromkeys(deployments, 100)
        return full

    @model_validator(mode="after")
    def _traffic_goes_somewhere(self) -> Self:
        if self.model is not None:
            raise ValueError("give either 'model' or 'deployments', not both")
        if not self.deployments:
            raise ValueError("give 'model' or at least one of 'deployments'")
        for field, weights in (("traffic", self.traffic), ("mirror", self.mirror)):
            if unknown := sorted(set(weights) - set(self.deployments)):
                raise ValueError(f"{field} names {unknown[0]!r}, which is not one of the deployments")
        if sum(self.traffic.values()) != 100:
            raise ValueError(f"traffic sums to {sum(self.traffic.values())}, not 100; name every deployment's share")
        return self


def _said(name: str, wrong: ErrorDetails) -> str:
    """What is wrong, and where, without pydantic's own words."""
    place = ".".join([name, *(str(each) for each in wrong["loc"] if each != "[key]")])
    if wrong["type"] == "string_pattern_mismatch":
        return f"{place}: {wrong['input']!r} is not a valid value"
    return f"{place}: {WORDS.get(wrong['type'], wrong['msg']).removeprefix('Value error, ')}"


Made = TypeVar("Made", bound=BaseModel)


WORDS = {"extra_forbidden": "there is no such field"}  # where pydantic's own words are about pydantic
_DURATION = "seconds, or a text such as 90s, 30m, 2h or 1d"
_SIZE = "bytes, or a text such as 512Mi or 4Gi"
FORMS = {  # what the values of these fields look like
    "gates": "a metric, a comparison and a number: 'auc >= 0.90'",
    "alias": "2 to 40 small letters, digits and hyphens: 'champion'",
    "memory": _SIZE,
    "disk": _SIZE,
    "shm": _SIZE,
    "timeout": _DURATION,
    "wait_timeout": _DURATION,
    "window": _DURATION,
}


def make(cls: type[Made], name: str, given: Mapping[str, Any]) -> Made:
    """A spec from fields; a ConfigError that names each wrong one, with a near miss where there is one."""
    try:
        return cls.model_validate(given)
    except ValidationError as error:
        wrong = error.errors()
        problems = [_said(name, each) for each in wrong]
        known = [field.alias or key for key, field in cls.model_fields.items()]
        unknown = [str(each["loc"][-1]) for each in wrong if each["type"] == "extra_forbidden"]
        close = [match for key in unknown for match in difflib.get_close_matches(key, known, n=1)]
        fields = [str(each["loc"][-1]) for each in wrong if each["type"] == "string_pattern_mismatch"]
        forms = dict.fromkeys(FORMS[field] for field in fields if field in FORMS)
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else "; ".join(forms) or None
        raise ConfigError("; ".join(problems), hint=hint) from error


def document(spec: BaseModel, leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A spec as plain JSON: defaults left out, keys as users write them."""
    plain: dict[str, Any] = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(leave_out))
    return plain


# What can change without replacing what runs: it is compared field by field, never by hash.
MUTABLE: Mapping[type[BaseModel], frozenset[str]] = {
    Model: frozenset({"alias", "approval", "labels", "gates"}),
    Deployment: frozenset({"scale", "labels"}),
    Endpoint: frozenset({"traffic", "mirror", "monitor", "labels", "deployments"}),
    TrainingJob: frozenset({"labels"}),
    Monitor: frozenset(),
}


def hash8(value: Any) -> str:
    """Eight hex digits of the SHA-256 of canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def spec_hash(spec: BaseModel) -> str:
    """The hash of what a planned spec runs: its fields without those that can change in place.

    An endpoint's covers its deployments' hashes, so it names what runs behind it, not how traffic is shared.
    """
    plain = document(spec, MUTABLE[type(spec)])
    if isinstance(spec, Endpoint):
        plain["deployments"] = {name: spec_hash(each) for name, each in sorted(spec.deployments.items())}
    return hash8([type(spec).__name__, plain])


def hashes(spec: BaseModel) -> frozenset[str]:
    """The hashes that parts of this want carry: its own, and those of an endpoint's deployments."""
    inner = spec.deployments.values() if isinstance(spec, Endpoint) else ()
    return frozenset({spec_hash(spec), *map(spec_hash, inner)})
