"""The HTTP clients that people have: curl, requests, httpx, aiohttp."""

from __future__ import annotations

import asyncio
import json
import subprocess

import aiohttp
import httpx
import requests
from conftest import program

BODY = {"instances": [[2, 1, 0], [-2, 1, 0]]}
ANSWER = {"predictions": [1, 0]}


def test_curl(url: str) -> None:
    command = [
        program("curl"),
        "-sS",
        "--max-time",
        "30",
        "-w",
        "\n%{http_code}",
        "-H",
        "content-type: application/json",
    ]
    for more in ([], ["-H", "transfer-encoding: chunked"], ["-H", "expect: 100-continue"], ["--http1.0"], ["--http2"]):
        found = subprocess.run(
            [*command, *more, "-d", json.dumps(BODY), f"{url}/invocations"], capture_output=True, text=True, check=True
        )
        body, _, status = found.stdout.rpartition("\n")
        assert (status, json.loads(body)) == ("200", ANSWER), more


def test_curl_reuses_its_connection_and_head_has_no_body(url: str) -> None:
    command = [
        program("curl"),
        "-sS",
        "--max-time",
        "30",
        "-w",
        "%{num_connects} ",
        "-o",
        "/dev/null",
        "-o",
        "/dev/null",
    ]
    found = subprocess.run([*command, f"{url}/ping", f"{url}/ping"], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1", "0"]
    head = subprocess.run(
        [program("curl"), "-sSI", f"{url}/ping"], capture_output=True, text=True, check=True, timeout=30
    )
    assert head.stdout.startswith("HTTP/1.1 200")


def test_requests(url: str) -> None:
    with requests.Session() as session:
        for _ in range(3):
            found = session.post(f"{url}/score", json=BODY, timeout=30)
            assert found.json() == ANSWER
        streamed = session.post(
            f"{url}/predict", data=iter([b"2,1,0\n", b"-2,1,0\n"]), headers={"content-type": "text/csv"}
        )
        assert streamed.json() == ANSWER
        assert session.options(f"{url}/predict", timeout=30).status_code == 405


def test_httpx(url: str) -> None:
    with httpx.Client(timeout=30) as client:
        assert client.post(f"{url}/v1/models/fraud:predict", json=BODY).json() == ANSWER
        text = client.post(f"{url}/invocations", json=BODY, headers={"accept": "text/csv"})
        assert (text.headers["content-type"], text.text) == ("text/csv", "1\n0\n")


def test_aiohttp_all_at_once(url: str) -> None:
    async def ask() -> list[object]:
        async with aiohttp.ClientSession() as session:

            async def one() -> object:
                async with session.post(f"{url}/invocations", json=BODY) as answer:
                    return await answer.json()

            return await asyncio.gather(*(one() for _ in range(100)))

    assert asyncio.run(ask()) == [ANSWER] * 100
