"""Emulators of the tests' own, and containers with and without boxes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudml.emulation import box
from cloudml.emulation.processes import ProcessContainers


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Path]:
    """A file that is held locked, as long as the test runs."""
    path = tmp_path / "alive"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


@pytest.fixture(params=["boxes", "folders"])
def containers(request: pytest.FixtureRequest, tmp_path: Path, owner: Path) -> Iterator[ProcessContainers]:
    boxed = request.param == "boxes"
    assert not boxed or box.refusal() is None, box.refusal()
    made = ProcessContainers(tmp_path / "containers", owner, boxed)
    yield made
    made.close()


@pytest.fixture
def boxes(tmp_path: Path, owner: Path) -> Iterator[ProcessContainers]:
    assert box.refusal() is None, box.refusal()
    made = ProcessContainers(tmp_path / "containers", owner, boxed=True)
    yield made
    made.close()


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a program in which the tests' own provider is installed."""
    here = tmp_path / "installed"
    (here / "tiny-1.dist-info").mkdir(parents=True)
    (here / "tiny-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
    (here / "tiny-1.dist-info" / "entry_points.txt").write_text("[cloudml.providers]\ntiny = tiny_plugin:plugin\n")
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(here), str(Path(__file__).parent)])}
