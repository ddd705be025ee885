"""Distances and tests between two vectors of counts: pure functions of the reference's and the window's counts.

``reference`` and ``window`` are 1-D and hold the counts of the same bins in the same order; for :func:`ks` and
:func:`wasserstein` the bins are ordered. Each vector must hold at least one count. Logarithms are natural but for
Jensen-Shannon, which is in bits. p-values are asymptotic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cloudml.monitoring.arrays import Floats, Ints, np

Vector = Ints | Floats
SMALLEST_EXPECTED = 5.0  # Cochran's rule: below it, the chi-squared approximation does not hold


class Outcome(NamedTuple):
    """A statistic and how often chance alone gives as much; ``freedom``: degrees of freedom, 0 if there are none."""

    value: float
    p_value: float
    freedom: int = 0


def psi(reference: Vector, window: Vector) -> float:
    """Population stability index: sum of ``(q - p) ln(q / p)``; an empty bin counts as half a row."""
    p, q = (_shares(counts, 0.5) for counts in _occupied(reference, window))
    return float(((q - p) * np.log(q / p)).sum())


def js_divergence(reference: Vector, window: Vector) -> float:
    """Jensen-Shannon divergence in bits, 0 to 1."""
    p, q = (_shares(counts) for counts in _occupied(reference, window))
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = [np.where(share > 0, share * np.log2(share / middle), 0.0).sum() for share in (p, q)]
    return min(max(float(sum(bits)) / 2, 0.0), 1.0)


def js_distance(reference: Vector, window: Vector) -> float:
    """Square root of the divergence (base 2), 0 to 1."""
    return math.sqrt(js_divergence(reference, window))


def l_infinity(reference: Vector, window: Vector) -> float:
    """The largest gap between the two probabilities of one category."""
    return float(np.abs(_shares(reference) - _shares(window)).max())


def ks(reference: Vector, window: Vector) -> Outcome:
    """Two-sample Kolmogorov-Smirnov: the largest gap between the two cumulative shares at the bins' upper bounds."""
    n, m = float(reference.sum()), float(window.sum())
    gap = float(np.abs(np.cumsum(reference) / n - np.cumsum(window) / m).max())
    return Outcome(gap, kolmogorov_sf(gap * math.sqrt(n * m / (n + m))))


def chi_squared(reference: Vector, window: Vector) -> Outcome:
    """Pearson's test of homogeneity, without Yates' correction; bins that are empty in both do not count."""
    reference, window = _occupied(reference, window)
    if len(reference) < 2:
        return Outcome(0.0, 1.0)
    table = np.stack([reference, window]).astype(np.float64)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    value = float(((table - expected) ** 2 / expected).sum())
    freedom = table.shape[1] - 1
    return Outcome(value, chi_squared_sf(value, freedom), freedom)


def wasserstein(reference: Vector, window: Vector, lower: Floats, upper: Floats) -> float:
    """Area between the two cumulative shares, in the unit of the bounds; within a bin, rows lie evenly.

    ``lower``, ``upper``: the bins' bounds, ascending; between ``upper[i]`` and ``lower[i + 1]`` there may be a gap.
    """
    after = np.cumsum(window) / window.sum() - np.cumsum(reference) / reference.sum()
    before = np.concatenate([[0.0], after[:-1]])
    height = np.abs(before) + np.abs(after)
    crossing = before * after < 0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(crossing, (before**2 + after**2) / (2 * height), height / 2)
    return float((mean * (upper - lower)).sum() + (np.abs(after[:-1]) * (lower[1:] - upper[:-1])).sum())


def pooled(reference: Vector, window: Vector, rest: tuple[int, int] = (0, 0)) -> tuple[Vector, Vector]:
    """Bins expected fewer than 5 times in either sample, put together with ``rest`` into one last bin.

    ``rest``: the reference's and the window's rows in no bin. They are pooled however many they are: what the
    reference never saw is no bin that was chosen without looking at it, so alone it would seem to drift by chance.
    """
    n, m = reference.sum() + rest[0], window.sum() + rest[1]
    both = reference + window
    smallest = SMALLEST_EXPECTED * float(n + m) / float(min(n, m))
    order = np.argsort(both, kind="stable")
    pool = np.cumsum(both[order]) - both[order] + sum(rest)  # what the pool holds before each bin joins it
    joins = (both[order] < smallest) | ((pool > 0) & (pool < smallest))
    kept = np.sort(order[~joins])
    last = (n - reference[kept].sum(), m - window[kept].sum())
    return np.append(reference[kept], last[0]), np.append(window[kept], last[1])


def _occupied(reference: Vector, window: Vector) -> tuple[Vector, Vector]:
    kept = (reference + window) > 0
    return reference[kept], window[kept]


def _shares(counts: Vector, empty: float = 0.0) -> Floats:
    filled = np.where(counts > 0, counts, empty)
    shares: Floats = filled / counts.sum()
    return shares


def kolmogorov_sf(x: float) -> float:
    """P(K > x) of Kolmogorov's limit distribution."""
    if x <= 0.2:  # 1 to the last digit
        return 1.0
    if x < 1.18:  # the dual series converges faster here
        terms = sum(math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 6))
        return 1.0 - math.sqrt(2 * math.pi) / x * terms
    return 2.0 * sum((1 if k % 2 else -1) * math.exp(-2 * k * k * x * x) for k in range(1, 8))


def chi_squared_sf(x: float, freedom: int) -> float:
    """P(X > x) of the chi-squared distribution; 1 without any degree of freedom."""
    return gamma_q(freedom / 2, x / 2) if freedom > 0 else 1.0


def gamma_q(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function Q(a, x): a series below a + 1, a continued fraction above."""
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        step = a
        while term > total * 1e-17:
            step += 1
            term *= x / step
            total += term
        return max(1.0 - front * total, 0.0)
    return front * _lentz(a, x)


def _lentz(a: float, x: float) -> float:
    """The continued fraction of the upper gamma function by Lentz' method."""
    b = x + 1 - a
    c, d = 1e300, 1 / b
    fraction = d
    for step in range(1, 100_000):
        coefficient = -step * (step - a)
        b += 2
        d = 1 / (coefficient * d + b)
        c = b + coefficient / c
        fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return fraction


def rate_increase_p(hits: int, window: int, reference_hits: int, reference: int) -> float:
    """One-sided Fisher test: how often chance puts at least ``hits`` of all hits into the window's rows."""
    every, total = window + reference, hits + reference_hits
    if hits == 0 or window == 0 or hits * every <= total * window:  # not above what the pooled rate gives
        return 1.0
    term = math.exp(_log_choose(window, hits) + _log_choose(reference, reference_hits) - _log_choose(every, total))
    tail = term
    for k in range(hits, min(window, total)):
        term *= (window - k) * (total - k) / ((k + 1) * (reference - total + k + 1))
        tail += term
        if term < tail * 1e-17:
            break
    return min(tail, 1.0)


def outside_p(outside: int, window: int, reference: int) -> float:
    """How often chance puts ``outside`` rows or more of the window beyond the reference's two extremes.

    Exact for values without ties: of the ``outside + 1`` most extreme rows of both, at most one is the reference's.
    """
    if outside == 0 or reference < 2:
        return 1.0
    every = _log_choose(window + reference, outside + 1)
    none = math.exp(_log_choose(window, outside + 1) - every) if outside < window else 0.0
    return min(none + reference * math.exp(_log_choose(window, outside) - every), 1.0)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
