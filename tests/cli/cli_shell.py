"""A project folder over a cloud in memory, and commands that run in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cloudml.cli import main
from cloudml.testing.world import World
from cloudml.waiting import Clock

FILE = """\
version: 1
project: shop
vars: {lr: 3e-4}
jobs:
  train:
    command: train --lr ${vars.lr}
    params: {depth: 3}
models:
  fraud:
    from: jobs.train
    sample_input: [[1.0]]
    baseline: {data: data.csv, target: y}
    gates: ["accuracy >= 0.5"]
    alias: champion
endpoints:
  fraud-api:
    model: fraud@champion
    capture: 1.0
    monitor: {drift: {psi: 0.2}, min_samples: 10}
environments:
  dev: {provider: PROVIDER}
"""


@dataclass
class Shell:
    """A project folder, and a way to run commands in it."""

    folder: Path
    world: World
    provider: str
    clock: Clock

    def __call__(self, *arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(main, list(arguments), input=input, obj=self.clock)

    def ok(self, *arguments: str) -> str:
        """What a command writes to stdout; it must succeed."""
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.ok(*arguments, "-o", "json"))
        assert document["schema_version"] == 1
        return document

    def edit(self, old: str, new: str) -> None:
        file = self.folder / "cloudml.yaml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
