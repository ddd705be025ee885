"""`cloudml serve` beside other servers of the same model: requests per second as ratios, cold start, p99 beside bulk.

    python3 -m venv PEERS && PEERS/bin/pip install -r benchmarks/requirements.txt
    python3 benchmarks/serving/compare.py PEERS/bin/python [--seconds 2] [--rounds 3] [--only mlflow,cloudml-onnx]

One process each, pinned to one core; the load (wrk, Debian's package) comes from another core, in turns, in one run;
the median of the rounds counts. Absolute figures tell of the machine, so quote the ratios.
"""

from __future__ import annotations

import argparse
import csv
import io
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
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peers

HERE = Path(__file__).resolve().parent
SHAPES = ((1, 1), (1, 64), (100, 1), (100, 64))  # rows, connections
AIMS = (  # ours, the other, rows, connections, at least
    ("cloudml-onnx", "mlflow", 1, 64, 60.0),
    ("cloudml-onnx", "kserve", 1, 64, 25.0),
    ("cloudml-onnx", "fastapi", 1, 64, 12.0),
    ("cloudml-sklearn", "fastapi", 1, 64, 10.0),
    ("cloudml-onnx", "floor", 1, 64, 0.5),
    ("cloudml-onnx", "mlflow", 1, 1, 8.0),
)


