"""Clients as people have them, run in a process of their own: prints what each of them got, as JSON."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import requests

URL = "https://api.tiny.example/x?y=1"
TIMEOUT = 30.0


def call(host: str) -> str:
    with grpc.secure_channel(f"{host}:443", grpc.ssl_channel_credentials()) as channel:
        answer = channel.unary_unary("/tiny.Echo/Say")(b"hi", timeout=TIMEOUT)
    return str(answer.decode())


def curl() -> Any:
    done = subprocess.run(["curl", "-sS", "-m", "30", URL], capture_output=True, check=True)
    return json.loads(done.stdout)["path"]


def unaware() -> int:
    """A client that knows of no proxy."""
    connection = http.client.HTTPSConnection("api.tiny.example", timeout=TIMEOUT)
    connection.request("GET", "/")
    return connection.getresponse().status


def quickest() -> bool:
    """Whether the quickest of some small bodies did not wait for a delayed acknowledgement, which takes 40 ms."""
    taken = []
    with requests.Session() as session:
        for _ in range(30):
            began = time.perf_counter()
            session.put(URL, data=b"x", timeout=TIMEOUT)
            taken.append(time.perf_counter() - began)
    return min(taken) < 0.035


def listening() -> str:
    """The loopback of this machine, where somebody listens."""
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=TIMEOUT):
        return "connected"


CLIENTS: dict[str, Callable[[], Any]] = {
    "requests": lambda: requests.get(URL, timeout=TIMEOUT).json()["host"],
    "urllib": lambda: json.load(urllib.request.urlopen(URL, timeout=TIMEOUT))["path"],
    "httpx": lambda: httpx.get(URL, timeout=TIMEOUT).json()["path"],
    "curl": curl,
    "any host of a pattern": lambda: requests.get("https://a.b.wild.tiny.example/", timeout=TIMEOUT).json()["host"],
    "grpc": lambda: call("both.tiny.example"),
    "http on the host of a service": lambda: requests.get("https://both.tiny.example/", timeout=TIMEOUT).json()["host"],
    "a service that is not there": lambda: call("api.tiny.example"),
    "without TLS": lambda: requests.get("http://api.tiny.example/plain?q=1", timeout=TIMEOUT).json()["path"],
    "metadata": lambda: requests.get("http://169.254.169.254/latest", timeout=TIMEOUT).json()["host"],
    "a large body": lambda: len(requests.put(URL, data=b"x" * 5_000_000, timeout=TIMEOUT).content),
    "small bodies are quick": quickest,
    "an unknown host": lambda: requests.get("https://unknown.example/", timeout=TIMEOUT).status_code,
    "an unknown host without TLS": lambda: requests.get("http://plain.example/", timeout=TIMEOUT).status_code,
    "no proxy": unaware,
    "loopback": listening,
}


def main() -> None:
    got: dict[str, Any] = {}
    for name in sys.argv[2:] or CLIENTS:
        try:
            got[name] = CLIENTS[name]()
        except (OSError, grpc.RpcError, requests.RequestException) as error:
            code = error.code().name if isinstance(error, grpc.Call) else ""
            got[name] = f"{type(error).__name__} {code}".strip()
    sys.stdout.write(json.dumps(got))


main()
