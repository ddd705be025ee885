"""What runs are called: ``{job}-{hash8}-{attempt}``, and which attempts are taken."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ids:
    """The ids of the runs of a stack at one moment: of those that there are, and of those that were deleted."""

    there: tuple[str, ...]
    gone: tuple[str, ...]

    def attempts(self, base: str) -> list[int]:
        """The attempts of a run that are observed, by their numbers."""
        return _numbers(base, self.there)

    def deleted(self, base: str) -> list[int]:
        """The attempts of a run that were deleted, by their numbers."""
        return _numbers(base, self.gone)

    def unused(self, base: str) -> int:
        """The number after every attempt that there is or was: what names a run names it for ever."""
        return max([*self.attempts(base), *self.deleted(base)], default=0) + 1

    def last(self, base: str) -> int:
        """The last attempt that is observed, or the first that never was."""
        return max(self.attempts(base), default=0) or self.unused(base)


def _numbers(base: str, ids: Iterable[str]) -> list[int]:
    """The attempts among run ids that begin with ``base``."""
    pattern = re.compile(re.escape(base) + r"-(\d+)")
    return sorted(int(match[1]) for match in map(pattern.fullmatch, ids) if match)
