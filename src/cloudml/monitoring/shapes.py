"""What a plot shows of two windows' counts: shares per bin in real units, and quantiles, from the 65 536 buckets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cloudml.monitoring.arrays import Floats, Ints, np
from cloudml.monitoring.buckets import bounds
from cloudml.monitoring.counts import CategoricalCounts, NumericCounts
from cloudml.monitoring.features import CategoricalFeature, NumericFeature

EXTREMES = (0.005, 0.995)  # beyond these the axis ends, unless the whole range is little more
MUCH_MORE = 1.6
LOG_FROM = 30.0  # upper extreme over median: beyond it a linear axis shows one bar
TOP_CATEGORIES = 15
LARGEST = 1e290  # beyond it there is no axis


@dataclass(frozen=True, eq=False)
class Bars:
    """Shares (0 to 1) of the values present, per bin; ``beyond``: reference's and window's share off the axis."""

    edges: Floats
    reference: Floats
    window: Floats
    beyond: tuple[float, float]
    log: bool = False


@dataclass(frozen=True)
class Pairs:
    """Shares (0 to 1) per label; the last labels are what is not listed."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    window: tuple[float, ...]


def quantile(feature: NumericFeature, counts: NumericCounts, share: float) -> float | None:
    """Off by at most 1/128 of the distance from the reference's median; a whole number where all values are whole."""
    if not counts.present:
        return None
    lower, upper, count = _support(feature, counts)
    after = np.cumsum(count)
    rank = share * after[-1]
    at = int(np.searchsorted(after, rank))
    within = (rank - (after[at] - count[at])) / count[at]
    found = float(lower[at] * (1 - within) + within * upper[at])
    return float(round(found)) if _whole(feature, lower, upper) else found


def bars(feature: NumericFeature, reference: NumericCounts, window: NumericCounts) -> Bars | None:
    """Both over the same bins of round width; None without any number, or beyond 1e290."""
    counted = [counts for counts in (reference, window) if counts.present]
    ends = [end for counts in counted for end in (counts.minimum, counts.maximum) if end is not None]
    if not ends or max(map(abs, ends)) > LARGEST:
        return None
    edges, log = _edges(feature, counted)
    if not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        return None
    before, now = _shares(edges, feature, reference), _shares(edges, feature, window)
    beyond = (_off(before, reference), _off(now, window))
    return Bars(edges, before, now, beyond, log)


def _off(shares: Floats, counts: NumericCounts) -> float:
    return max(1 - float(shares.sum()), 0.0) if counts.present else 0.0


def pairs(feature: CategoricalFeature, reference: CategoricalCounts, window: CategoricalCounts) -> Pairs:
    """The 15 categories with the largest share in either, the reference's most frequent first, then the rest."""
    before = [times / max(reference.present, 1) for times in reference.counts]
    after = [times / max(window.present, 1) for times in window.counts]
    ranked = sorted(range(len(before)), key=lambda at: max(before[at], after[at]), reverse=True)
    shown = sorted(ranked[:TOP_CATEGORIES])
    labels = [feature.categories[at] for at in shown]
    expected, found = [before[at] for at in shown], [after[at] for at in shown]
    if left := len(before) - len(shown):
        hidden = ranked[TOP_CATEGORIES:]
        labels.append(f"{left} other categories")
        expected.append(sum(before[at] for at in hidden))
        found.append(sum(after[at] for at in hidden))
    if window.unlisted or reference.unlisted:
        labels.append("never seen in the reference" if feature.complete else "beyond the listed categories")
        expected.append(reference.unlisted / max(reference.present, 1))
        found.append(window.unlisted / max(window.present, 1))
    return Pairs(tuple(labels), tuple(expected), tuple(found))


def _support(feature: NumericFeature, counts: NumericCounts) -> tuple[Floats, Floats, Ints]:
    """Bounds of the occupied buckets in real units, within the values' own range, and their counts."""
    index = counts.histogram.index
    low, high = counts.minimum or 0.0, counts.maximum or 0.0
    with np.errstate(over="ignore"):
        lower, upper = (np.clip(feature.center + bound[index] / feature.scale, low, high) for bound in bounds())
    return lower, upper, counts.histogram.count


