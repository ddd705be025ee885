"""What a run left under its output folder, where the runtime wrote it: its model, its metrics, why it failed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudml.content import MANIFEST
from cloudml.spi import Artifacts
from cloudml.states import EMPTY, Part, Phase

METRICS, FAILURE = "metrics.jsonl", "failure.json"
MODEL = "model"


@dataclass(frozen=True)
class Left:
    """``model`` is its folder's URI, ``metrics`` the last value of each, ``failure`` the program's own exception."""

    model: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=lambda: EMPTY)
    failure: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """As a job's state carries them."""
        return {"model": self.model, "metrics": self.metrics}


class Outputs:
    """Reads the outputs of runs from an artifact store; those of an ended run, which change no more, once."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._ended: dict[tuple[str, str], Left] = {}

    def parts(self, output: str) -> tuple[Part, ...]:
        """The files of a run as a part of it, if it left any."""
        files = any(True for _ in self._artifacts.list(output))
        return (Part("output", "output", output, Phase.READY),) if files else ()

    def ended(self, output: str, mark: str) -> Left:
        """What an ended run left; ``mark`` tells it from an earlier one with the same output folder."""
        if (output, mark) not in self._ended:
            self._ended[output, mark] = self._read(output)
        return self._ended[output, mark]

    def _read(self, output: str) -> Left:
        names = {uri.removeprefix(f"{output}/") for uri in self._artifacts.list(output)}
        return Left(
            f"{output}/{MODEL}" if f"{MODEL}/{MANIFEST}" in names else None,
            self._metrics(f"{output}/{METRICS}") if METRICS in names else {},
            self._failure(f"{output}/{FAILURE}") if FAILURE in names else None,
        )

    def _metrics(self, uri: str) -> dict[str, float | None]:
        with self._artifacts.open(uri) as file:
            return last_values(file)

    def _failure(self, uri: str) -> str | None:
        with self._artifacts.open(uri) as file:
            own = json.load(file)
        return f"{own['type']}: {own['message']}" if own else None


def last_values(lines: Iterable[bytes]) -> dict[str, float | None]:
    """The last value of each metric; a line that was not written to its end is none."""
    records = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {record["name"]: record["value"] for record in records}
