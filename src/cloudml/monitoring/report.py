"""What a check says: a verdict, the findings that led to it, and every feature's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from cloudml.errors import ConfigError

SCHEMA_VERSION = 1


class Verdict(StrEnum):
    OK = "ok"
    DRIFT = "drift"
    TOO_FEW = "too few samples"


@dataclass(frozen=True)
class Finding:
    """One statistic of one feature over its threshold and beyond chance; ``feature`` is None for the whole service."""

    feature: str | None
    statistic: str
    value: float
    threshold: float
    p_value: float | None
    message: str


@dataclass(frozen=True)
class FeatureReport:
    """``statistics``: value by name; ``p_values``: of those that have one; the means are None for categories.

    ``captured`` is False for a feature that capture was told to leave out: it has no statistics and is not judged.
    """

    name: str
    kind: str
    samples: int
    statistics: Mapping[str, float]
    drifted: bool
    p_values: Mapping[str, float] = field(default_factory=dict)
    mean: float | None = None
    reference_mean: float | None = None
    captured: bool = True

    @property
    def severity(self) -> tuple[bool, float, str]:
        """Sorts the worst first: drifted, then by PSI."""
        return not self.drifted, -self.statistics.get("psi", 0.0), self.name


@dataclass(frozen=True)
class Report:
    """``samples``: rows of the window; ``window``: seconds since the epoch; ``latency``: p50, p95, p99 in ms.

    ``thresholds``: by statistic, those that were asked for; ``reference_samples``: rows of the baseline;
    ``malformed``: captured rows that fit no baseline and were left out; ``errors`` of ``requests`` failed.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    features: tuple[FeatureReport, ...]
    samples: int
    min_samples: int
    false_alarm_rate: float
    window: tuple[float, float] | None = None
    latency: Mapping[str, float] | None = None
    error_rate: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    reference_samples: int | None = None
    malformed: int = 0
    requests: int | None = None
    errors: int | None = None

    @property
    def drifted(self) -> bool:
        return self.verdict is Verdict.DRIFT

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences for people: why the verdict is not ``ok``; empty if it is."""
        if self.verdict is Verdict.TOO_FEW:
            return (f"{self.samples} rows in the window, {self.min_samples} are needed for a verdict",)
        return tuple(finding.message for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value without NaN or infinity; :func:`report_from_json` reads it back."""
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": str(self.verdict),
            "drifted": self.drifted,
            "reasons": list(self.reasons),
            **{name: value for name, value in asdict(self).items() if name not in ("verdict", "window")},
            "findings": [asdict(finding) for finding in self.findings],
            "features": [asdict(feature) for feature in self.features],
            "window": list(self.window) if self.window else None,
        }

    def __str__(self) -> str:
        """The table that a terminal shows."""
        from cloudml.monitoring.table import table

        return table(self)

    def _repr_html_(self) -> str:
        """The verdict, its reasons and the table, for a notebook."""
        from cloudml.monitoring.summary import notebook

        return notebook(self)


def report_from_json(data: Mapping[str, Any]) -> Report:
    """The report that was kept as ``to_json()``, equal to the first.

    :raises ConfigError: another schema version, or no report.
    """
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ConfigError(f"this report has schema_version {version!r}, this cloudml reads {SCHEMA_VERSION}")
    derived = ("schema_version", "drifted", "reasons")
    try:
        fields = {name: value for name, value in data.items() if name not in derived}
        return Report(
            **{
                **fields,
                "verdict": Verdict(data["verdict"]),
                "findings": tuple(Finding(**finding) for finding in data["findings"]),
                "features": tuple(FeatureReport(**feature) for feature in data["features"]),
                "window": tuple(data["window"]) if data.get("window") else None,
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"this is no report of cloudml: {error}") from error
