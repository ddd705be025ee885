"""Every statistic of one feature, from the reference's and the window's counts, each with its p-value."""

from __future__ import annotations

import math
from typing import NamedTuple

from cloudml.monitoring import statistics as stats
from cloudml.monitoring.arrays import np
from cloudml.monitoring.buckets import aligned, bounds
from cloudml.monitoring.counts import CategoricalCounts, Counts, NumericCounts
from cloudml.monitoring.features import CategoricalFeature, Feature, NumericFeature


class Measure(NamedTuple):
    """``p_value``: how often chance alone gives as much between two samples of these sizes.

    ``baseline``: what the reference itself has, for rates; a threshold is compared with the increase over it.
    """

    value: float
    p_value: float
    baseline: float = 0.0


Measures = dict[str, Measure]


def drift(feature: Feature, reference: Counts, window: Counts) -> Measures:
    """Distances of the window's distribution from the reference's; empty where either has no value."""
    if not reference.present or not window.present:
        return {}
    match feature, reference, window:
        case NumericFeature(), NumericCounts(), NumericCounts():
            return _numeric(feature, reference, window)
        case CategoricalFeature(), CategoricalCounts(), CategoricalCounts():
            return _categorical(reference, window)
    raise TypeError(f"{feature.name}: counts of another kind than the feature")


def _numeric(feature: NumericFeature, reference: NumericCounts, window: NumericCounts) -> Measures:
    """PSI and Jensen-Shannon over the reference's exact deciles, the others over the 65 536 buckets.

    The normalised Wasserstein distance is divided by the reference's standard deviation. It and L-infinity take
    their p-value from Kolmogorov-Smirnov.
    """
    index, expected, found = aligned(reference.histogram, window.histogram)
    lower, upper = (bound[index] for bound in bounds())
    ks = stats.ks(expected, found)
    area = stats.wasserstein(expected, found, lower, upper) / feature.scale / feature.spread
    bins = np.array(reference.bins, np.int64), np.array(window.bins, np.int64)
    return {
        **_binned(*bins, stats.chi_squared(*stats.pooled(*bins)).p_value),
        "ks": Measure(ks.value, ks.p_value),
        "wasserstein_normalized": Measure(min(area, 1e308), ks.p_value),
        "l_infinity": Measure(ks.value, ks.p_value),
    }


def _categorical(reference: CategoricalCounts, window: CategoricalCounts) -> Measures:
    """Over the categories, those beyond the baseline's list as one; rare ones pooled but for L-infinity."""
    expected, found = np.array(reference.counts, np.int64), np.array(window.counts, np.int64)
    rest = (reference.unlisted, window.unlisted)
    test = stats.chi_squared(*stats.pooled(expected, found, rest))
    gap = stats.l_infinity(np.append(expected, rest[0]), np.append(found, rest[1]))
    return {
        **_binned(*stats.pooled(expected, found, rest), test.p_value),
        "chi_squared": Measure(test.value, test.p_value),
        "l_infinity": Measure(gap, test.p_value),
    }


def _binned(reference: stats.Vector, window: stats.Vector, chance: float) -> Measures:
    """Without drift, PSI and 8 ln 2 JS follow chi-squared(B-1) (1/n + 1/m), as Pearson's statistic follows it.

    ``chance``, Pearson's own p-value, is taken for all: it holds in small bins, where PSI's logarithms overstate.
    """
    divergence = stats.js_divergence(reference, window)
    return {
        "psi": Measure(stats.psi(reference, window), chance),
        "js_divergence": Measure(divergence, chance),
        "js_distance": Measure(math.sqrt(divergence), chance),
    }


def quality(feature: Feature, reference: Counts, window: Counts) -> Measures:
    """Rates of what is wrong with the values, and how often chance alone raises them as far over the reference."""
    if not window.samples:
        return {}
    found = {"missing_rate": _rate(window.missing, window.samples, reference.missing, reference.samples)}
    match feature, reference, window:
        case NumericFeature(), NumericCounts(), NumericCounts():
            found["type_error_rate"] = _rate(
                window.type_errors, window.samples, reference.type_errors, reference.samples
            )
            if valued := window.present + window.infinite:
                outside = window.below + window.above + window.infinite
                chance = stats.outside_p(outside, valued, reference.present)
                found["out_of_range_rate"] = Measure(outside / valued, chance)
        case CategoricalFeature(complete=True), CategoricalCounts(), CategoricalCounts() if window.present:
            chance = _unseen_by_chance(reference, window)
            found["unseen_rate"] = Measure(window.unlisted / window.present, chance)
    return found


def _rate(hits: int, window: int, reference_hits: int, reference: int) -> Measure:
    chance = stats.rate_increase_p(hits, window, reference_hits, reference)
    return Measure(hits / window, chance, reference_hits / reference)


def _unseen_by_chance(reference: CategoricalCounts, window: CategoricalCounts) -> float:
    """Good-Turing: the share not seen at all is that of the categories seen once, f1 / n, with variance f1 + 2 f2.

    That is as sure as plain hits in ``weight * n`` rows would be; one more hit is granted, lest f1 = 0 be certain.
    """
    once = 1 + sum(times == 1 for times in reference.counts)
    twice = sum(times == 2 for times in reference.counts)
    weight = once / (once + 2 * twice)
    hits = math.ceil(weight * once)
    return stats.rate_increase_p(
        window.unlisted, window.present, hits, max(hits, math.floor(weight * reference.present))
    )
