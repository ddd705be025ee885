"""Metrics of a job: the line that a script prints, and the record in ``metrics.jsonl``. Standard library only.

The line is ``#cloudml.metric name=NAME value=V step=N`` (step may be absent), anywhere in a line of stdout.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"[A-Za-z_][\w./-]{0,127}")
LINE = re.compile(r"#cloudml\.metric name=([A-Za-z_][\w./-]{0,127}) value=(\S+)(?: step=(-?\d{1,18}))?")


@dataclass(frozen=True)
class Metric:
    """One number at one time (seconds since 1970); ``step`` is the script's own count."""

    name: str
    value: float
    step: int | None
    time: float


def render(metric: Metric) -> str:
    """The line to print. Raises ValueError when the name does not fit."""
    if not NAME.fullmatch(metric.name):
        raise ValueError(f"metric name {metric.name!r} must be letters, digits and _ . / - and start with a letter")
    step = "" if metric.step is None else f" step={metric.step}"
    return f"#cloudml.metric name={metric.name} value={metric.value!r}{step}"


def parse(line: bytes) -> Metric | None:
    """The metric in one line of output, or None."""
    if b"#cloudml.metric" not in line:
        return None
    match = LINE.search(line.decode("utf-8", "replace"))
    if match is None:
        return None
    try:
        value = float(match[2])
    except ValueError:
        return None
    return Metric(match[1], value, int(match[3]) if match[3] else None, time.time())


def append(path: Path, metrics: Sequence[Metric]) -> None:
    """Add records to ``metrics.jsonl``; a value that is not finite is written as null, for JSON has no NaN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        for metric in metrics:
            value = metric.value if math.isfinite(metric.value) else None
            record = {"name": metric.name, "value": value, "step": metric.step, "time": round(metric.time, 6)}
            file.write(json.dumps(record) + "\n")


def from_file(path: Path, recorded: dict[str, float]) -> tuple[list[Metric], list[str]]:
    """What a plain script left in ``metrics.json`` (a flat name -> number), and what is wrong with it.

    A name whose last recorded value is the same already counted, and is left out.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError) as error:
        return [], [f"{path.name} is not read: {error}"]
    if not isinstance(found, dict):
        return [], [f"{path.name} must be an object of names and numbers"]
    metrics, wrong = [], []
    for name, value in found.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not NAME.fullmatch(name):
            wrong.append(f"{path.name}: {name!r} is left out, it is not a name with a number")
        elif recorded.get(name) != value:
            metrics.append(Metric(name, float(value), None, time.time()))
    return metrics, wrong
