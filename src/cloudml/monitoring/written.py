"""Numbers, shares and names as they are written in a report, and the one way by which data enters HTML."""

from __future__ import annotations

import re
from html import escape

NOTHING = "-"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def text(value: object) -> str:
    """Escaped for content and attributes; what no file can hold, or what turns the reading order, becomes U+FFFD."""
    return escape(_UNPRINTABLE.sub("\ufffd", str(value)), quote=True)


def number(value: float | None) -> str:
    """Four digits that matter, thousands apart."""
    if value is None:
        return NOTHING
    if value and not 1e-4 <= abs(value) < 1e12:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(share: float) -> str:
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{share * 100:.0f} %" if share in (0, 1) or 0.0995 <= share < 0.9 else f"{share * 100:.1f} %"


def shortened(name: str, most: int = 28) -> str:
    """Both ends of a long name: names that differ often differ in one of them."""
    end = most // 3
    return name if len(name) <= most else f"{name[: most - end - 1]}…{name[-end:]}"