@dataclass(frozen=True)
class Load:
    """What one turn measured; latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


Found = dict[tuple[str, int, int], list[Load]]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("python", help="of the environment that has benchmarks/requirements.txt")
    options.add_argument("--seconds", type=int, default=2, help="of one turn")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", default="", help="these servers, by comma")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that the servers end too
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing (Debian: apt install wrk)")
    with tempfile.TemporaryDirectory(prefix="cloudml-benchmark-") as name:
        folder = Path(name)
        subprocess.run([chosen.python, str(HERE / "models.py"), name], check=True, stderr=subprocess.DEVNULL)
        kinds = [*peers.PEERS, *(peers.ours(kind, HERE.parents[1]) for kind in ("onnx", "sklearn"))]
        wanted = [peer for peer in kinds if not chosen.only or peer.name in chosen.only.split(",")]
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        found = rates(folder, chosen.python, wanted, chosen.seconds, chosen.rounds)
        print(f"load average after: {os.getloadavg()[0]:.1f}\n")
        report(found)
        for peer in wanted:
            if peer.name.startswith("cloudml"):
                beside_bulk(folder, chosen.python, peer, chosen.seconds)


def rates(folder: Path, python: str, wanted: list[peers.Peer], seconds: int, rounds: int) -> Found:
    found: Found = {}
    started = {}
    try:
        for peer in wanted:  # one after the other, so that each has the machine for its start
            started[peer.name] = server = Server(folder, python, peer)
            print(f"cold start to the first 200, {peer.name:16}{server.cold:6.2f} s", flush=True)
        rows = json.loads((folder / "rows.json").read_text())
        for turn in range(rounds):
            for count, connections in SHAPES:
                for peer in wanted:
                    load = measure(folder, started[peer.name], connections, seconds, peer.body(rows[:count]))
                    found.setdefault((peer.name, count, connections), []).append(load)
            print(f"round {turn + 1} of {rounds}, load average {os.getloadavg()[0]:.1f}", flush=True)
    finally:
        for server in started.values():
            server.stop()
    return found


def report(found: Found) -> None:
    rate = {key: statistics.median(load.rate for load in loads) for key, loads in found.items()}
    print(f"{'':18}{'rows':>5}{'conn.':>6}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}   of the floor")
    for (name, rows, connections), loads in sorted(found.items(), key=lambda item: (item[0][1:], -rate[item[0]])):
        p50, p99 = (statistics.median(getattr(load, key) for load in loads) for key in ("p50", "p99"))
        floor = rate.get(("floor", rows, connections), 0.0)
        share = f"{rate[name, rows, connections] / floor:.3f}" if floor else "-"
        line = f"{name:18}{rows:>5}{connections:>6}{rate[name, rows, connections]:>9.0f}{p50:>9.2f}{p99:>9.2f}"
        print(f"{line}   {share}")
    print()
    for ours, other, rows, connections, least in AIMS:
        mine, theirs = rate.get((ours, rows, connections)), rate.get((other, rows, connections))
        if mine and theirs:
            ratio = mine / theirs
            verdict = "reached" if ratio >= least else "MISSED"
            print(f"{ours} / {other}, {rows} row, {connections} connections: {ratio:.2f} (aim {least:g}: {verdict})")


class Server:
    """A server process on one core; made, it is ready, after ``cold`` seconds."""

    def __init__(self, folder: Path, python: str, peer: peers.Peer) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = int(sock.getsockname()[1])
        self.path = peer.predict
        self._name = peer.name
        env = {name: str(self.port) if value == "PORT" else value for name, value in peer.env.items()}
        pinned = ["taskset", "-c", "0"] if shutil.which("taskset") else []
        path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
        began = time.perf_counter()
        with open(folder / f"{peer.name}.log", "wb") as log:
            self._process = subprocess.Popen(
                [*pinned, python, *peer.command(self.port)],
                cwd=folder, env={**os.environ, "PATH": path, **env}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._log = folder / f"{peer.name}.log"
        try:
            self._wait(f"http://127.0.0.1:{self.port}{peer.ready}")
        except BaseException:
            self.stop()
            raise
        self.cold = time.perf_counter() - began

    def _wait(self, url: str) -> None:
        end = time.monotonic() + 90
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.01)
        raise SystemExit(f"{self._name} did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(20)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)


def measure(folder: Path, server: Server, connections: int, seconds: int, body: bytes) -> Load:
    script = folder / "load.lua"
    script.write_text(
        f'wrk.method="POST"\nwrk.body={json.dumps(body.decode())}\nwrk.headers["content-type"]="application/json"\n'
        "done=function(s,l) io.write(string.format('RATE %f %f %f %d\\n',"
        "s.requests/s.duration*1e6,l:percentile(50)/1e3,l:percentile(99)/1e3,"
        "s.errors.status+s.errors.read+s.errors.connect)) end\n"
    )
    pinned = ["taskset", "-c", "1"] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []
    command = [*pinned, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
    url = f"http://127.0.0.1:{server.port}{server.path}"
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    match = re.search(r"RATE (\S+) (\S+) (\S+) (\d+)", output)
    if match is None or match[4] != "0":
        raise SystemExit(f"the load on {server.path} failed:\n{output}")
    return Load(float(match[1]), float(match[2]), float(match[3]))


def beside_bulk(folder: Path, python: str, peer: peers.Peer, seconds: int) -> None:
    """p99 of single rows while one client sends large bodies without a pause."""
    rows = json.loads((folder / "rows.json").read_text())
    many = (rows * 100)[:8000]
    server = Server(folder, python, peer)
    try:
        for kind, make in BULK.items():
            content, body = make(many)
            over = threading.Event()
            sent = [0]
            client = threading.Thread(target=_send, args=(server, content, body, over, sent))
            client.start()
            try:
                load = measure(folder, server, 4, 2 * seconds, peer.body(rows[:1]))
            finally:
                over.set()
                client.join()
            about = f"{len(body) / 1e6:.1f} MB of {kind}, {len(many)} rows, {sent[0] / (2 * seconds):.1f} a second"
            print(f"{peer.name}: one row beside {about}: p50 {load.p50:.2f} ms, p99 {load.p99:.2f} ms")
    finally:
        server.stop()


def _send(server: Server, content: str, body: bytes, over: threading.Event, sent: list[int]) -> None:
    while not over.is_set():
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}{server.path}", body, {"content-type": content}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        sent[0] += 1


def _json(rows: list[list[float]]) -> tuple[str, bytes]:
    return "application/json", json.dumps({"instances": rows}).encode()


def _csv(rows: list[list[float]]) -> tuple[str, bytes]:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return "text/csv", text.getvalue().encode()


def _parquet(rows: list[list[float]]) -> tuple[str, bytes]:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({f"c{index}": [row[index] for row in rows] for index in range(len(rows[0]))})
    text = io.BytesIO()
    pyarrow.parquet.write_table(table, text)
    return "application/vnd.apache.parquet", text.getvalue()


BULK: dict[str, Callable[[list[list[float]]], tuple[str, bytes]]] = {"JSON": _json, "CSV": _csv, "Parquet": _parquet}


if __name__ == "__main__":
    if (
        sys.prefix == sys.base_prefix
        and len(sys.argv) > 1
        and Path(sys.argv[1]).resolve() != Path(sys.executable).resolve()
    ):
        os.execv(sys.argv[1], [sys.argv[1], *sys.argv])  # pyarrow is in the other environment
    main()
