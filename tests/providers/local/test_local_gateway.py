"""The gateway: where each request goes, and what becomes of it when a server is not what it should be."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gateway_backends import Backend, Gateway, Reply, says
from local_things import until

Serve = Callable[..., Backend]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "endpoint")
    yield made
    made.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    made: list[Backend] = []

    def start(reply: Reply, ready: bool = True) -> Backend:
        made.append(Backend(reply, ready))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def connection(gateway: Gateway) -> Iterator[http.client.HTTPConnection]:
    """One that is kept from request to request."""
    made = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    yield made
    made.close()


def ask(
    connection: http.client.HTTPConnection, body: bytes = b"x", method: str = "POST", **headers: str
) -> tuple[int, bytes]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, "/invocations", body, given)
    answer = connection.getresponse()
    return answer.status, answer.read()


def raw(gateway: Gateway, data: bytes, until_closed: bool = True) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as one:
        one.sendall(data)
        found = b""
        while block := one.recv(65536):
            found += block
        return found


def test_with_nothing_behind_it_it_lives_and_says_so(connection: http.client.HTTPConnection) -> None:
    status, body = ask(connection)
    assert (status, json.loads(body)) == (503, {"error": "no deployment with traffic is ready"})
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200


def test_shares_are_exact_over_one_connection(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    gateway.table(
        a=(serve(says(b"a")), 70), b=(serve(says(b"b")), 25), c=(serve(says(b"c")), 5), d=(serve(says(b"d")), 0)
    )
    assert Counter(ask(connection)[1] for _ in range(100)) == {b"a": 70, b"b": 25, b"c": 5}
    assert ask(connection, x_cloudml_deployment="d") == (200, b"d")
    assert ask(connection, x_cloudml_deployment="e")[0] == 404


def test_a_server_gets_nothing_before_it_is_ready(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    slow, other = serve(says(b"slow"), ready=False), serve(says(b"other"))
    gateway.table(slow=(slow, 90), other=(other, 10))
    assert {ask(connection)[1] for _ in range(10)} == {b"other"}
    assert ask(connection, x_cloudml_deployment="slow")[0] == 503
    slow.ready = True
    until(lambda: ask(connection)[1] == b"slow")


def test_requests_arrive_whole_and_unchanged(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    echo = serve(lambda request, to: bool(to.sendall(_answer(request))) or True)
    gateway.table(a=(echo, 100))
    body = bytes(range(256)) * 4096
    status, seen = ask(connection, body, x_mine="yes", te="trailers")
    head, _, arrived = seen.partition(b"\r\n\r\n")
    assert (status, arrived) == (200, body)
    assert head.startswith(b"POST /invocations HTTP/1.1\r\n")
    assert b"x-mine: yes" in head
    assert b"\r\nte:" not in head
    head = b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    chunked = head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert raw(gateway, chunked).endswith(b"content-length: 5\r\n\r\nabcde")


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, serve: Serve) -> None:
    gateway.table(a=(serve(lambda request, to: bool(to.sendall(_answer(request.split()[1]))) or True), 100))
    some = b"".join(b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n" % number for number in range(20))
    last = b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    bodies = [part.partition(b"\r\n\r\n")[2] for part in raw(gateway, some + last).split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [*(b"/%d" % number for number in range(20)), b"/last"]


def test_what_is_not_http_is_refused(gateway: Gateway) -> None:
    assert raw(gateway, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_an_answer_streams_while_it_is_made(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    go = threading.Event()

    def reply(request: bytes, to: socket.socket) -> bool:
        to.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        go.wait(60)
        to.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
        return True

    gateway.table(a=(serve(reply), 100))
    connection.request("POST", "/invocations", b"x")
    answer = connection.getresponse()
    assert answer.read(5) == b"first"
    go.set()
    assert answer.read() == b"second"


def test_an_answer_without_a_length_ends_with_its_connection(gateway: Gateway, serve: Serve) -> None:
    gateway.table(a=(serve(lambda request, to: bool(to.sendall(b"HTTP/1.1 200 OK\r\n\r\nall")) and False), 100))
    assert raw(gateway, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n") == b"HTTP/1.1 200 OK\r\n\r\nall"


def test_head_has_no_body_and_the_connection_goes_on(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    def reply(request: bytes, to: socket.socket) -> bool:
        to.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + (b"" if request.startswith(b"HEAD") else b"whole"))
        return True

    gateway.table(a=(serve(reply), 100))
    assert ask(connection, b"", "HEAD") == (200, b"")
    assert ask(connection) == (200, b"whole")


def test_a_request_that_a_server_died_on_is_not_sent_again(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    broken = serve(lambda request, to: False)
    gateway.table(a=(broken, 100))
    status, body = ask(connection)
    assert (status, json.loads(body)) == (502, {"error": "deployment a ended before it answered"})
    assert len(broken.requests) == 1


def test_a_kept_connection_that_the_server_closed_costs_nothing(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    backend = serve(says(b"a"))
    gateway.table(a=(backend, 100))
    for _ in range(20):
        assert ask(connection) == (200, b"a")
        backend.hang_up()


def test_a_server_that_is_gone_is_passed_over(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    gone, left = serve(says(b"gone")), serve(says(b"left"))
    gateway.table(gone=(gone, 50), left=(left, 50))
    assert {ask(connection)[1] for _ in range(4)} == {b"gone", b"left"}
    gone.close()
    assert {ask(connection) for _ in range(10)} == {(200, b"left")}


def test_a_server_that_does_not_answer_is_given_up(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    over = threading.Event()
    gateway.table(0.1, a=(serve(lambda request, to: over.wait(60)), 100))
    status, body = ask(connection)
    over.set()
    assert (status, json.loads(body)) == (504, {"error": "the deployment did not answer in time"})


def test_a_client_that_leaves_harms_nobody(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    go = threading.Event()

    def reply(request: bytes, to: socket.socket) -> bool:
        go.wait(60)
        to.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes")
        return True

    backend = serve(reply)
    gateway.table(a=(backend, 100))
    with socket.create_connection(("127.0.0.1", gateway.port)) as one:
        one.sendall(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n")
        until(lambda: len(backend.requests) == 1)
    go.set()
    assert ask(connection) == (200, b"yes")


def test_a_new_table_moves_traffic_and_lets_the_old_server_finish(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    go = threading.Event()

    def reply(request: bytes, to: socket.socket) -> bool:
        go.wait(60)
        to.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold")
        return True

    old, new = serve(reply), serve(says(b"new"))
    gateway.table(a=(old, 100))
    connection.request("POST", "/invocations", b"x")
    until(lambda: len(old.requests) == 1)
    gateway.table(a=(new, 100))
    second = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    assert ask(second) == (200, b"new")
    second.close()
    go.set()
    assert connection.getresponse().read() == b"old"
    until(lambda: old.open == 0)  # a server that is to end is not held up by connections that are kept


def test_at_its_end_it_finishes_what_is_under_way(
    gateway: Gateway, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    go = threading.Event()

    def reply(request: bytes, to: socket.socket) -> bool:
        go.wait(60)
        to.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        return True

    backend = serve(reply)
    gateway.table(a=(backend, 100))
    connection.request("POST", "/invocations", b"x")
    until(lambda: len(backend.requests) == 1)
    gateway.terminate()
    go.set()
    assert connection.getresponse().read() == b"done"


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
