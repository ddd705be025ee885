"""A gateway and a real server behind it, and whatever clients send: no 5xx of theirs, no hang, and both live on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import wire_fuzz as fuzz
from gateway_backends import Gateway
from hypothesis import HealthCheck, given, settings
from local_things import python_model, until

from cloudml_local.environment import environment

FUZZ = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Of a gateway, and of the server behind it."""
    folder = tmp_path_factory.mktemp("wire")
    ready, signature = folder / "ready.json", folder / "signature.json"
    inputs = [{"name": "age", "dtype": "float"}, {"name": "pay", "dtype": "float"}]
    signature.write_text(json.dumps({"inputs": inputs}))
    env = {
        "CLOUDML_MODEL_DIR": str(python_model(folder / "model", "1")),
        "CLOUDML_PORT": "0",
        "CLOUDML_READY_FILE": str(ready),
        "CLOUDML_SIGNATURE": str(signature),
        "CLOUDML_CAPTURE_DIR": str(folder / "captured"),
        "CLOUDML_CAPTURE_REDACT": '["pay"]',
    }
    server = subprocess.Popen([sys.executable, "-m", "cloudml.runtime", "serve"], env=environment(env))
    gateway = None
    try:
        until(lambda: ready.exists())
        backend: Any = SimpleNamespace(port=json.loads(ready.read_text())["port"])
        until(lambda: fuzz.statuses(fuzz.say(backend.port, [b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n"])) == [200])
        gateway = Gateway(folder / "endpoint")
        gateway.table(a=(backend, 100))
        yield gateway.port, backend.port
        assert fuzz.statuses(fuzz.say(gateway.port, [fuzz.WHOLE])) == [200]
        assert server.poll() is None
    finally:
        if gateway is not None:
            gateway.close()
        server.terminate()
        server.wait(60)
    captured = "".join(path.read_text() for path in (folder / "captured").glob("*.jsonl"))
    assert captured.count("\n") > 1
    assert all(row[1] is None for line in captured.splitlines() for row in json.loads(line)["inputs"])


@FUZZ
@given(fuzz.anything)
def test_whatever_is_sent(ports: tuple[int, int], pieces: list[bytes]) -> None:
    for port in ports:
        said = fuzz.say(port, pieces)
        assert all(status < 500 and status != 408 for status in fuzz.statuses(said)), said
