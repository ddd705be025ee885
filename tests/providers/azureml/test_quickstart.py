"""The unchanged quickstart on the emulated Azure ML."""

from __future__ import annotations

from collections.abc import Callable


def test_the_unchanged_quickstart(followed: Callable[..., str]) -> None:
    followed("azureml", behind=True)
