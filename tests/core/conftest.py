"""The three clouds in memory as rigs for the contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudml.testing.clouds import CLOUDS, memory_rig
from cloudml.testing.conformance.rig import Rig


@pytest.fixture(params=sorted(CLOUDS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return memory_rig(request.param, tmp_path)
