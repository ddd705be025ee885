"""An endpoint process from its start to its end: bind, load, fail, drain, capture, settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

pytest.importorskip("httptools")

from serving_process import SRC, Served, manifested, until

SLOW = """
import os, time
def load(folder):
    while not os.path.exists({gate!r}):
        time.sleep(0.01)
    return Model()
class Model:
    def predict(self, rows):
        while rows[0][0] < 0 and not os.path.exists({gate!r} + "-go"):
            time.sleep(0.01)
        time.sleep(max(0, rows[0][0]))
        return rows
"""


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A python model that loads when ``tmp_path / "gate"`` exists, and sleeps for what the first row says.

    A negative number waits for ``gate-go``.
    """
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "model.py").write_text(SLOW.format(gate=str(tmp_path / "gate")))
    return manifested(folder)


def broken(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(text)
    return manifested(folder)


def test_the_socket_is_there_before_the_model(slow: Path, tmp_path: Path) -> None:
    served = Served(slow, tmp_path / "run", ready=False)
    try:
        assert served.call("GET", "/livez")[0] == 200
        status, headers, body = served.call("GET", "/readyz")
        assert (status, headers["retry-after"], json.loads(body)["error"]) == (503, "1", "the model is still loading")
        assert served.predict([[0]])[0] == 503
        (tmp_path / "gate").touch()
        until(lambda: served.call("GET", "/readyz")[0] == 200)
        assert served.predict([[0]]) == (200, {"predictions": [[0]]})
    finally:
        code = served.stop()
    assert code == 0


def test_a_stop_while_loading(slow: Path, tmp_path: Path) -> None:
    assert Served(slow, tmp_path / "run", ready=False).stop() == 0


def test_a_stop_lets_requests_in_flight_finish(slow: Path, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    served = Served(slow, tmp_path / "run")
    try:
        idle = served.connect()
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(served.call, "POST", "/predict", [[-1.0]])
            until(lambda: b"cloudml_batches_total 1" in served.call("GET", "/metrics")[2])
            served.process.terminate()
            until(lambda: served.call("GET", "/readyz")[0] == 503)
            assert served.call("GET", "/livez")[0] == 200
            (tmp_path / "gate-go").touch()
            status, headers, body = under_way.result()
        assert (status, headers["connection"], body) == (200, "close", b'{"predictions":[[-1.0]]}')
        assert idle.recv(1) == b""
        idle.close()
        assert served.process.wait(60) == 0
    finally:
        served.stop()


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("def load(folder):\n    raise OSError('no weights')", "OSError", "no weights"),
        ("import nothing_of_that_name", "ModuleNotFoundError", "nothing_of_that_name"),
        ("raise SystemExit(0)", "SystemExit", ""),
        ("x = 1", "ConfigError", "must have load(folder) or a class Model(folder)"),
        ("def load(folder): return 3", "ConfigError", "a int, has no predict(rows)"),
    ],
)
def test_a_model_that_does_not_load(tmp_path: Path, text: str, kind: str, says: str) -> None:
    failure = tmp_path / "failure.json"
    served = Served(broken(tmp_path / "m", text), tmp_path / "run", ready=False, CLOUDML_FAILURE_FILE=str(failure))
    try:
        assert served.process.wait(60) == 3
    finally:
        served.stop()
    found = json.loads(failure.read_text())
    assert found["type"] == kind
    assert says in found["message"]
    log = served.log.read_text()
    assert f"cloudml: the model does not load: {kind}: " in log
    assert ("Traceback" in log) == (kind != "ConfigError")


def test_plain_files_cannot_be_served(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "weights.bin").write_bytes(b"1")
    served = Served(manifested(tmp_path / "m"), tmp_path / "run", ready=False)
    try:
        assert served.process.wait(60) == 3
    finally:
        served.stop()
    assert "cannot be served: it has none of model.joblib, model.pkl, model.onnx, model.py" in served.log.read_text()


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, "CLOUDML_MODEL_DIR is not set"),
        ({"CLOUDML_MODEL_DIR": "x", "CLOUDML_PORT": "x"}, "CLOUDML_PORT='x' is not a number"),
        ({"CLOUDML_MODEL_DIR": "x", "PORT": "70000"}, "PORT='70000' is not between"),
        ({"CLOUDML_MODEL_DIR": "x", "CLOUDML_CAPTURE_RATE": "2"}, "CLOUDML_CAPTURE_RATE='2' is not between"),
    ],
)
def test_wrong_settings_are_exit_code_2(env: dict[str, str], says: str) -> None:
    done = runtime("serve", env)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_taken_port_is_said(slow: Path, tmp_path: Path) -> None:
    served = Served(slow, tmp_path / "run", ready=False)
    try:
        done = runtime("serve", {"CLOUDML_MODEL_DIR": str(slow), "CLOUDML_PORT": str(served.port)})
    finally:
        served.stop()
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{served.port}" in done.stderr


