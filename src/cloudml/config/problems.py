"""All that is wrong with a file, collected and told at once."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn

from cloudml.config.nodes import Position
from cloudml.errors import ConfigError

LISTED = 12


class ConfigErrors(ConfigError):
    """One or more errors of a file, in the file's order; ``errors`` are the single ones."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        if len(self.errors) == 1:
            super().__init__(str(first), hint=first.hint)
        else:
            lines = [f"{error} ({error.hint})" if error.hint else str(error) for error in self.errors]
            super().__init__(f"{len(lines)} errors\n" + "\n".join(lines))
        self.where = first.where


class Problems:
    """Collects errors while a file is read; nothing stops at the first."""

    def __init__(self) -> None:
        self._found: dict[tuple[Position, str], ConfigError] = {}

    def add(self, message: str, at: Position, hint: str | None = None) -> None:
        self._found.setdefault((at, message), ConfigError(message, where=str(at), hint=hint))

    def raise_any(self) -> None:
        """ConfigErrors if there is any."""
        if self._found:
            raise self._all()

    def stop(self, message: str, at: Position, hint: str | None = None) -> NoReturn:
        """Adds an error after which nothing more can be found out, and raises all."""
        self.add(message, at, hint)
        raise self._all()

    def __len__(self) -> int:
        return len(self._found)

    def _all(self) -> ConfigErrors:
        ordered = sorted(self._found.items(), key=lambda item: (item[0][0].line, item[0][0].column))
        return ConfigErrors(error for _, error in ordered)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint: the known word that is closest, else the known words if they are few."""
    options = list(known)
    if close := get_close_matches(word, options, n=1, cutoff=0.6):
        return f"did you mean {close[0]!r}?"
    if options and len(options) <= LISTED:
        return f"known here: {', '.join(options)}"
    return None
