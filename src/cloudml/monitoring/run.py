"""One run of a monitor: captured traffic in, a report out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloudml.errors import ConfigError
from cloudml.monitoring.captured import Traffic, traffic_from_records
from cloudml.monitoring.checks import check
from cloudml.monitoring.predictions import is_prediction
from cloudml.monitoring.profile import Baseline, Profile
from cloudml.monitoring.report import Report
from cloudml.states import Captured


@dataclass(frozen=True)
class Comparison:
    """A report with what its plots are drawn from. Kept as ``report.to_json()`` and ``profile.to_json()``."""

    report: Report
    baseline: Baseline
    profile: Profile

    def html(self, title: str = "Drift report") -> str:
        """The report as one HTML page; see :func:`cloudml.monitoring.html.html`."""
        from cloudml.monitoring.html import html

        return html(self.report, self.baseline, self.profile, title=title)


def run(
    baseline: Mapping[str, Any],
    captured: Iterable[Captured],
    thresholds: Mapping[str, float],
    min_samples: int,
    *,
    redacted: Iterable[str] = (),
) -> Report:
    """Compares captured requests with a stored baseline; see :func:`compare`."""
    return compare(baseline, captured, thresholds, min_samples, redacted=redacted).report


def compare(
    baseline: Mapping[str, Any],
    captured: Iterable[Captured],
    thresholds: Mapping[str, float],
    min_samples: int,
    *,
    redacted: Iterable[str] = (),
) -> Comparison:
    """Compares captured requests with a stored baseline; see :func:`cloudml.monitoring.check`.

    ``redacted``: the fields that capture writes as null; their absence is no finding. Rows that do not fit the
    baseline are counted in ``report.malformed``. Answers that were not kept at all are shown as not captured.
    :raises ConfigError: an unknown statistic, or not one row that fits the baseline.
    """
    reference = Baseline.from_json(baseline)
    traffic = traffic_from_records(map(_record, captured), reference.names)
    if traffic.malformed and not traffic.rows:
        raise ConfigError(
            f"none of the {traffic.malformed} captured rows fits the baseline",
            hint=f"it has {len(reference.names)} features: {_shortened(reference.names)}",
        )
    profile = reference.window(traffic.rows, traffic.names, traffic.predictions)
    hidden = {*redacted, *_unanswered(reference, traffic)}
    report = check(reference, profile, thresholds, min_samples, traffic=traffic, not_captured=hidden)
    return Comparison(report, reference, profile)


def _record(each: Captured) -> dict[str, Any]:
    return {
        "inputs": each.inputs,
        "names": each.names,
        "outputs": each.outputs,
        "status": each.status,
        "latency_ms": each.latency_ms,
        "time": datetime.fromisoformat(each.time).timestamp(),
    }


def _unanswered(reference: Baseline, traffic: Traffic) -> list[str]:
    if traffic.predictions is not None:
        return []
    return [feature.name for feature in reference.features if is_prediction(feature.name)]


def _shortened(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
