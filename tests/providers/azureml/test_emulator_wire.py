"""The HTTP server itself: keep-alive, chunks, what is too large, what is no request."""

from __future__ import annotations

import http.client
import socket
import uuid
from collections.abc import Iterator

import pytest
from azure_account import Account, Emulated

from cloudml.emulation.http import Answer, Server
from cloudml_azureml.emulator import wire
from cloudml_azureml.emulator.answers import Request


@pytest.fixture
def server() -> Iterator[Server]:
    def respond(request: Request) -> Answer | None:
        if request.path == "/lost":
            return None
        return Answer(200, {"method": request.method, "path": request.path, "body": request.body.decode()})

    made = wire.serve(respond)
    yield made
    made.close()


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    yield made
    made.close()


def test_one_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    for number in range(3):
        connection.request("PUT", f"/a%20b?n={number}", body=b"x" * number)
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.getheader("x-ms-request-id")
        assert answer.read() == f'{{"method":"PUT","path":"/a b","body":"{"x" * number}"}}'.encode()


def test_chunks_are_one_body(connection: http.client.HTTPConnection) -> None:
    connection.request(
        "POST", "/", body=iter([b"one", b"two"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert b'"onetwo"' in connection.getresponse().read()


def test_head_has_no_body(connection: http.client.HTTPConnection) -> None:
    connection.request("HEAD", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")


def test_an_answer_that_is_lost_ends_the_connection(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/lost")
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (wire.LARGEST + 1), b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"no request\r\n\r\n", b"400"),
    ],
)
def test_what_cannot_be_read_is_refused(server: Server, sent: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(sent)
        said = raw.makefile("rb").read()
    assert status in said.split(b"\r\n")[0] or status in said  # a line that is no request is answered without a head


def test_a_host_that_is_not_emulated_is_told(emulated: Emulated, account: Account) -> None:
    answer = emulated.azure.respond(Request("GET", "/", {"host": "example.com"}))
    assert answer is not None
    assert answer.status == 404
    listed = account.ask("GET", account.id.rpartition("/")[0], "2024-10-01-preview")["value"]
    assert [each["name"] for each in listed] == ["cloudml", "cloudml-sas", "cloudml-keys"]
    path = f"{account.id}/onlineEndpoints/x"
    scored = emulated.azure.respond(
        Request("POST", path, {"host": f"{uuid.uuid4().hex[:8]}.eastus.inference.ml.azure.com"})
    )
    assert scored is not None
    assert scored.status == 404
