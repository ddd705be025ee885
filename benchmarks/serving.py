"""The endpoint beside FastAPI + uvicorn with the same model: requests per second, latency, and cold start.

    pip install -r benchmarks/requirements.txt && python benchmarks/serving.py [--seconds 4] [--rounds 3]

Both serve one scikit-learn LogisticRegression (30 features) to POSTs of one JSON row over keep-alive connections, one
process each, pinned to one core; the load comes from another core, in turns, in one run. Machines differ: quote the
ratio. The load generator is wrk where it is installed, else the client at the end of this file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEER = """
import joblib, numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

class Rows(BaseModel):
    instances: list[list[float]]

app = FastAPI()
model = joblib.load("model.joblib")

@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"ready": True}

@app.post("/invocations")
async def invocations(rows: Rows) -> dict[str, list[int]]:
    return {"predictions": model.predict(np.array(rows.instances)).tolist()}
"""


@dataclass(frozen=True)
class Load:
    """What one turn of load measured; latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--load", nargs=5, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.load:
        port, connections, seconds, body, _ = chosen.load
        print(json.dumps(asyncio.run(Client(int(port), Path(body).read_bytes()).run(int(connections), float(seconds)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        body = make_model(Path(folder))
        compare(Path(folder), body, chosen.seconds, chosen.rounds)


def make_model(folder: Path) -> Path:
    """Train, write the manifest and one request's body; returns the body's path."""
    import joblib
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline  # noqa: F401  # as a user's script would have it loaded

    from cloudml.runtime.manifest import write_manifest

    rows, target = load_breast_cancer(return_X_y=True)
    (folder / "model").mkdir()
    joblib.dump(LogisticRegression(max_iter=10_000).fit(rows, target), folder / "model" / "model.joblib")
    write_manifest(folder / "model")
    (folder / "peer.py").write_text(PEER)
    shutil.copy(folder / "model" / "model.joblib", folder / "model.joblib")
    (folder / "body.json").write_text(json.dumps({"instances": [rows[0].tolist()]}))
    return folder / "body.json"


def compare(folder: Path, body: Path, seconds: float, rounds: int) -> None:
    servers = {"cloudml": start_cloudml(folder), "fastapi+uvicorn": start_peer(folder)}
    try:
        cold = {name: [server.wait_ready()] for name, server in servers.items()}
        found: dict[tuple[str, int], list[Load]] = {}
        for turn in range(rounds + 1):
            for connections in (1, 64):
                for name, server in servers.items():
                    load = measure(server.port, connections, seconds if turn else 1.0, body)
                    if turn:  # the first is a warm-up
                        found.setdefault((name, connections), []).append(load)
    finally:
        for server in servers.values():
            server.stop()
    for _ in range(rounds):
        for name, start in (("cloudml", start_cloudml), ("fastapi+uvicorn", start_peer)):
            server = start(folder)
            try:
                cold[name].append(server.wait_ready())
            finally:
                server.stop()
    report(found, {name: times[1:] for name, times in cold.items()})


def report(found: dict[tuple[str, int], list[Load]], cold: dict[str, list[float]]) -> None:
    print(f"load generator: {'wrk' if shutil.which('wrk') else 'the asyncio client of this file, itself a limit'}")
    print(f"{'':18}{'connections':>12}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}")
    median: dict[tuple[str, int], float] = {}
    for (name, connections), loads in sorted(found.items(), key=lambda item: item[0][1]):
        median[name, connections] = statistics.median(load.rate for load in loads)
        p50, p99 = (statistics.median(getattr(load, key) for load in loads) for key in ("p50", "p99"))
        print(f"{name:18}{connections:>12}{median[name, connections]:>10.0f}{p50:>9.2f}{p99:>9.2f}")
    for connections in (1, 64):
        ratio = median["cloudml", connections] / median["fastapi+uvicorn", connections]
        print(f"ratio at {connections:>2} connections: {ratio:.1f}")
    for name, times in cold.items():
        print(f"cold start to the first 200, {name}: {statistics.median(times):.2f} s")


class Started:
    """A server process on one core, and the time that it took to be ready."""

    def __init__(self, command: list[str], cwd: Path, port: int, env: dict[str, str]) -> None:
        self.port = port
        self._began = time.perf_counter()
        pinned = ["taskset", "-c", "0", *command] if shutil.which("taskset") else command
        self._process = subprocess.Popen(
            pinned, cwd=cwd, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait_ready(self) -> float:
        while time.perf_counter() - self._began < 60:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return time.perf_counter() - self._began
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.01)
        raise SystemExit("a server did not start")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)


def start_cloudml(folder: Path) -> Started:
    port = free_port()
    env = {"PYTHONPATH": str(ROOT / "src"), "CLOUDML_MODEL_DIR": str(folder / "model"), "CLOUDML_PORT": str(port)}
    env["CLOUDML_ALLOW_PICKLE"] = "1"
    return Started([sys.executable, "-m", "cloudml.runtime", "serve"], folder, port, env)


def start_peer(folder: Path) -> Started:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "peer:app", "--port", str(port), "--no-access-log"]
    return Started([*command, "--log-level", "warning"], folder, port, {})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def measure(port: int, connections: int, seconds: float, body: Path) -> Load:
    pinned = ["taskset", "-c", "1"] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []
    if wrk := shutil.which("wrk"):
        script = body.with_suffix(".lua")
        quoted = json.dumps(body.read_text())
        script.write_text(
            f'wrk.method="POST"\nwrk.body={quoted}\nwrk.headers["content-type"]="application/json"\n'
            "done=function(s,l) io.write(string.format('RATE %f %f %f %d\\n',"
            "s.requests/s.duration*1e6,l:percentile(50)/1e3,l:percentile(99)/1e3,"
            "s.errors.status+s.errors.read+s.errors.connect)) end\n"
        )
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
        output = subprocess.run(
            [*pinned, *command, f"http://127.0.0.1:{port}/invocations"], capture_output=True, text=True, check=True
        ).stdout
        match = re.search(r"RATE (\S+) (\S+) (\S+) (\d+)", output)
        if match is None or match[4] != "0":
            raise SystemExit(f"the load failed:\n{output}")
        return Load(float(match[1]), float(match[2]), float(match[3]))
    command = [sys.executable, __file__, "--load", str(port), str(connections), str(seconds), str(body), ""]
    found = json.loads(subprocess.run([*pinned, *command], capture_output=True, text=True, check=True).stdout)
    return Load(**found)


class Client:
    """A closed loop of requests over raw protocols, so that the client costs less than what it measures."""

    def __init__(self, port: int, body: bytes) -> None:
        self._port = port
        head = f"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self.request = head.encode() + b"\r\n\r\n" + body
        self.times: list[float] = []

    async def run(self, connections: int, seconds: float) -> dict[str, float]:
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Lane(self), "127.0.0.1", self._port) for _ in range(connections)]
        began = time.perf_counter()
        for _, lane in made:
            lane.send()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        times = sorted(self.times)
        for transport, _ in made:
            transport.abort()
        at = [times[int(len(times) * share)] * 1000 for share in (0.5, 0.99)]
        return {"rate": len(times) / took, "p50": at[0], "p99": at[1]}


class Lane(asyncio.Protocol):
    """One connection: the next request leaves when the answer is there."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._sent = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def send(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(self._client.request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, rest = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if length is None or len(rest) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode())
        self._got = b""
        self._client.times.append(time.perf_counter() - self._sent)
        self.send()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    main()
