"""What a baseline freezes of each feature, so that every later window is counted on the same scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloudml.monitoring.arrays import Floats, np
from cloudml.monitoring.columns import Categories
from cloudml.monitoring.quantiles import quantiles

DECILES = tuple(step / 10 for step in range(1, 10))
CATEGORIES_KEPT = 1000
LARGEST_SPREAD = 1.7e308  # beyond it, the inverse of the inverse overflows


class Kind(StrEnum):
    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


@dataclass(frozen=True)
class NumericFeature:
    """``edges``: the reference's exact deciles, ascending, without repeats; bin i holds ``edges[i-1] < x <= edges[i]``.

    ``center`` is the median, ``scale`` 1/IQR (1/std, then 1/range, where the IQR is zero), ``spread`` the reference's
    standard deviation (1/scale for a constant), ``minimum`` and ``maximum`` its range (None without any number).
    """

    name: str
    center: float
    scale: float
    spread: float
    minimum: float | None
    maximum: float | None
    edges: tuple[float, ...]
    kind = Kind.NUMERIC

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": str(self.kind),
            "center": self.center,
            "scale": self.scale,
            "spread": self.spread,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "edges": list(self.edges),
        }


@dataclass(frozen=True)
class CategoricalFeature:
    """``categories``: the 1000 most frequent of the reference, most frequent first; ``complete`` if those are all."""

    name: str
    categories: tuple[str, ...]
    complete: bool
    kind = Kind.CATEGORICAL

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": str(self.kind),
            "categories": list(self.categories),
            "complete": self.complete,
        }


Feature = NumericFeature | CategoricalFeature


def feature_from_json(data: Mapping[str, Any]) -> Feature:
    fields = {name: value for name, value in data.items() if name != "kind"}
    if data["kind"] == Kind.NUMERIC:
        return NumericFeature(**{**fields, "edges": tuple(fields["edges"])})
    return CategoricalFeature(**{**fields, "categories": tuple(fields["categories"])})


def freeze_numbers(name: str, finite: Floats) -> NumericFeature:
    """Freeze the scale of the finite reference values (1-D float64)."""
    if not len(finite):
        return NumericFeature(name, 0.0, 1.0, 1.0, None, None, ())
    with np.errstate(over="ignore", invalid="ignore"):  # values near 1e308: the fallbacks below deal with infinities
        low, high = float(np.min(finite)), float(np.max(finite))
        quartile, median, upper, *deciles = quantiles(finite, (0.25, 0.5, 0.75, *DECILES))
        std = float(finite.std())
        scale = _scale(upper - quartile, std, high - low, high / 2 - low / 2, abs(median))
    center = median if np.isfinite(median) else low / 2 + high / 2
    edges = sorted({edge for edge in deciles if np.isfinite(edge)})
    if low == high:  # a constant: what lies below it needs a bin of its own
        with np.errstate(over="ignore"):
            edges = [float(np.nextafter(low, -np.inf)), low]
    spread = std if std > 0 and np.isfinite(std) else 1 / scale
    return NumericFeature(name, center, scale, spread, low, high, tuple(edge for edge in edges if np.isfinite(edge)))


def _scale(*spreads: float) -> float:
    """One over the first spread that is a positive number with a finite inverse, or 1."""
    return next((1 / spread for spread in spreads if 1e-300 < spread < LARGEST_SPREAD), 1.0)


def freeze_categories(name: str, found: Categories) -> CategoricalFeature:
    """Freeze the most frequent categories; ties go by name, so that the order of rows does not matter."""
    ranked = sorted(found.counts, key=lambda category: (-found.counts[category], category))
    return CategoricalFeature(name, tuple(ranked[:CATEGORIES_KEPT]), len(ranked) <= CATEGORIES_KEPT)
