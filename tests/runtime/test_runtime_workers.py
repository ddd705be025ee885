"""Several workers on one port: spread, replaced when they die, counted together, ended together."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httptools")

from serving_process import DEADLINE, Served, manifested, until

from cloudml.runtime.board import Board
from cloudml.runtime.metrics import Metrics

WHO = """
import os
class Model:
    def __init__(self, folder):
        pass
    def predict(self, rows):
        return [os.getpid() for _ in rows]
"""


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.py").write_text(WHO)
    served = Served(manifested(tmp_path / "m"), tmp_path / "run", CLOUDML_WORKERS="2", CLOUDML_MAX_BODY="1000")
    try:
        yield served
    finally:
        assert served.stop() == 0


def who(crew: Served) -> int:
    status, reply = crew.predict([[1]])
    assert status == 200, reply
    return int(reply["predictions"][0])


def counted(client: http.client.HTTPConnection) -> float:
    """Predictions that were answered, as the worker of this connection knows."""
    client.request("GET", "/metrics")
    lines = client.getresponse().read().decode().splitlines()
    name = 'cloudml_requests_total{route="predict",status="200"}'
    return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(name)))


def connected(crew: Served) -> tuple[int, http.client.HTTPConnection]:
    """A connection, and the worker that it is with."""
    client = http.client.HTTPConnection("127.0.0.1", crew.port, timeout=DEADLINE)
    client.request("POST", "/invocations", b"[[1]]", {"content-type": "application/json"})
    return int(json.loads(client.getresponse().read())["predictions"][0]), client


def test_both_answer_count_together_and_one_that_dies_is_replaced(crew: Served) -> None:
    asked = 0
    seen: set[int] = set()

    def both(known: set[int]) -> bool:
        nonlocal asked
        asked += 1
        known.add(who(crew))
        return len(known) == 2

    until(lambda: both(seen))
    assert crew.process.pid not in seen
    assert json.loads((crew.log.parent / "ready.json").read_text())["pid"] == crew.process.pid
    kept, client = connected(crew)
    asked += 1
    (victim,) = seen - {kept}
    until(lambda: counted(client) == asked)  # so the other one's count is on the board
    os.kill(victim, signal.SIGKILL)
    until(lambda: "ended with exit code -9; it is started again" in crew.log.read_text())
    after = {kept}
    until(lambda: both(after))
    assert victim not in after
    until(lambda: counted(client) == asked)  # what the dead one had counted is not lost
    client.close()


def test_limits_hold_in_each_worker(crew: Served) -> None:
    for _ in range(8):
        assert crew.call("POST", "/invocations", b"x" * 2000)[0] == 413
        assert b" 431 " in crew.raw(b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", half_close=False)


def test_a_model_that_does_not_load_ends_all(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.py").write_text("raise RuntimeError('no weights')")
    failure = tmp_path / "failure.json"
    served = Served(
        manifested(tmp_path / "m"),
        tmp_path / "run",
        ready=False,
        CLOUDML_WORKERS="3",
        CLOUDML_FAILURE_FILE=str(failure),
    )
    try:
        assert served.process.wait(60) == 3
    finally:
        served.stop()
    assert json.loads(failure.read_text()) == {"type": "RuntimeError", "message": "no weights"}


def test_a_port_with_a_crew_is_taken(crew: Served, tmp_path: Path) -> None:
    other = Served(tmp_path / "m", tmp_path / "other", ready=False, CLOUDML_PORT=str(crew.port), CLOUDML_WORKERS="2")
    try:
        assert other.process.wait(60) == 2
    finally:
        other.stop()
    assert "Address already in use" in other.log.read_text()


def test_the_board_keeps_the_last_state_of_each() -> None:
    board = Board(2)
    assert (board.read(0), board.all_ready) == (None, False)
    for number in range(5):
        board.write(1, {"n": number})
    board.write(0, ["x" * 30_000])
    board.write(0, ["x" * 70_000])  # does not fit, and is not kept
    assert (board.read(0), board.read(1)) == (["x" * 30_000], {"n": 4})
    board.set_ready(1)
    assert not board.all_ready
    board.set_ready(0)
    assert board.all_ready


def test_counts_are_added() -> None:
    one, two = Metrics(), Metrics()
    one.answered("predict", 200, 0.01)
    two.answered("predict", 200, 0.02)
    two.rows = 7
    state: Any = json.loads(json.dumps(two.state()))
    one.add(state)
    text = one.render(True, (0, 0, 0)).decode()
    assert 'cloudml_requests_total{route="predict",status="200"} 2' in text
    assert "cloudml_predict_seconds_sum 0.030000" in text
    assert "cloudml_rows_total 7" in text
