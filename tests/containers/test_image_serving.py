"""The image as platforms run it: as anybody, with nothing to write to, stopped, broken, without a model."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, Images, until

from cloudml.images import Built


def call(container: Any, path: str, body: Any = None) -> tuple[int, Any]:
    container.reload()
    (place,) = container.ports["8080/tcp"]
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{place['HostPort']}{path}"
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def ready(container: Any) -> None:
    def done() -> bool:
        container.reload()
        assert container.status in ("created", "running"), container.logs().decode()
        return bool(container.ports.get("8080/tcp")) and call(container, "/readyz")[0] == 200

    until(done)


LOCKED = {"read_only": True, "tmpfs": {"/tmp": ""}, "user": "12345:54321", "cap_drop": ["ALL"]}


@pytest.mark.parametrize("how", [{}, LOCKED], ids=["root", "anybody, read-only"])
def test_it_serves_drains_and_ends_with_0(
    how: dict[str, Any], images: Images, model: Path, nonce: str, start: Callable[..., Any]
) -> None:
    container = start(images.build(model).name, **how)
    ready(container)
    status, body = call(container, "/invocations", {"instances": [[1, 2]]})
    assert (status, json.loads(body)) == (200, {"predictions": [f"{nonce} 3"]})
    container.stop(timeout=25)
    assert container.wait()["StatusCode"] == 0


def test_the_first_process_reaps_orphans(images: Images, model: Path, start: Callable[..., Any]) -> None:
    container = start(images.build(model).name)
    ready(container)
    call(container, "/invocations", [[1313, 1]])
    look = "import glob; print([open(p).read() for p in glob.glob('/proc/[0-9]*/stat')])"

    def alone() -> bool:
        processes = container.exec_run(["python3", "-c", look]).output.decode()
        return "(sleep)" not in processes and " Z " not in processes

    until(alone)


@pytest.mark.parametrize("verb", [(), ("serve",)], ids=["as Azure starts it", "as SageMaker starts it"])
def test_a_model_that_does_not_load_ends_with_3_and_its_reason(
    verb: tuple[str, ...], plain: Built, tmp_path: Path, start: Callable[..., Any]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model.py").write_text("raise RuntimeError('a bad day')")
    (tmp_path / "log").touch()
    mounts = {
        str(tmp_path / "broken"): {"bind": "/opt/ml/model", "mode": "ro"},
        str(tmp_path / "log"): {"bind": "/dev/termination-log", "mode": "rw"},
    }
    container = start(plain.name, *verb, volumes=mounts)
    assert container.wait(timeout=DEADLINE)["StatusCode"] == 3
    assert "RuntimeError: a bad day" in container.logs().decode()
    assert (tmp_path / "log").read_text() == "RuntimeError: a bad day"


def test_a_batch_of_rows(images: Images, model: Path, nonce: str, tmp_path: Path, start: Callable[..., Any]) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").write_text("[1, 1]\n[2, 2]\n")
    command = ("batch", "--input", "/rows/a.jsonl", "--output", "/rows/out.jsonl")
    mounts = {str(tmp_path / "rows"): {"bind": "/rows", "mode": "rw"}}
    container = start(images.build(model).name, *command, volumes=mounts)
    assert container.wait(timeout=DEADLINE)["StatusCode"] == 0, container.logs().decode()
    assert (tmp_path / "rows/out.jsonl").read_text() == f'"{nonce} 2"\n"{nonce} 4"\n'
