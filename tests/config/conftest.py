"""A project folder with a whole ``cloudml.yaml``, and an environment without anybody's own settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from config_files import WHOLE


@pytest.fixture(autouse=True)
def _nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CLOUDML_") and name != "CLOUDML_TESTS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("src/train.py", "data/train.csv", "samples/one.json", "model/model.joblib"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("[]")
    return root


@pytest.fixture
def write(folder: Path) -> Callable[..., Path]:
    """Writes ``cloudml.yaml``: the whole example with replacements, or another text."""

    def make(*replacements: tuple[str, str], text: str = WHOLE) -> Path:
        for old, new in replacements:
            assert old in text, f"{old!r} is not in the file"
            text = text.replace(old, new)
        path = folder / "cloudml.yaml"
        path.write_text(text)
        return path

    return make
