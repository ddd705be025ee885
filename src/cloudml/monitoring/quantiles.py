"""Exact quantiles of a long column without sorting it: only the few buckets that hold the wanted ranks are sorted."""

from __future__ import annotations

from collections.abc import Sequence

from cloudml.monitoring.arrays import Floats, Ints, np
from cloudml.monitoring.buckets import BUCKETS, CHUNK, in_order, patterns

_WORTH_IT = 1 << 16
_SAMPLE = 4096


def quantiles(values: Floats, shares: Sequence[float]) -> list[float]:
    """What ``numpy.quantile(values, shares)`` gives for finite values, bit for bit, about five times as fast."""
    if len(values) < _WORTH_IT:
        found: list[float] = np.quantile(values, shares).tolist()
        return found
    virtual = np.asarray(shares) * (len(values) - 1)
    below = np.floor(virtual).astype(np.int64)
    low, high = np.split(_ranked(values, np.concatenate([below, np.minimum(below + 1, len(values) - 1)])), 2)
    step, weight = high - low, virtual - below
    between: list[float] = np.where(weight < 0.5, low + step * weight, high - step * (1 - weight)).tolist()
    return between


def _ranked(values: Floats, ranks: Ints) -> Floats:
    """The order statistics at ``ranks`` (0 = smallest)."""
    lower, center, upper = np.quantile(values[:: len(values) // _SAMPLE], (0.25, 0.5, 0.75))
    scale = 1 / (upper - lower) if 1e-300 < upper - lower < np.inf else 1.0
    places = np.empty(len(values), np.uint16)
    raw = np.zeros(BUCKETS, np.int64)
    largest = np.finfo(np.float32).max
    for start in range(0, len(values), CHUNK):
        z = (values[start : start + CHUNK] - center) * scale
        places[start : start + CHUNK] = patterns(np.clip(z, -largest, largest, out=z))
        raw += np.bincount(places[start : start + CHUNK], minlength=BUCKETS)
    counts = in_order(raw)
    until = np.cumsum(counts)
    buckets = np.searchsorted(until, ranks, side="right")
    wanted = np.zeros(BUCKETS, np.bool_)
    wanted[in_order(np.arange(BUCKETS))[buckets]] = True
    chosen = np.sort(values[wanted[places]])
    skipped = np.cumsum(np.where(in_order(wanted), 0, counts))  # rows of unwanted buckets up to each bucket
    found: Floats = chosen[ranks - skipped[buckets]]
    return found
