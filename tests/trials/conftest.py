"""A cloud in a condition for each column, and an account of its own for each story.

A column is a class, so one worker of xdist tells all its stories (``--dist loadscope``), and its cloud is started once.
Another column, in a session of its own, is a folder below this one whose conftest.py has its own fixture ``column``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudml.emulation.running import Running
from cloudml.testing import emulated

pytest.register_assert_rewrite("trial", "trial_conditions", "trial_stories")

from trial import Column, Trial  # noqa: E402


@pytest.fixture(scope="class")
def column(request: pytest.FixtureRequest) -> Column:
    found: Column = request.cls.column
    return found


@pytest.fixture(scope="class")
def running(column: Column) -> Iterator[Running]:
    with column.start() as made, emulated.environment(made.environment):
        yield made


@pytest.fixture
def trial(column: Column, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    for name, value in running.clouds[column.provider].cloud.account().items():
        monkeypatch.setenv(name, value)
    yield Trial(column, running, tmp_path)
    running.reset()
