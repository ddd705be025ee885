"""The command line over each of the clouds in memory, in a project folder, with a clock that nobody waits for.

The clouds are found as any third party's provider is: by an entry point of an installed distribution.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from cli_shell import FILE, Shell

from cloudml.testing.clouds import CLOUDS
from cloudml.testing.world import World


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
