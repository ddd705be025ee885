"""A real Prometheus: its checker reads the numbers, and its server scrapes them."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import requests
from conftest import program
from serving_process import Served, until

CONFIG = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
scrape_configs:
  - job_name: endpoint
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def test_promtool(url: str) -> None:
    requests.post(f"{url}/invocations", json=[[1, 2, 3]], timeout=30)
    text = requests.get(f"{url}/metrics", timeout=30).text
    found = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_it_scrapes(served: Served, url: str, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(CONFIG.format(port=served.port))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    command = [
        program("prometheus"),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
    ]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        for _ in range(3):
            requests.post(f"{url}/invocations", json=[[1, 2, 3]], timeout=30)
        for query in ('up{job="endpoint"} == 1', 'cloudml_requests_total{route="predict",status="200"} >= 3'):
            until(lambda asked=query: _true(port, asked), 60)
    finally:
        process.terminate()
        process.wait(30)


def _true(port: int, query: str) -> bool:
    asked = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return bool(json.load(answer)["data"]["result"])
    except (urllib.error.URLError, ConnectionError):
        return False
