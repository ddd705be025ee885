"""Models to serve, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving_process import manifested

ECHO = """
import time
class Model:
    def __init__(self, folder):
        self.factor = int((folder / "factor.txt").read_text())
    def predict(self, rows):
        for row in rows:
            if row[0] == "raise":
                raise RuntimeError("the model said no")
            if row[0] == "sleep":
                time.sleep(row[1])
            if row[0] == "short":
                return []
            if row[0] == "object":
                return [object() for _ in rows]
        return [[value * self.factor for value in row] for row in rows]
"""


@pytest.fixture(scope="session")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LogisticRegression of three features; its class is 1 when the first is positive."""
    joblib = pytest.importorskip("joblib")
    linear_model = pytest.importorskip("sklearn.linear_model")
    folder = tmp_path_factory.mktemp("linear")
    rows = [[float(sign * n), n % 3, n % 2] for n in range(1, 20) for sign in (-1, 1)]
    model = linear_model.LogisticRegression().fit(rows, [int(row[0] > 0) for row in rows])
    joblib.dump(model, folder / "model.joblib")
    return manifested(folder)


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A python model that multiplies by 2, and fails or sleeps when a row asks for it."""
    folder = tmp_path_factory.mktemp("echo")
    (folder / "model.py").write_text(ECHO)
    (folder / "factor.txt").write_text("2")
    return manifested(folder)
