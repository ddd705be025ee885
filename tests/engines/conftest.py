"""A process engine whose tasks, and everything they started, are gone when the test ends."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_tasks import finish, living_in, until

from cloudml.engines.process import ProcessEngine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ProcessEngine]:
    made = ProcessEngine(tmp_path / "tasks")
    try:
        yield made
        for task in made.list():
            made.stop(task.task.id)
        for task in made.list():
            finish(made, task.task.id)
            made.remove(task.task.id)
        until(lambda: not living_in(tmp_path))
        assert not list((tmp_path / "tasks").glob("*"))
        assert not list((tmp_path / "tasks").glob(".*"))
    finally:
        for pid in living_in(tmp_path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
