"""An emulated Vertex AI for all tests of a session, and a rig of the contracts in a project of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vertex_requests import missing
from vertex_rigs import new_bucket, rig_over

from cloudml.emulation.lifecycle import Lifecycle
from cloudml.emulation.running import Running, start
from cloudml.testing import emulated
from cloudml.testing.conformance import Rig
from cloudml_vertex.emulator import emulator
from cloudml_vertex.emulator.core import Core


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with start([emulator]) as made, emulated.environment(made.environment):
        yield made


@pytest.fixture(autouse=True)
def accepted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the emulator takes has all that Google's rules require, by a reading of them that is not the emulator's."""
    call, lacking = Core.call, list[str]()

    def checked(core: Core, path: str, message: Any) -> Any:
        answer = call(core, path, message)
        lacking.extend(f"{path}: {field}" for field in missing(message))
        return answer

    monkeypatch.setattr(Core, "call", checked)
    yield
    assert lacking == []


@pytest.fixture
def bucket(running: Running) -> str:
    """The name of a new bucket, which is a project of its own too."""
    return new_bucket()


@pytest.fixture(params=["grpc"])
def rig(running: Running, tmp_path: Path, request: Any) -> Rig:
    return rig_over(request.param, tmp_path)


@pytest.fixture(scope="module")
def slow() -> Iterator[Running]:
    """Two looks in every state. REST alone: gRPC reads whom it trusts once a process."""
    with start([emulator], lifecycle=Lifecycle(reads=2)) as made, emulated.environment(made.environment):
        yield made
