"""The command line over each of the clouds in memory, in a project folder, with a clock that nobody waits for.

The clouds are found as any third party's provider is: by an entry point of an installed distribution.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cloudml.cli import main
from cloudml.testing.clouds import CLOUDS
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


@pytest.fixture(autouse=True)
def _nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CLOUDML_") and name != "CLOUDML_TESTS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], World]:
    """Installs a cloud in memory as a provider; the world that it stands in."""

    def make(name: str) -> World:
        world = World()
        module = ModuleType("cloud_of_this_test")
        module.plugin = CLOUDS[name](world)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        info = tmp_path / "site" / "cloud_of_this_test-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cloud-of-this-test\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[cloudml.providers]\n{name} = {module.__name__}:plugin\n")
        monkeypatch.syspath_prepend(str(info.parent))
        return world

    return make


@pytest.fixture
def shell_of(
    install: Callable[[str], World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Shell]:
    """Makes the project folder and installs the cloud of that name."""

    def make(name: str) -> Shell:
        world, folder = install(name), tmp_path / "project"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "weights").write_text("1")
        (folder / "cloudml.yaml").write_text(FILE.replace("PROVIDER", name))
        rows = "".join(f"{number / 10},{number % 2}\n" for number in range(60))
        (folder / "data.csv").write_text("x,y\n" + rows)
        monkeypatch.chdir(folder)
        return Shell(folder, world, name, world.clock)

    return make


@pytest.fixture(params=sorted(CLOUDS))
def shell(request: pytest.FixtureRequest, shell_of: Callable[[str], Shell]) -> Shell:
    """Over every cloud."""
    return shell_of(request.param)


@pytest.fixture
def one_shell(shell_of: Callable[[str], Shell]) -> Shell:
    """Over one cloud, for what is the same on all."""
    return shell_of("nested")
