"""Traffic as SageMaker's weights: any numbers, shared by their sum; and what they are after an update."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

FIRST = 1.0  # the weight that SageMaker gives a new variant of a configuration without weights
SCALE = 100.0  # ours for one per cent: a new variant, at 1 of some 10 000, gets next to nothing until its share is set


def percent(weights: Mapping[str, float]) -> dict[str, int]:
    """Weights, of whatever sum, as shares of 100."""
    total = sum(weights.values())
    return {name: round(100 * weight / total) for name, weight in weights.items()} if total else {}


def weights_of(variants: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The weights of an endpoint's running variants."""
    return {each["VariantName"]: float(each.get("DesiredWeight", each.get("CurrentWeight", 0.0))) for each in variants}


def ours(shares: Mapping[str, int]) -> dict[str, float]:
    """Shares of 100 as weights."""
    return {name: SCALE * share for name, share in shares.items()}


def small(weights: Mapping[str, float]) -> bool:
    """Whether a new variant's first weight would be noticed beside them."""
    return sum(weights.values()) < SCALE * 50


def updated(weights: Mapping[str, float], variants: Iterable[str]) -> dict[str, float]:
    """After UpdateEndpoint, which keeps the properties of the variants that stay."""
    return {name: weights.get(name, FIRST) for name in variants}
