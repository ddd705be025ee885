"""What is shown of a resource in a line: the columns of each kind, and the texts in them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from cloudml.cli.documents import unsigned

if TYPE_CHECKING:
    from cloudml.handles import ModelVersion
    from cloudml.states import Part, State

EMPTY: Mapping[str, str] = {}
DIGEST = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned with blanks."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    )


def short(text: str) -> str:
    """Digests by their first eight digits."""
    return DIGEST.sub(r"\1…", text)


def age(state: State) -> str:
    """How long ago it was made, in its largest unit."""
    if state.created is None:
        return "-"
    passed = max(0.0, time.time() - state.created)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if passed >= length:
            return f"{passed // length:.0f}{unit}"
    return f"{passed:.0f}s"


def moment(seconds: float | None) -> str:
    """A time as people write it, in UTC."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC" if seconds is not None else ""


def said(value: object) -> str:
    """A value of a document in one line: maps as ``name=value``, lists with commas."""
    match value:
        case None:
            return ""
        case Mapping():
            return " ".join(f"{name}={inner}" for name, inner in value.items())
        case list() | tuple():
            return ", ".join(map(str, value))
    return str(value)


def metrics(values: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in values.items())


def judged(version: ModelVersion) -> str:
    """Its approval, unless it was put away."""
    return "archived" if version.archived else version.approval or "-"


def shares(state: State, models: Mapping[str, str] = EMPTY) -> str:
    """The traffic by deployment, each with the model version that it serves where that is given."""
    traffic = state.facts.get("traffic") or {}
    named = {name: f"{name} {models[name]}" if name in models else name for name in traffic}
    return ", ".join(f"{named[name]} {share} %" for name, share in traffic.items()) or "-"


def phase(state: State) -> str:
    """The phase, and what a run waits for."""
    waiting = state.facts.get("waiting")
    return f"{state.phase.value}, {waiting}" if waiting and not state.phase.settled else state.phase.value


def failures(state: State) -> str:
    """The deployments that failed, and why."""
    bad = [part for part in state.of("deployment") if part.phase.failed]
    return "; ".join(
        f"{part.name} failed: {part.failure.reason if part.failure else 'no reason given'}" for part in bad
    )


def aliases(state: State) -> str:
    return " ".join(f"{alias}={part.name}" for part in state.of("version") for alias in part.facts.get("aliases", ()))


def details(state: State, models: Mapping[str, str] = EMPTY) -> dict[str, str]:
    """What one kind has to say besides its columns; ``models`` are what an endpoint's deployments serve."""
    facts = {title: state.facts.get(name) for title, name in FACTS.items()}
    texts = {
        title: metrics(value) if isinstance(value, Mapping) else unsigned(str(value))
        for title, value in facts.items()
        if value not in (None, {})
    }
    return texts | {
        f"  {part.name}": "  ".join(filter(None, (part.phase.value, models.get(part.name), _reason(part))))
        for part in state.of("deployment")
    }


def _reason(part: Part) -> str | None:
    return part.failure.reason if part.failure else None


FACTS = {"EXIT CODE": "exit_code", "METRICS": "metrics", "MODEL": "model"}
Column = Callable[["State"], str]
COLUMNS: dict[str, dict[str, Column]] = {
    "jobs": {
        "ID": lambda state: state.key.name,
        "PHASE": phase,
        "AGE": age,
        "STACK": lambda state: state.owner or state.key.stack,
    },
    "models": {
        "NAME": lambda state: state.key.name,
        "VERSIONS": lambda state: str(len(state.of("version"))),
        "ALIASES": aliases,
        "STACK": lambda state: state.owner or state.key.stack,
    },
    "endpoints": {
        "NAME": lambda state: state.key.name,
        "PHASE": lambda state: state.phase.value,
        "TRAFFIC": shares,
        "URL": lambda state: unsigned(state.facts.get("url") or "-"),
        "STACK": lambda state: state.owner or state.key.stack,
    },
}
