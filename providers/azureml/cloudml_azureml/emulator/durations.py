"""Durations as Azure writes them: ISO 8601, ``PT1H30M``."""

from __future__ import annotations

import re

PARTS = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
WEIGHTS = (7 * 86400, 86400, 3600, 60, 1)


def seconds(text: str | None, default: float = 0.0) -> float:
    """A duration without years and months; the default for none."""
    found = PARTS.fullmatch(text) if text else None
    if found is None:
        return default
    return sum(float(part) * weight for part, weight in zip(found.groups(), WEIGHTS, strict=True) if part)
