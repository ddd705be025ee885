"""Native documents beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def covers(found: Any, wanted: Any) -> bool:
    """Whether all that we rendered is there; what AWS adds is none of ours."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(covers(found.get(name), each) for name, each in wanted.items())
    if isinstance(wanted, (list, tuple)):
        return isinstance(found, (list, tuple)) and len(found) == len(wanted) and all(map(covers, found, wanted))
    return bool(found == wanted)