@pytest.mark.parametrize("missing", ["orjson", "httptools"])
def test_a_missing_extra_says_the_command(missing: str) -> None:
    start = "from cloudml.runtime.__main__ import main; sys.exit(main(['serve']))"
    code = f"import sys; sys.modules[{missing!r}] = None; {start}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment({}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert f"serving needs {missing}" in done.stderr
    assert 'pip install "cloudml-sdk[serve]"' in done.stderr


def test_without_uvloop_and_with_nothing_heavy_on_the_way(echo: Path, tmp_path: Path) -> None:
    """asyncio's own loop serves too; and a python model that needs no NumPy does not pay for it."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "uvloop.py").write_text("raise ModuleNotFoundError(name='uvloop')")
    (hidden / "numpy.py").write_text("raise RuntimeError('NumPy was imported')")
    served = Served(echo, tmp_path / "run", PYTHONPATH=os.pathsep.join([str(hidden), SRC]))
    try:
        assert served.predict([[3]]) == (200, {"predictions": [[6]]})
    finally:
        code = served.stop()
    assert code == 0


def test_capture(echo: Path, tmp_path: Path) -> None:
    served = Served(
        echo,
        tmp_path / "run",
        CLOUDML_CAPTURE_DIR=str(tmp_path / "captured"),
        CLOUDML_CAPTURE_RATE="1",
        CLOUDML_ENDPOINT="api",
        CLOUDML_DEPLOYMENT="blue",
        CLOUDML_MODEL_NAME="fraud",
        CLOUDML_MODEL_VERSION="2",
    )
    try:
        served.call("POST", "/predict", [[1], [2]], {"x-request-id": "one"})
        until(lambda: list((tmp_path / "captured").glob("*.jsonl")))  # while it runs, not only at its end
        served.predict(b"{")
        served.predict([["raise"]], x_request_id="two")
    finally:
        served.stop()
    (file,) = (tmp_path / "captured").glob("*.jsonl")
    assert file.name.split("-")[1] == str(served.process.pid)
    records = [json.loads(line) for line in file.read_text().splitlines()]
    times = [datetime.fromisoformat(record.pop("time")) for record in records]
    assert times == sorted(times)
    assert file.name.startswith(times[0].strftime("%Y%m%dT%H"))
    assert all(0 < record.pop("latency_ms") < 10_000 for record in records)
    labels = {"endpoint": "api", "deployment": "blue", "model": "fraud", "version": "2", "names": None}
    assert records == [
        {"id": "one", **labels, "inputs": [[1], [2]], "outputs": [[2], [4]], "status": 200},
        {"id": "two", **labels, "inputs": [["raise"]], "outputs": [], "status": 500},
    ]


def test_capture_that_cannot_write_is_counted_and_serving_goes_on(echo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    served = Served(echo, tmp_path / "run", CLOUDML_CAPTURE_DIR=str(tmp_path / "file"))
    try:
        assert served.predict([[1]])[0] == 200
        until(lambda: b"cloudml_capture_dropped_total 1" in served.call("GET", "/metrics")[2])
        assert served.predict([[1]])[0] == 200
    finally:
        served.stop()
    assert served.log.read_text().count("captured requests are lost") == 1


def test_what_would_wait_too_long_is_refused(slow: Path, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    served = Served(slow, tmp_path / "run")
    try:
        assert served.predict([[0.2]])[0] == 200  # the pace: 5 rows a second
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(served.predict, [[-1.0]] * 130)
            until(lambda: b"cloudml_batches_total 2" in served.call("GET", "/metrics")[2])
            status, headers, body = served.call("POST", "/predict", [[0.0]])
            assert (status, headers["retry-after"]) == (503, "1")
            assert json.loads(body)["error"] == "130 rows are waiting already; try again later"
            (tmp_path / "gate-go").touch()
            assert under_way.result()[0] == 200
        assert served.predict([[0.0]])[0] == 200
    finally:
        served.stop()


def test_a_signal_twice_is_one_stop(echo: Path, tmp_path: Path) -> None:
    served = Served(echo, tmp_path / "run")
    try:
        served.process.send_signal(signal.SIGINT)
        while served.process.poll() is None:  # at every point of its end
            served.process.send_signal(signal.SIGTERM)
        assert served.process.returncode == 0
    finally:
        served.stop()


def environment(env: dict[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDML_") and name != "PORT"}
    return {**clean, "PYTHONPATH": SRC, **env}


def runtime(verb: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cloudml.runtime", verb]
    return subprocess.run(command, env=environment(env), capture_output=True, text=True, timeout=60, check=False)
