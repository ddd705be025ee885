"""A gateway's side towards clients: requests are read whole, within limits, and answered in their order."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import httptools

if TYPE_CHECKING:
    from cloudml_local.proxy import Target, Upstream

PIN = b"x-cloudml-deployment"
# Between two hops only; the length is written anew.
HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
    | {b"content-length"}
)
LINGER = 2.0  # seconds that a refused connection is drained, so that its answer is not lost in a reset
PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
MORE = {401: "www-authenticate: Bearer\r\n", 503: "retry-after: 1\r\n"}


@dataclass(frozen=True)
class Limits:
    """What one client may use. Sizes in bytes, times in seconds; a body is held until it is whole."""

    body: int = 64 << 20
    head: int = 32 << 10
    head_time: float = 10.0
    body_time: float = 60.0
    idle: float = 75.0


def answer(status: int, document: dict[str, Any], close: bool = False, head_only: bool = False) -> bytes:
    """An answer of the gateway's own; ``x-cloudml-gateway`` tells it from a model's."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} {PHRASES[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    last = MORE.get(status, "") + "x-cloudml-gateway: 1\r\n" + ("connection: close\r\n" if close else "") + "\r\n"
    return (head + last).encode() + (b"" if head_only else body)


class Exchange:
    """One request that waits for its answer. ``tried`` are the servers that did not take it."""

    __slots__ = (
        "again", "body", "client", "finished", "fresh", "head", "keep", "pin", "refused", "started", "timer", "tried",
        "upstream", "url",
    )  # fmt: skip

    def __init__(
        self, client: Client, url: bytes = b"", head: bool = False, keep: bool = False, pin: str | None = None,
        body: bytes = b"",
    ) -> None:  # fmt: skip
        self.client = client
        self.url = url
        self.head = head
        self.keep = keep
        self.pin = pin
        self.body = body
        self.started = False  # whether a byte of the answer has gone out
        self.fresh = False  # whether it went over a connection of its own
        self.again = False  # whether it was sent before, over a connection that ended
        self.refused: tuple[int, str] | None = None  # what is answered when its turn comes, without asking a server
        self.finished = False
        self.upstream: Upstream | None = None
        self.tried: set[Target] = set()
        self.timer: asyncio.TimerHandle | None = None

    def refuse(self, status: int, message: str) -> None:
        """Ends it with an answer of the gateway's; a started answer can only be cut off."""
        if self.started:
            self.done(keep=False)
        else:
            self.say(status, {"error": message})

    def say(self, status: int, document: dict[str, Any]) -> None:
        """Ends it with an answer of the gateway's own."""
        self.client.write(answer(status, document, not self.keep, self.head))
        self.done(self.keep)

    def done(self, keep: bool) -> None:
        self.finished = True
        if self.timer is not None:
            self.timer.cancel()
        self.client.done(self, keep and self.keep)

    def expire(self) -> None:
        if self.upstream is not None:
            self.upstream.drop()
        self.refuse(504, "the deployment did not answer in time")


class Router(Protocol):
    """What a client's connection asks: where each request goes."""

    clients: set[Client]
    limits: Limits
    now: float

    def admits(self, authorization: bytes | None, url: bytes) -> bool: ...

    def route(self, exchange: Exchange) -> None: ...


