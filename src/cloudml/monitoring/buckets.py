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

from cloudml.monitoring.arrays import Floats, Ints, np, npt

BUCKETS = 1 << 16
CHUNK = 1 << 16  # rows at a time: the temporaries stay in the processor's cache
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


def patterns(z: Floats) -> npt.NDArray[np.uint16]:
    """The raw bucket of each finite ``z``: the upper half of its float32 bits."""
    with np.errstate(over="ignore"):
        bits = z.astype(np.float32).view(np.uint32)
    return (bits >> np.uint32(16)).astype(np.uint16)


def dense(z: Floats) -> Ints:
    """Counts of all 65 536 raw buckets; add them up over chunks, then :func:`sparse`."""
    return np.bincount(patterns(z), minlength=BUCKETS).astype(np.int64, copy=False)


def in_order(raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """From raw order to ascending order of value: the negative ones backwards, then the positive ones."""
    return np.concatenate([raw[: _ZERO - 1 : -1], raw[:_ZERO]])


def sparse(raw: Ints) -> Histogram:
    """The raw counts in order; overflow goes to the last finite buckets, -0.0 to where 0.0 is, since they are equal."""
    raw = raw.copy()
    for home, fold in ((_INFINITE - 1, _INFINITE), (_ZERO + _INFINITE - 1, _ZERO + _INFINITE), (0, _ZERO)):
        raw[home] += raw[fold]
        raw[fold] = 0
    ordered = in_order(raw)
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
    lower = np.concatenate([-magnitude[:0:-1], magnitude[:-1]])
    upper = np.concatenate([-magnitude[-2::-1], magnitude[1:]])
    lower[_ZERO] = upper[_ZERO - 1] = lower[_ZERO - 1]  # the bucket of zero holds what rounds to -0.0 too
    return lower, upper
