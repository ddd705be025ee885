"""The kit's HTTP server: keep-alive, chunks, what is too large, what is no request, in whose words it is refused."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from cloudml.emulation.http import MALFORMED, TOO_LARGE, Answer, Request, Server

LARGEST = 1000


def respond(request: Request) -> Answer | None:
    if request.path == "/lost":
        return None
    return Answer(200, {"path": request.path, "query": dict(request.query), "body": request.body.decode()})


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(respond, "tests", {TOO_LARGE: Answer(TOO_LARGE, {"error": "in our own words"})}, LARGEST)
    yield made
    made.close()


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    yield made
    made.close()


def test_one_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    for number in range(3):
        connection.request("PUT", f"/a?n={number}&empty=", body=b"x" * number)
        said = json.loads(connection.getresponse().read())
        assert said == {"path": "/a", "query": {"n": str(number), "empty": ""}, "body": "x" * number}


def test_chunks_are_one_body(connection: http.client.HTTPConnection) -> None:
    chunks = {"Transfer-Encoding": "Chunked"}
    connection.request("POST", "/", body=iter([b"one", b"two"]), encode_chunked=True, headers=chunks)
    assert json.loads(connection.getresponse().read())["body"] == "onetwo"


def test_an_answer_that_is_lost_ends_the_connection(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/lost")
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()


@pytest.mark.parametrize(
    ("head", "status", "body"),
    [
        (b"Content-Length: many", MALFORMED, b""),
        (b"Transfer-Encoding: chunked\r\n\r\nzz", MALFORMED, b""),
        (b"Content-Length: -1", TOO_LARGE, b'{"error":"in our own words"}'),
        (b"Content-Length: 1001", TOO_LARGE, b'{"error":"in our own words"}'),
        (b"Transfer-Encoding: chunked\r\n\r\n3e9", TOO_LARGE, b'{"error":"in our own words"}'),
    ],
)
def test_what_cannot_be_read_is_refused(server: Server, head: bytes, status: int, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\n" + head + b"\r\n\r\n")
        raw.shutdown(socket.SHUT_WR)
        said = raw.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert said.endswith(b"\r\n\r\n" + body)