class Client(asyncio.Protocol):
    """One connection of a client: its requests are answered one after the other."""

    def __init__(self, router: Router) -> None:
        self.deadline = router.now + router.limits.idle
        self._router = router
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._waiting: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._reading = False  # whether a request has begun to arrive
        self._deaf = False  # nothing more is read: what came was refused, or the client has said its last
        self._closing = False
        self._number = 0  # of the request that is read
        self._url, self._head = b"", b""
        self._pin: str | None = None
        self._authorization: bytes | None = None
        self._chunks: list[bytes] = []
        self._size, self._received, self._raw, self._expects, self._headed = 0, 0, 0, False, False

    @property
    def busy(self) -> bool:
        return self._current is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._router.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._router.clients.discard(self)
        self._transport = None
        self._deaf = True
        self._waiting.clear()
        self._chunks.clear()
        if self._current is not None and self._current.upstream is not None:
            self._current.upstream.resume()

    def eof_received(self) -> bool:
        """A client may close its half and still read: what it has asked is answered first."""
        self._deaf = self._closing = True
        return self._current is not None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        before = self._number
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # not offered; the request itself was complete
            self._deaf = self._closing = True
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._reject(400, f"this is not HTTP/1.1: {error}")
        else:
            if self._reading and not self._headed:
                self._raw += len(data) if self._number == before else 0
                if self._too_long():
                    self._reject(431, f"the header is longer than {self._router.limits.head} bytes")

    # -- what the parser says ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._begin()
        self._reading = True
        self.deadline = self._router.now + self._router.limits.head_time

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        low = name.lower()
        self._received += len(name) + len(value) + 4
        if low == PIN:
            self._pin = value.decode("latin-1")
        elif low == b"authorization":
            self._authorization = value
        elif low not in HOP:
            self._head += name + b": " + value + b"\r\n"
        elif low == b"expect" and value.lower() == b"100-continue":
            self._expects = True

    def on_headers_complete(self) -> None:
        if self._deaf:
            return
        self._headed = True
        self.deadline = self._router.now + self._router.limits.body_time
        if self._too_long():
            self._reject(431, f"the header is longer than {self._router.limits.head} bytes")
        elif not self._router.admits(self._authorization, self._url):
            self._reject(401, "this endpoint needs its token: send 'authorization: Bearer TOKEN'")
        elif self._expects and self._current is None:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        self._size += len(body)
        self._chunks.append(body)
        if self._size > self._router.limits.body:
            self._reject(413, f"the body has more than {self._router.limits.body} bytes")

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        self._reading = False
        self.deadline = math.inf
        method = self._parser.get_method()
        keep = self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"
        length = b"content-length: %d\r\n" % self._size if self._size or method != b"GET" else b""
        body = b"".join((method, b" ", self._url, b" HTTP/1.1\r\n", self._head, length, b"\r\n", *self._chunks))
        self._chunks = []
        self._take(Exchange(self, self._url, method == b"HEAD", keep, self._pin, body))

    def _begin(self) -> None:
        self._url, self._head = b"", b""
        self._pin, self._authorization = None, None
        self._chunks = []
        self._size, self._received, self._raw, self._expects, self._headed = 0, 0, 0, False, False
        self._number += 1

    def _too_long(self) -> bool:
        return max(self._received + len(self._url), self._raw) > self._router.limits.head

    def _reject(self, status: int, message: str) -> None:
        """Answers a request that is not read to its end, in its turn; the connection ends with it."""
        self._deaf, self._reading = True, False
        self._chunks = []
        refusal = Exchange(self, head=self._headed and self._parser.get_method() == b"HEAD")
        refusal.refused = status, message
        self._take(refusal)

    # -- one after the other -----------------------------------------------------------------------------------------

    def _take(self, exchange: Exchange) -> None:
        if self._current is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.deadline = math.inf  # what it sends is not read, so it is not late
            self._transport.pause_reading()

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        self.deadline = math.inf
        if exchange.refused:
            exchange.refuse(*exchange.refused)
        else:
            self._router.route(exchange)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def done(self, exchange: Exchange, keep: bool) -> None:
        """The answer of the current request is out."""
        if exchange is not self._current:
            return
        self._current = None
        if self._transport is None:
            return
        if not keep or (self._closing and not self._waiting):
            self.close(linger=exchange.refused is not None)
        elif self._waiting:
            self._start(self._waiting.popleft())
        else:
            limits = self._router.limits
            self.deadline = self._router.now + (limits.body_time if self._reading else limits.idle)
            self._transport.resume_reading()

    def close(self, linger: bool = False) -> None:
        """Ends the connection once what was written is out; with ``linger`` the client is heard out for a while."""
        if self._transport is None:
            return
        self._deaf = True
        self._waiting.clear()
        if linger and self._transport.can_write_eof() and not self._transport.is_closing():
            self.deadline = self._router.now + LINGER
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self.deadline = self._router.now + self._router.limits.body_time
            self._transport.close()

    def overdue(self) -> None:
        """Its deadline has passed: it is too slow, or has nothing to say."""
        if self._transport is None:
            return
        if self._reading and not self._deaf:
            self._reject(408, "the request did not arrive in time")
        else:
            self._transport.abort()

    def pause_writing(self) -> None:
        self.deadline = self._router.now + self._router.limits.body_time
        if self._current is not None and self._current.upstream is not None:
            self._current.upstream.pause()

    def resume_writing(self) -> None:
        if self._current is not None:
            self.deadline = math.inf
            if self._current.upstream is not None:
                self._current.upstream.resume()
