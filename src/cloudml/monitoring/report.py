"""What a check says: a verdict, the findings that led to it, and every feature's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

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
    """``statistics``: value by name; ``p_values``: of those that have one; the means are None for categories."""

    name: str
    kind: str
    samples: int
    statistics: Mapping[str, float]
    drifted: bool
    p_values: Mapping[str, float] = field(default_factory=dict)
    mean: float | None = None
    reference_mean: float | None = None


@dataclass(frozen=True)
class Report:
    """``samples``: rows of the window; ``window``: seconds since the epoch; ``latency``: p50, p95, p99 in ms."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    features: tuple[FeatureReport, ...]
    samples: int
    min_samples: int
    false_alarm_rate: float
    window: tuple[float, float] | None = None
    latency: Mapping[str, float] | None = None
    error_rate: float | None = None

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
        """A plain JSON value without NaN or infinity."""
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
