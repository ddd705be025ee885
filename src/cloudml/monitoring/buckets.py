"""65 536 ordered buckets for any number: the upper half of a float32's bits, counted from the reference's median.

``z = (x - center) * scale`` as float32, its bits shifted right by 16: sign, exponent and 7 bits of mantissa are left,
so a bucket is at most 1/128 as wide as its distance from the center. The map never decreases, needs no search, and
counts add up: profiles of replicas and of windows merge exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cloudml.monitoring.arrays import Floats, Ints, np

BUCKETS = 1 << 16
_ZERO = 1 << 15  # the ordered index of +0.0
_INFINITE = 0x7F80  # the magnitude bits of infinity: what overflows float32 belongs one below


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of the buckets that are not empty: ``index`` ascending, ``count`` beside it, both int64."""

    index: Ints
    count: Ints

    @property
    def total(self) -> int:
        return int(self.count.sum())

    def merge(self, other: Histogram) -> Histogram:
        index, mine, theirs = aligned(self, other)
        return Histogram(index, mine + theirs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return np.array_equal(self.index, other.index) and np.array_equal(self.count, other.count)

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> dict[str, list[int]]:
        """``step`` holds the differences of the indices: three digits at most in dense data."""
        return {"step": np.diff(self.index, prepend=0).tolist(), "count": self.count.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        return cls(np.cumsum(np.asarray(data["step"], np.int64)), np.asarray(data["count"], np.int64))


EMPTY = Histogram(np.zeros(0, np.int64), np.zeros(0, np.int64))


def dense(z: Floats) -> Ints:
    """Counts of all 65 536 raw bit patterns of the finite ``z``; add them up over chunks, then :func:`sparse`."""
    with np.errstate(over="ignore"):
        bits = z.astype(np.float32).view(np.uint32)
    return np.bincount(bits >> np.uint32(16), minlength=BUCKETS).astype(np.int64, copy=False)


def sparse(raw: Ints) -> Histogram:
    """The raw counts, overflow folded into the last finite buckets, in ascending order of value."""
    for sign in (0, _ZERO):
        raw[sign + _INFINITE - 1] += raw[sign + _INFINITE]
        raw[sign + _INFINITE] = 0
    ordered = np.concatenate([raw[: _ZERO - 1 : -1], raw[:_ZERO]])
    index = np.flatnonzero(ordered)
    return Histogram(index, ordered[index])


def aligned(one: Histogram, two: Histogram) -> tuple[Ints, Ints, Ints]:
    """The buckets that either has, and both counts over them."""
    index = np.union1d(one.index, two.index)
    counts = np.zeros((2, len(index)), np.int64)
    for row, histogram in zip(counts, (one, two), strict=True):
        row[np.searchsorted(index, histogram.index)] = histogram.count
    return index, counts[0], counts[1]


@cache
def bounds() -> tuple[Floats, Floats]:
    """Lower and upper bound of every ordered bucket, in units of ``z``."""
    magnitude = np.full(_ZERO + 1, np.finfo(np.float32).max, np.float64)  # from infinity on, no bucket is used
    magnitude[:_INFINITE] = (np.arange(_INFINITE, dtype=np.uint32) << np.uint32(16)).view(np.float32)
    return (
        np.concatenate([-magnitude[:0:-1], magnitude[:-1]]),
        np.concatenate([-magnitude[-2::-1], magnitude[1:]]),
    )
