"""A window against its baseline: thresholds say what matters, tests say what is more than chance.

A threshold crossing becomes a finding only if its p-value is rejected by Holm's procedure over all features and
statistics of the report, so that a drift-free window is called drifted at most at ``false_alarm_rate`` (1 %).
Measured with ``benchmarks/false_alarms.py``, 30 features, reference of 500 and of 10 000 rows, windows of 200 to 5000,
3200 drift-free windows in all: 0.06 % with the default thresholds (worst setting 0.25 %); with every threshold at 0,
where chance alone decides, 0.31 % (worst 0.75 %).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from cloudml.errors import ConfigError
from cloudml.monitoring import measures
from cloudml.monitoring.captured import Traffic
from cloudml.monitoring.columns import nearest
from cloudml.monitoring.counts import CategoricalCounts, Counts, NumericCounts
from cloudml.monitoring.features import CategoricalFeature, Feature, NumericFeature
from cloudml.monitoring.measures import Measure
from cloudml.monitoring.profile import Baseline, Profile
from cloudml.monitoring.report import FeatureReport, Finding, Report, Verdict

DRIFT_STATISTICS = (
    "psi",
    "ks",
    "js_distance",
    "js_divergence",
    "wasserstein_normalized",
    "chi_squared",
    "l_infinity",
)
QUALITY_STATISTICS = ("missing_rate", "type_error_rate", "out_of_range_rate", "unseen_rate")
SERVICE_STATISTICS = ("latency_p50", "latency_p95", "latency_p99", "error_rate")
STATISTICS = (*DRIFT_STATISTICS, *QUALITY_STATISTICS, *SERVICE_STATISTICS)

# PSI: the credit-scoring rule of thumb, below 0.1 stable, over 0.2 or 0.25 a shift. Rates: SageMaker Model Monitor's
# own defaults (datatype_check_threshold, domain_content_threshold: 0.1).
DEFAULTS = {"psi": 0.2, **dict.fromkeys(QUALITY_STATISTICS, 0.1)}
MIN_SAMPLES = 200
FALSE_ALARM_RATE = 0.01


class Thresholds(Mapping[str, float]):
    """Statistic -> threshold.

    Naming any distribution statistic replaces the default ``{"psi": 0.2}``; the rates' defaults (0.1) stay unless
    named; None switches a statistic off. Rates are compared as their increase over the baseline's own rate,
    ``chi_squared`` as the raw statistic, latencies in ms.
    :raises ConfigError: an unknown statistic, or a threshold that is not a number of zero or more.
    """

    def __init__(self, given: Mapping[str, float | None] | None = None) -> None:
        chosen: dict[str, Any] = dict(given or {})
        for name, value in chosen.items():
            if name not in STATISTICS:
                hint = nearest(name, STATISTICS) or f"known: {', '.join(STATISTICS)}"
                raise ConfigError(f"unknown statistic {name!r}", hint=hint)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0):
                raise ConfigError(f"the threshold of {name} must be a number of zero or more, not {value!r}")
        own_drift = any(name in DRIFT_STATISTICS for name in chosen)
        kept = {name: limit for name, limit in DEFAULTS.items() if not (own_drift and name in DRIFT_STATISTICS)}
        self._limits = {name: float(limit) for name, limit in {**kept, **chosen}.items() if limit is not None}

    def __getitem__(self, name: str) -> float:
        return self._limits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)

    def __repr__(self) -> str:
        return f"Thresholds({self._limits})"


class _Test(NamedTuple):
    feature: Feature
    statistic: str
    measure: Measure
    limit: float


def check(
    baseline: Baseline,
    profile: Profile,
    thresholds: Mapping[str, float | None] | None = None,
    min_samples: int = MIN_SAMPLES,
    *,
    traffic: Traffic | None = None,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    not_captured: Collection[str] = (),
) -> Report:
    """Compare a window's profile with its baseline.

    Below ``min_samples`` rows there is no verdict; a feature with fewer values present is judged by its rates only.
    ``traffic`` adds latency and error rate, and lets thresholds on them be findings (plain crossings, no test).
    ``not_captured`` names features that were left out on purpose (redacted): missing in every row, they are shown as
    not captured instead of judged; missing in some, their missing rate is not judged. Any other feature that is
    missing in every row is a finding: an input that broke looks the same, and must not be taken for a redacted one.
    :raises ConfigError: an unknown statistic, or a profile that was counted on another baseline.
    """
    if profile.baseline != baseline.profile.baseline:
        raise ConfigError("this profile was counted on another baseline")
    limits = thresholds if isinstance(thresholds, Thresholds) else Thresholds(thresholds)
    judged = profile.samples >= min_samples
    found, tests = _measure(baseline, profile, limits, min_samples, not_captured)
    alarms = _alarms(tests, false_alarm_rate) if judged else []
    findings = [_finding(baseline, profile, test) for test in alarms]
    findings += _service_findings(traffic, limits) if judged else []
    drifted = {finding.feature for finding in findings}
    return Report(
        verdict=Verdict.DRIFT if findings else Verdict.OK if judged else Verdict.TOO_FEW,
        findings=tuple(findings),
        features=tuple(
            _feature_report(baseline, profile, feature, found.get(feature.name), feature.name in drifted)
            for feature in baseline.features
        ),
        samples=profile.samples,
        min_samples=min_samples,
        false_alarm_rate=false_alarm_rate,
        thresholds=dict(limits),
        reference_samples=baseline.samples,
        **_service(traffic),
    )


def _service(traffic: Traffic | None) -> dict[str, Any]:
    if traffic is None:
        return {}
    fields = ("window", "latency", "error_rate", "malformed", "requests", "errors")
    return {name: getattr(traffic, name) for name in fields}


def _measure(
    baseline: Baseline, profile: Profile, limits: Thresholds, min_samples: int, not_captured: Collection[str]
) -> tuple[dict[str, measures.Measures], list[_Test]]:
    """Every feature's measures, and those of them that have a threshold and samples enough to be judged by it."""
    found: dict[str, measures.Measures] = {}
    tests: list[_Test] = []
    for feature in baseline.features:
        reference, window = baseline.profile.counts[feature.name], profile.counts[feature.name]
        if feature.name in not_captured and window.missing == window.samples:
            continue
        drift = measures.drift(feature, reference, window)
        quality = measures.quality(feature, reference, window)
        found[feature.name] = {**drift, **quality}
        testable = dict(found[feature.name] if window.present >= min_samples else quality)
        if feature.name in not_captured:
            testable.pop("missing_rate", None)
        tests += [_Test(feature, name, testable[name], limits[name]) for name in limits if name in testable]
    return found, tests


