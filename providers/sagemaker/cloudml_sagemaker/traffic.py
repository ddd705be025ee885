"""Traffic as SageMaker's weights: any numbers, shared by their sum; and what they are after an update."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloudml import specs
from cloudml.errors import Unsupported

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


def mirrored(want: specs.Endpoint) -> dict[str, int]:
    """The deployments that get copies of requests and answer nobody, with their shares in per cent."""
    return {name: share for name, share in sorted(want.mirror.items()) if share}


def check_mirror(want: specs.Endpoint, where: str) -> None:
    """Unsupported for more than one variant that answers, or one shadow (source: CreateEndpointConfig)."""
    shadows = mirrored(want)
    if answering := [name for name in shadows if want.traffic.get(name)]:
        said = f"{where}: {answering[0]} is mirrored to and has traffic; a shadow of SageMaker's answers nobody"
        raise Unsupported(said, hint=f"give it either traffic or mirror, or a deployment of its own for {answering[0]}")
    if len(shadows) > 1 or (shadows and len(want.deployments) > 2):
        said = f"{where}: SageMaker mirrors the traffic of one deployment to one other, and here are "
        raise Unsupported(said + ", ".join(want.deployments), hint="leave 'mirror' out, or use two deployments")


def mirror_of(shadows: Iterable[Mapping[str, Any]], weights: Mapping[str, float]) -> dict[str, int]:
    """What running shadow variants get, in per cent: their weights against that of the variant that is mirrored."""
    whole = sum(weights.values())
    return {name: round(100 * weight / whole) if whole else 0 for name, weight in weights_of(shadows).items()}


def retained(shadows: Iterable[str]) -> dict[str, Any]:
    """What UpdateEndpoint keeps of the variants that stay; beside a shadow no weights, for its share is one of them."""
    anew = ["DataCaptureConfig", *(["DesiredWeight"] if [*shadows] else [])]
    excluded = [{"VariantPropertyType": each} for each in anew]
    return {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": excluded}


def updated(weights: Mapping[str, float], variants: Iterable[str]) -> dict[str, float]:
    """After UpdateEndpoint, which keeps the properties of the variants that stay."""
    return {name: weights.get(name, FIRST) for name in variants}
