"""A report in the files of SageMaker Model Monitor: ``statistics.json`` and ``constraint_violations.json``.

Their schemas are those of SageMaker's developer guide ("Schema for Statistics", "Schema for Violations"), so that
Studio and other readers of them open what this monitor found. Spreads and sketches come from the histogram, whose
buckets are at most 1/128 of their distance from the median wide.
"""

from __future__ import annotations

from typing import Any

from cloudml.monitoring.arrays import Floats, np
from cloudml.monitoring.buckets import bounds
from cloudml.monitoring.counts import CategoricalCounts, NumericCounts
from cloudml.monitoring.features import CategoricalFeature, NumericFeature
from cloudml.monitoring.profile import Baseline, Profile
from cloudml.monitoring.report import Report

BINS = 10  # as the schema has it
SKETCHED = 100  # values, by equal shares
CHECKS = {  # what is no row here is a distance of distributions
    "missing_rate": "completeness_check",
    "type_error_rate": "data_type_check",
    "unseen_rate": "categorical_values_check",
}


def statistics(baseline: Baseline, profile: Profile) -> dict[str, Any]:
    """``statistics.json`` of a window."""
    features = []
    for feature in baseline.features:
        counts = profile.counts[feature.name]
        if isinstance(feature, NumericFeature) and isinstance(counts, NumericCounts):
            features.append(_numeric(feature, counts))
        elif isinstance(feature, CategoricalFeature) and isinstance(counts, CategoricalCounts):
            features.append(_categorical(feature, counts))
    return {"version": 0.0, "dataset": {"item_count": profile.samples}, "features": features}


def violations(report: Report) -> dict[str, Any]:
    """``constraint_violations.json``; latency and errors of the service are no feature's and not in it."""
    return {
        "violations": [
            {
                "feature_name": finding.feature,
                "constraint_check_type": CHECKS.get(finding.statistic, "baseline_drift_check"),
                "description": finding.message,
            }
            for finding in report.findings
            if finding.feature is not None
        ]
    }


def _common(counts: NumericCounts | CategoricalCounts) -> dict[str, int]:
    return {"num_present": counts.present, "num_missing": counts.samples - counts.present}


def _categorical(feature: CategoricalFeature, counts: CategoricalCounts) -> dict[str, Any]:
    found = [(name, count) for name, count in zip(feature.categories, counts.counts, strict=True) if count]
    found += counts.examples
    return {
        "name": feature.name,
        "inferred_type": "String",
        "string_statistics": {
            "common": _common(counts),
            "distinct_count": float(len(found)),
            "distribution": {"categorical": {"buckets": [{"value": name, "count": count} for name, count in found]}},
        },
    }


def _numeric(feature: NumericFeature, counts: NumericCounts) -> dict[str, Any]:
    found: dict[str, Any] = {"common": _common(counts)}
    mean = counts.mean(feature)
    if mean is not None and counts.minimum is not None and counts.maximum is not None:
        low, high = counts.minimum, counts.maximum
        values = _values(feature, counts, low, high)
        count = counts.histogram.count
        spread = float(np.sqrt(np.average((values - mean) ** 2, weights=count)))
        found |= {"mean": mean, "sum": mean * counts.present, "std_dev": spread, "min": low, "max": high}
        found["distribution"] = {"kll": _kll(values, count, low, high)}
    return {"name": feature.name, "inferred_type": "Fractional", "numerical_statistics": found}


def _values(feature: NumericFeature, counts: NumericCounts, low: float, high: float) -> Floats:
    """The middle of each bucket that holds something."""
    lower, upper = bounds()
    index = counts.histogram.index
    middle: Floats = np.clip(feature.center + (lower[index] + upper[index]) / 2 / feature.scale, low, high)
    return middle


def _kll(values: Floats, count: Any, low: float, high: float) -> dict[str, Any]:
    edges = np.linspace(low, high, BINS + 1)
    held, _ = np.histogram(values, bins=edges if high > low else BINS, weights=count)
    buckets = [
        {"lower_bound": float(edges[at]), "upper_bound": float(edges[at + 1]), "count": float(held[at])}
        for at in range(BINS)
    ]
    if high <= low:  # a constant stands in one bucket
        buckets = [{"lower_bound": low, "upper_bound": high, "count": float(count.sum())}]
    ranks = (np.arange(SKETCHED) + 0.5) / SKETCHED * count.sum()
    sketch = values[np.searchsorted(np.cumsum(count), ranks)].tolist()
    return {"buckets": buckets, "sketch": {"parameters": {"c": 0.64, "k": float(SKETCHED)}, "data": [sketch]}}
