"""A cloud in a condition for each column, started once, and an account of its own for each story.

Another column in a session of its own is a folder below this one, whose conftest.py has a fixture ``column`` of its own
and whose test is ``class TestIt(Stories)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudml.emulation.running import Running
from cloudml.testing import emulated

pytest.register_assert_rewrite("trial", "trial_conditions", "trial_stories")

from trial import Column, Trial  # noqa: E402
from trial_columns import COLUMNS  # noqa: E402

# One worker of xdist tells all stories of a column (``--dist loadgroup``), so that its cloud is started once.
GROUPED = [pytest.param(column, id=str(column), marks=pytest.mark.xdist_group(str(column))) for column in COLUMNS]


@pytest.fixture(scope="session", params=GROUPED)
def column(request: pytest.FixtureRequest) -> Column:
    found: Column = request.param
    return found


@pytest.fixture(scope="session")
def running(column: Column) -> Iterator[Running]:
    with column.start() as made, emulated.environment(made.environment):
        yield made


@pytest.fixture
def trial(column: Column, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    for name, value in running.clouds[column.provider].cloud.account().items():
        monkeypatch.setenv(name, value)
    yield Trial(column, running, tmp_path)
    running.reset()
