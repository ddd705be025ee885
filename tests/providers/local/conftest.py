"""A client of the provider ``local`` in a home of its own; what it made is gone when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_things import connected, destroy, python_model

from cloudml.client import Client


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    made = connected(home)
    yield made
    destroy(made)
    assert not list((home / "servers").glob("[!.]*")), "a server is left"
    assert not list((home / "jobs").glob("[!.]*")), "a job is left"
    assert not list((home / ".drafts").glob("*")), "something half written is left"


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., str]:
    """Writes a model folder whose ``predict`` returns an expression of ``row``; its path."""

    def make(expression: str = "sum(row)", name: str = "model", top: str = "") -> str:
        return str(python_model(tmp_path / name, expression, top))

    return make


@pytest.fixture(scope="session")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder that no job made: a pickle of two features that always says 7, and no manifest."""
    joblib = pytest.importorskip("joblib")
    dummy = pytest.importorskip("sklearn.dummy")
    folder = tmp_path_factory.mktemp("pickled")
    joblib.dump(dummy.DummyRegressor(strategy="constant", constant=7.0).fit([[0, 0]], [7.0]), folder / "model.joblib")
    return str(folder)
