"""What is counted of one feature in one window. Everything merges by integer addition, minimum and maximum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import add
from typing import Any

from cloudml.errors import ConfigError
from cloudml.monitoring.arrays import Floats, np
from cloudml.monitoring.buckets import BUCKETS, CHUNK, EMPTY, Histogram, dense, sparse
from cloudml.monitoring.columns import Categories, Column, Numbers, categories, length, numbers
from cloudml.monitoring.features import CategoricalFeature, Feature, NumericFeature

UNIT = 1 << 20  # the sum is kept in whole millionths of an IQR, so that it does not depend on the order of rows
_LARGE = float(1 << 16)  # below it, a chunk's float64 sum of whole units is exact: 2**16 * 2**20 * 2**16 < 2**53
UNLISTED_NAMES = 20


@dataclass(frozen=True)
class NumericCounts:
    """Counts of a numeric feature; ``bins`` lie between the reference's deciles, ``total`` is the sum of z in units.

    ``samples`` counts every row; of these ``missing`` (None, NaN), ``type_errors`` (no number) and ``infinite`` are
    not in the histogram; ``below`` and ``above`` (finite, outside the reference's range) are.
    """

    samples: int
    missing: int
    type_errors: int
    infinite: int
    below: int
    above: int
    total: int
    minimum: float | None
    maximum: float | None
    bins: tuple[int, ...]
    histogram: Histogram

    @property
    def present(self) -> int:
        return self.samples - self.missing - self.type_errors - self.infinite

    def mean(self, feature: NumericFeature) -> float | None:
        """Mean of the finite values, exact to a millionth of the reference's IQR."""
        if not self.present or self.minimum is None or self.maximum is None:
            return None
        mean = feature.center + self.total / (UNIT * self.present) / feature.scale
        return min(max(mean, self.minimum), self.maximum)

    def merge(self, other: NumericCounts) -> NumericCounts:
        minima = [low for low in (self.minimum, other.minimum) if low is not None]
        maxima = [high for high in (self.maximum, other.maximum) if high is not None]
        return NumericCounts(
            samples=self.samples + other.samples,
            missing=self.missing + other.missing,
            type_errors=self.type_errors + other.type_errors,
            infinite=self.infinite + other.infinite,
            below=self.below + other.below,
            above=self.above + other.above,
            total=self.total + other.total,
            minimum=min(minima, default=None),
            maximum=max(maxima, default=None),
            bins=tuple(map(add, self.bins, other.bins)),
            histogram=self.histogram.merge(other.histogram),
        )

    def to_json(self) -> dict[str, Any]:
        fields = ("samples", "missing", "type_errors", "infinite", "below", "above", "minimum", "maximum")
        return {
            **{name: getattr(self, name) for name in fields},
            "total": str(self.total),  # may be beyond 64 bits, which JSON readers do not agree on
            "bins": list(self.bins),
            "histogram": self.histogram.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NumericCounts:
        histogram = Histogram.from_json(data["histogram"])
        return cls(**{**data, "total": int(data["total"]), "bins": tuple(data["bins"]), "histogram": histogram})


@dataclass(frozen=True)
class CategoricalCounts:
    """Counts of a categorical feature: ``counts`` beside the feature's categories, ``unlisted`` all others.

    ``examples``: the alphabetically first 20 unlisted categories with their counts (exact under merging, unlike the
    most frequent 20).
    """

    samples: int
    missing: int
    counts: tuple[int, ...]
    unlisted: int
    examples: tuple[tuple[str, int], ...]

    @property
    def present(self) -> int:
        return self.samples - self.missing

    def merge(self, other: CategoricalCounts) -> CategoricalCounts:
        examples = dict(self.examples)
        for name, times in other.examples:
            examples[name] = examples.get(name, 0) + times
        return CategoricalCounts(
            samples=self.samples + other.samples,
            missing=self.missing + other.missing,
            counts=tuple(map(add, self.counts, other.counts)),
            unlisted=self.unlisted + other.unlisted,
            examples=tuple(sorted(examples.items())[:UNLISTED_NAMES]),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "missing": self.missing,
            "counts": list(self.counts),
            "unlisted": self.unlisted,
            "examples": [list(example) for example in self.examples],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CategoricalCounts:
        examples = tuple((name, times) for name, times in data["examples"])
        return cls(**{**data, "counts": tuple(data["counts"]), "examples": examples})


Counts = NumericCounts | CategoricalCounts


def merged(one: Counts, two: Counts) -> Counts:
    match one, two:
        case NumericCounts(), NumericCounts():
            return one.merge(two)
        case CategoricalCounts(), CategoricalCounts():
            return one.merge(two)
    raise ConfigError("a numeric and a categorical feature do not merge")


def counts_from_json(data: Mapping[str, Any]) -> Counts:
    return NumericCounts.from_json(data) if "bins" in data else CategoricalCounts.from_json(data)


def count(feature: Feature, column: Column) -> Counts:
    """Count a column on the feature's frozen scale."""
    if isinstance(feature, CategoricalFeature):
        return count_categories(feature, categories(column), length(column))
    return count_numbers(feature, numbers(column), length(column))


def count_categories(feature: CategoricalFeature, found: Categories, samples: int) -> CategoricalCounts:
    unlisted = {name: found.counts[name] for name in found.counts.keys() - set(feature.categories)}
    return CategoricalCounts(
        samples=samples,
        missing=found.missing,
        counts=tuple(found.counts.get(name, 0) for name in feature.categories),
        unlisted=sum(unlisted.values()),
        examples=tuple(sorted(unlisted.items())[:UNLISTED_NAMES]),
    )


def count_numbers(feature: NumericFeature, found: Numbers, samples: int) -> NumericCounts:
    tally = _Tally(feature)
    for start in range(0, len(found.values), CHUNK):
        tally.add(found.values[start : start + CHUNK].astype(np.float64, copy=False))
    return tally.counts(samples, found.type_errors)


class _Tally:
    """One pass over the chunks of a numeric column."""

    def __init__(self, feature: NumericFeature) -> None:
        self.feature = feature
        self.raw = np.zeros(BUCKETS, np.int64)
        self.at_most = np.zeros(len(feature.edges), np.int64)
        self.present = self.infinite = self.below = self.above = self.total = 0
        self.minimum, self.maximum = float("inf"), float("-inf")

    def add(self, chunk: Floats) -> None:
        low, high = float(np.min(chunk)), float(np.max(chunk))
        if not np.isfinite(low) or not np.isfinite(high):  # NaN is contagious in both
            self.infinite += int(np.isinf(chunk).sum())
            chunk = chunk[np.isfinite(chunk)]
            if not len(chunk):
                return
            low, high = float(np.min(chunk)), float(np.max(chunk))
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.present += len(chunk)
        if self.feature.minimum is not None and low < self.feature.minimum:
            self.below += int(np.count_nonzero(chunk < self.feature.minimum))
        if self.feature.maximum is not None and high > self.feature.maximum:
            self.above += int(np.count_nonzero(chunk > self.feature.maximum))
        for position, edge in enumerate(self.feature.edges):
            self.at_most[position] += np.count_nonzero(chunk <= edge)
        with np.errstate(over="ignore"):
            z = np.clip((chunk - self.feature.center) * self.feature.scale, *_FLOAT_RANGE)
        self.raw += dense(z)
        self.total += _units(z)

    def counts(self, samples: int, type_errors: int) -> NumericCounts:
        steps = np.diff(np.concatenate([[0], self.at_most, [self.present]])).tolist()
        return NumericCounts(
            samples=samples,
            missing=samples - type_errors - self.infinite - self.present,
            type_errors=type_errors,
            infinite=self.infinite,
            below=self.below,
            above=self.above,
            total=self.total,
            minimum=self.minimum if self.present else None,
            maximum=self.maximum if self.present else None,
            bins=tuple(steps),
            histogram=sparse(self.raw) if self.present else EMPTY,
        )


_FLOAT_RANGE = (-float(np.finfo(np.float64).max), float(np.finfo(np.float64).max))


def _units(z: Floats) -> int:
    """The sum of z in whole units, each rounded by itself: exact, so the same for any order and any split of rows."""
    large = np.abs(z) >= _LARGE
    rest = 0
    if large.any():
        rest = sum(int(value) * UNIT for value in z[large].tolist())
        z = z[~large]
    return int(np.rint(z * UNIT).sum()) + rest