def _edges(feature: NumericFeature, counted: list[NumericCounts]) -> tuple[Floats, bool]:
    low, high = _range(feature, counted)
    wanted = min(max(2.6 * min(counts.present for counts in counted) ** (1 / 3), 18), 36)
    if low > 1 / LARGEST and high / max(feature.center, 1e-300) > LOG_FROM:
        step = next(
            width for width in (0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 50) if width * wanted >= _log(high, low)
        )
        first, last = math.floor(math.log10(low) / step), math.ceil(math.log10(high) / step)
        powers: Floats = np.arange(first, max(last, first + 1) + 1, dtype=np.float64) * float(step)
        return 10.0**powers, True
    if high - low <= max(abs(low), abs(high)) * 1e-12 or high - low < 1 / LARGEST:
        margin = max(abs(low), 1 / LARGEST) * 0.05 if low else 0.5
        around: Floats = low + margin * (np.arange(12, dtype=np.float64) / 5.5 - 1)
        return around, False
    whole = all(_whole(feature, *_support(feature, counts)[:2]) for counts in counted)
    step = round_step((high - low) / wanted)
    offset = 0.0
    if whole:
        step = max(1.0, round_step((high - low) / wanted, halves=False))
        offset = -0.5
    first = math.floor((low - offset) / step)
    last = max(math.ceil((high - offset) / step), first + 1)
    if whole and (last * step + offset) <= high:
        last += 1
    even: Floats = np.arange(first, last + 1, dtype=np.float64) * step + offset
    return even, False


def _log(high: float, low: float) -> float:
    return math.log10(high) - math.log10(low)


def _range(feature: NumericFeature, counted: list[NumericCounts]) -> tuple[float, float]:
    low = min(counts.minimum for counts in counted if counts.minimum is not None)
    high = max(counts.maximum for counts in counted if counts.maximum is not None)
    ends = [[quantile(feature, counts, share) for counts in counted] for share in EXTREMES]
    bottom = min(end for end in ends[0] if end is not None)
    top = max(end for end in ends[1] if end is not None)
    if top <= bottom or high - low <= MUCH_MORE * (top - bottom):
        return low, high
    return bottom, top


def _whole(feature: NumericFeature, lower: Floats, upper: Floats) -> bool:
    """Whether every bucket can hold a whole number: what is counted are whole numbers, near enough."""
    with np.errstate(over="ignore"):
        slack = 1e-6 * np.abs(lower - feature.center)  # float32 rounds
        return bool((np.ceil(lower - slack) <= upper + slack).all())


def round_step(width: float, halves: bool = True) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least ``width``."""
    if not width > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(width))
    return next(power * digit for digit in ((1, 2, 2.5, 5, 10) if halves else (1, 2, 5, 10)) if power * digit >= width)


def _shares(edges: Floats, feature: NumericFeature, counts: NumericCounts) -> Floats:
    """A narrow bucket falls into one bin as a whole, so that equal values are not torn; a wide one is spread."""
    found = np.zeros(len(edges) - 1)
    if not counts.present:
        return found
    lower, upper, count = _support(feature, counts)
    middle = lower / 2 + upper / 2
    at = np.searchsorted(edges, middle, side="right") - 1
    at[middle == edges[-1]] = len(found) - 1
    inside = (at >= 0) & (at < len(found))
    narrow = (upper - lower) * 50 < np.diff(edges)[np.clip(at, 0, len(found) - 1)]
    np.add.at(found, at[inside & narrow], count[inside & narrow])
    if not narrow.all():
        ends = np.stack([lower[~narrow], upper[~narrow]], axis=1).ravel()
        after = np.cumsum(count[~narrow])
        steps = np.stack([after - count[~narrow], after], axis=1).ravel()
        found += np.diff(np.interp(edges, ends, steps, left=0.0))
    return found / counts.present
