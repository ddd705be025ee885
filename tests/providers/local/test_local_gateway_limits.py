"""The gateway against clients that are slow, wrong, too large or not allowed; and against any bytes at all."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_backends import Backend, Gateway, says
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_things import until

TOKEN = "right"
POST = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    made = Backend(says(b"yes"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, backend: Backend) -> Iterator[Gateway]:
    """One that takes little, and waits for a client that the machine holds up."""
    folder = tmp_path_factory.mktemp("gateway") / "endpoint"
    made = Gateway(folder, None, head_time=20, body_time=20, idle=20, head=4096, body=10_000)
    made.table(a=(backend, 100))
    yield made
    made.close()


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, backend: Backend) -> Iterator[Gateway]:
    """One whose patience is short."""
    made = Gateway(tmp_path_factory.mktemp("gateway") / "endpoint", None, head_time=0.5, body_time=0.7, idle=1.5)
    made.table(a=(backend, 100))
    yield made
    made.close()


def hear(one: socket.socket) -> bytes:
    found = b""
    while True:
        try:
            block = one.recv(1 << 16)
        except ConnectionResetError:
            return found
        if not block:
            return found
        found += block


def say(gateway: Gateway, *pieces: bytes, half_close: bool = False) -> list[tuple[int, bytes]]:
    """The answers to what is sent on one connection, until the gateway ends it."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as one:
        with contextlib.suppress(OSError):  # it may have said its last already
            for piece in pieces:
                one.sendall(piece)
            if half_close:
                one.shutdown(socket.SHUT_WR)
        return answers(hear(one))


def answers(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        size = int((re.search(rb"content-length: (\d+)", head) or [b"", b"0"])[1]) if status >= 200 else 0
        found.append((status, rest[:size]))
        data = rest[size:]
    return found


def alive(gateway: Gateway) -> None:
    assert say(gateway, POST, half_close=True) == [(200, b"yes")]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([b"POST /invocations HT"], [408]),
        ([POST[:-2]], [408]),
        ([], []),
        ([POST], [200]),
        ([POST, POST[:-2]], [200, 408]),
    ],
)
def test_slow_and_idle_clients_are_let_go(hasty: Gateway, sent: list[bytes], expected: list[int]) -> None:
    assert [status for status, _ in say(hasty, *sent)] == expected


def test_a_head_that_trickles_is_not_waited_for(hasty: Gateway) -> None:
    """Each byte in time, the whole too late."""
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=0.05) as one:
        found, began = b"", time.monotonic()
        one.sendall(b"GET / HTTP/1.1\r\nx-slow: ")
        while not found and time.monotonic() - began < 60:
            one.sendall(b"y")
            try:
                found = one.recv(1000)
            except TimeoutError:
                continue
    assert found.startswith(b"HTTP/1.1 408 ")


def test_limits_of_size(gateway: Gateway) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 20000\r\n\r\n"
    assert [status for status, _ in say(gateway, head + b"x" * 20000)] == [413]
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunk * 4 + b"0\r\n\r\n"
    assert [status for status, _ in say(gateway, POST, chunked)] == [200, 413]
    assert [status for status, _ in say(gateway, b"GET / HTTP/1.1\r\nx-a: " + b"y" * 5000 + b"\r\n\r\n")] == [431]
    assert [status for status, _ in say(gateway, b"GET /" + b"y" * 6000)] == [431]
    assert [status for status, _ in say(gateway, GET[:-2] + b"x-a: b\r\n" * 1000)] == [431]
    assert [status for status, _ in say(gateway, b"POST", POST[4:60], POST[60:] * 1 + POST * 60, half_close=True)] == [
        200
    ] * 61
    alive(gateway)


def test_a_client_that_closes_its_half_is_answered(gateway: Gateway) -> None:
    assert say(gateway, POST + POST + GET, half_close=True) == [(200, b"yes")] * 3
    assert say(gateway, POST[:-1], half_close=True) == []


def test_what_it_says_itself_has_no_body_for_head(gateway: Gateway) -> None:
    both = b"HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n" + POST
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as one:
        one.sendall(both)
        one.shutdown(socket.SHUT_WR)
        first, _, rest = hear(one).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert rest.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_leaves_in_the_middle_leaves_nothing(gateway: Gateway, backend: Backend) -> None:
    files = len(list(Path(f"/proc/{gateway.pid}/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for sent in (b"POS", POST[:-2], POST, b"nonsense\r\n\r\n", GET * 5):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as one:
            one.sendall(sent)
    alive(gateway)
    if files:
        until(lambda: len(list(Path(f"/proc/{gateway.pid}/fd").iterdir())) <= files + 8)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Basic right"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer right"}, 200),
        ({"Authorization": "bearer right"}, 200),
    ],
)
def test_with_a_token_nothing_is_said_without_it(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    backend, made = Backend(says(b"yes")), Gateway(tmp_path / "endpoint", TOKEN)
    try:
        made.table(a=(backend, 100))
        connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=60)
        connection.request("POST", "/invocations", b"x", headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert (answer.getheader("www-authenticate") == "Bearer") == (status == 401)
        connection.close()
        assert len(backend.requests) == (status == 200)
        assert not any(b"uthorization" in request for request in backend.requests)
        for path in ("/livez", "/livez?servers"):
            connection.request("GET", path, headers={k: v for k, v in headers.items() if path != "/livez"})
            answer = connection.getresponse()
            found = json.load(answer)
            assert answer.status == (200 if path == "/livez" else status)
            assert ("ready" in found) == (path != "/livez" and status == 200)
            connection.close()
    finally:
        made.close()
        backend.close()


FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def fine(gateway: Gateway, *pieces: bytes) -> None:
    """Whatever was sent: an answer or an end, no 5xx, and the next client is served."""
    found = say(gateway, *pieces, half_close=True)
    assert all(status < 500 and status != 408 for status, _ in found), (pieces, found)


@FUZZ
@given(st.lists(st.binary(max_size=120), max_size=4))
def test_any_bytes(gateway: Gateway, pieces: list[bytes]) -> None:
    fine(gateway, *pieces)


@FUZZ
@given(st.binary(max_size=40), st.integers(0, len(POST)), st.integers(0, 20), st.integers(0, 3))
def test_a_broken_request(gateway: Gateway, junk: bytes, at: int, cut: int, before: int) -> None:
    fine(gateway, POST * before, POST[:at] + junk + POST[at + cut :], POST)


NAMES = ("content-length", "transfer-encoding", "connection", "expect", "upgrade", "host", "x-cloudml-deployment", "te")
VALUES = (
    "4",
    "0",
    "-1",
    "99999999999999999999",
    "chunked",
    "close",
    "keep-alive",
    "100-continue",
    "h2c",
    "a",
    "",
    "x, y",
)


@FUZZ
@given(
    st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "TRACE", "BREW"]),
    st.sampled_from(["/", "*", "/livez", "//", "http://x/y", "/%00", "/" + "a" * 300]),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=5),
    st.sampled_from([b"", b"body", b"4\r\nbody\r\n0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"ffffffffffffffff\r\n"]),
    st.sampled_from(["1.1", "1.0", "2.0", "0.9"]),
)
def test_a_nearly_valid_request(
    gateway: Gateway, method: str, path: str, headers: list[tuple[str, str]], body: bytes, version: str
) -> None:
    head = f"{method} {path} HTTP/{version}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
    fine(gateway, head.encode() + b"\r\n" + body, GET)


def test_after_all_that_it_serves(gateway: Gateway) -> None:
    alive(gateway)
