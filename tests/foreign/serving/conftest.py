"""One endpoint for all of these clients, and the programs that are not Python packages."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "runtime"))  # the server as a child process

from serving_process import Served, manifested

os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"  # or its import writes into the home

ROWS = [[float(sign * n), float(n % 3), float(n % 2)] for n in range(1, 20) for sign in (-1, 1)]
SIGNATURE = (
    '{"inputs": [{"name": "a", "dtype": "float"}, {"name": "b", "dtype": "float"}, {"name": "c", "dtype": "float"}]}'
)


def pytest_configure(config: pytest.Config) -> None:
    """The warnings of these clients are not ours to fix."""
    config.addinivalue_line("filterwarnings", "default")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The class is 1 where the first of the features a, b and c is positive."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "model").mkdir()
    joblib.dump(LogisticRegression().fit(ROWS, [int(row[0] > 0) for row in ROWS]), folder / "model" / "model.joblib")
    (folder / "signature.json").write_text(SIGNATURE)
    server = Served(
        manifested(folder / "model"),
        folder / "run",
        CLOUDML_MODEL_NAME="fraud",
        CLOUDML_MODEL_VERSION="3",
        CLOUDML_SIGNATURE=str(folder / "signature.json"),
    )
    try:
        yield server
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="session")
def url(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}"


def program(name: str) -> str:
    """Where a program is. In CI a missing one is a failure, elsewhere the test is skipped."""
    found = shutil.which(name)
    if found is None:
        why = f"{name} is not installed (Debian: apt install {'prometheus' if name == 'promtool' else name})"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found