def _alarms(tests: list[_Test], false_alarm_rate: float) -> list[_Test]:
    """The crossings among the tests that Holm's procedure rejects, the worst first."""
    ranked = sorted(tests, key=lambda test: test.measure.p_value)
    rejected = 0
    while rejected < len(ranked) and ranked[rejected].measure.p_value <= false_alarm_rate / (len(ranked) - rejected):
        rejected += 1
    crossings = [test for test in ranked[:rejected] if test.measure.value - test.measure.baseline > test.limit]
    return sorted(crossings, key=lambda test: (test.measure.value + 1e-12) / (test.limit + 1e-12), reverse=True)


def _finding(baseline: Baseline, profile: Profile, test: _Test) -> Finding:
    name, measure = test.feature.name, test.measure
    reference, window = baseline.profile.counts[name], profile.counts[name]
    over = f"{name}: {test.statistic} {measure.value:.3g} over {test.limit:.3g}"
    if test.statistic == "missing_rate" and window.missing == window.samples:
        detail = ": missing in every row, so not sent or not captured"
    elif test.statistic in QUALITY_STATISTICS:
        detail = f" (baseline {measure.baseline:.3g})" if measure.baseline else _examples(window, test.statistic)
    else:
        detail = _change(test.feature, reference, window)
    return Finding(name, test.statistic, measure.value, test.limit, measure.p_value, over + detail)


def _examples(window: Counts, statistic: str) -> str:
    if statistic != "unseen_rate" or not isinstance(window, CategoricalCounts) or not window.examples:
        return ""
    return ", such as " + ", ".join(repr(name) for name, _ in window.examples[:3])


def _change(feature: Feature, reference: Counts, window: Counts) -> str:
    """What changed, in a few words: the mean, or the category whose share moved most."""
    match feature, reference, window:
        case NumericFeature(), NumericCounts(), NumericCounts():
            return f", mean {reference.mean(feature):.4g} → {window.mean(feature):.4g}"
        case CategoricalFeature(), CategoricalCounts(), CategoricalCounts():
            names = [*map(repr, feature.categories), "unseen categories" if feature.complete else "other categories"]
            before = [times / reference.present for times in (*reference.counts, reference.unlisted)]
            after = [times / window.present for times in (*window.counts, window.unlisted)]
            at = max(range(len(names)), key=lambda position: abs(after[position] - before[position]))
            return f", {names[at]} {before[at]:.3g} → {after[at]:.3g}"
    return ""


def _service_findings(traffic: Traffic | None, limits: Thresholds) -> list[Finding]:
    if traffic is None:
        return []
    measured = {f"latency_{name}": value for name, value in (traffic.latency or {}).items()}
    if traffic.error_rate is not None:
        measured["error_rate"] = traffic.error_rate
    crossed = [name for name in limits if name in measured and measured[name] > limits[name]]
    return [
        Finding(None, name, measured[name], limits[name], None, f"{name} {measured[name]:.3g} over {limits[name]:.3g}")
        for name in crossed
    ]


def _feature_report(
    baseline: Baseline, profile: Profile, feature: Feature, found: measures.Measures | None, drifted: bool
) -> FeatureReport:
    reference, window = baseline.profile.counts[feature.name], profile.counts[feature.name]
    means: dict[str, float | None] = {}
    match feature, reference, window:
        case NumericFeature(), NumericCounts(), NumericCounts():
            means = {"mean": window.mean(feature), "reference_mean": reference.mean(feature)}
    measured = found or {}
    return FeatureReport(
        name=feature.name,
        kind=str(feature.kind),
        samples=window.present,
        statistics={name: measure.value for name, measure in measured.items()},
        drifted=drifted,
        p_values={name: measure.p_value for name, measure in measured.items()},
        captured=found is not None,
        **means,
    )
