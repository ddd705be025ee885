"""HTTP/1.1 between clients and the servers of an endpoint: requests whole, answers byte for byte as they come.

    Client -- Exchange --> Target (one server) -- Upstream (one kept connection)

A request goes to a server once: again only over a connection that shows that nobody had read it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import httptools

LARGEST = 64 << 20  # bytes of a request's body: it is held until it is whole
KEPT = 64  # idle connections to one server
PIN = b"x-cloudml-deployment"
# Between two hops only; the length is written anew.
HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
    | {b"content-length"}
)
PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large", 502: "Bad Gateway"} | {
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def answer(status: int, document: dict[str, Any], close: bool = False) -> bytes:
    """An answer of the gateway's own; ``x-cloudml-gateway`` tells it from a model's."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} {PHRASES[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    last = "x-cloudml-gateway: 1\r\n" + ("connection: close\r\n" if close else "") + "\r\n"
    return (head + last).encode() + body


class Exchange:
    """One request that waits for its answer. ``tried`` are the servers that did not take it."""

    __slots__ = (
        "body", "client", "finished", "fresh", "head", "keep", "pin", "started", "timer", "tried", "upstream", "url",
    )  # fmt: skip

    def __init__(self, client: Client, url: bytes, head: bool, keep: bool, pin: str | None, body: bytes) -> None:
        self.client = client
        self.url = url
        self.head = head
        self.keep = keep
        self.pin = pin
        self.body = body
        self.started = False  # whether a byte of the answer has gone out
        self.fresh = False  # whether it went over a connection of its own
        self.finished = False
        self.upstream: Upstream | None = None
        self.tried: set[Target] = set()
        self.timer: asyncio.TimerHandle | None = None

    def refuse(self, status: int, message: str) -> None:
        """Ends it with an answer of the gateway's; a started answer can only be cut off."""
        if self.started:
            self.done(keep=False)
        else:
            self.client.write(answer(status, {"error": message}, close=not self.keep))
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

    def route(self, exchange: Exchange) -> None: ...


class Client(asyncio.Protocol):
    """One connection of a client: its requests are answered one after the other."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._waiting: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._broken = False
        self._pin: str | None = None
        self._begin()

    @property
    def busy(self) -> bool:
        return self._current is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._router.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._router.clients.discard(self)
        self._transport = None
        self._waiting.clear()
        if self._current is not None and self._current.upstream is not None:
            self._current.upstream.resume()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # not offered; the request itself was complete
            self._broken = True
        except httptools.HttpParserError as error:
            self._broken = True
            if self._current is None:
                self.write(answer(400, {"error": f"this is not HTTP/1.1: {error}"}, close=True))
                self.close()

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        low = name.lower()
        if low == PIN:
            self._pin = value.decode("latin-1")
        elif low not in HOP:
            self._head += name + b": " + value + b"\r\n"
        elif low == b"expect" and value.lower() == b"100-continue":
            self._expects = True

    def on_headers_complete(self) -> None:
        if self._expects and self._current is None:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= LARGEST:
            self._chunks.append(body)
        else:
            self._chunks.clear()

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        keep = self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"
        length = b"content-length: %d\r\n" % self._size if self._size or method != b"GET" else b""
        body = b"".join((method, b" ", self._url, b" HTTP/1.1\r\n", self._head, length, b"\r\n", *self._chunks))
        exchange = Exchange(self, self._url, method == b"HEAD", keep, self._pin, body)
        if self._size > LARGEST:
            exchange.url = b""
        if self._current is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self._transport.pause_reading()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def done(self, exchange: Exchange, keep: bool) -> None:
        """The answer of the current request is out."""
        if exchange is not self._current:
            return
        self._current = None
        if not keep or self._broken:
            self.close()
        elif self._waiting and self._transport is not None:
            self._start(self._waiting.popleft())
        elif self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        if self._current is not None and self._current.upstream is not None:
            self._current.upstream.pause()

    def resume_writing(self) -> None:
        if self._current is not None and self._current.upstream is not None:
            self._current.upstream.resume()

    def _begin(self) -> None:
        self._url, self._head = b"", b""
        self._pin = None
        self._chunks: list[bytes] = []
        self._size, self._expects = 0, False

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        if exchange.url:
            self._router.route(exchange)
        else:
            exchange.refuse(413, f"the body has more than {LARGEST} bytes")


class Target:
    """One server, and the connections to it that are kept. ``lost`` is told when it cannot be reached."""

    def __init__(self, name: str, server: str, lost: Callable[[Target, Exchange], None]) -> None:
        self.name = name
        self.server = server
        self.address: tuple[str, int] | None = None  # set once it has said that it is ready
        self._lost = lost
        self._idle: list[Upstream] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._retired = False

    def take(self, exchange: Exchange) -> None:
        if self._idle:
            self._idle.pop().send(exchange)
        else:
            self.connect(exchange)

    def connect(self, exchange: Exchange) -> None:
        """Sends it over a new connection."""
        exchange.fresh = True
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def keep(self, upstream: Upstream) -> None:
        """A connection that is free again."""
        if self._retired or len(self._idle) >= KEPT:
            upstream.drop()
        else:
            self._idle.append(upstream)

    def forget(self, upstream: Upstream) -> None:
        if upstream in self._idle:
            self._idle.remove(upstream)

    def retire(self) -> None:
        """Takes no more requests; those under way are answered."""
        self._retired = True
        self.address = None
        while self._idle:
            self._idle.pop().drop()

    async def _connect(self, exchange: Exchange) -> None:
        if self.address is None:
            return self._lost(self, exchange)
        try:
            upstream = (await asyncio.get_running_loop().create_connection(lambda: Upstream(self), *self.address))[1]
        except OSError:
            return self._lost(self, exchange)
        if exchange.finished:  # its time was over first
            self.keep(upstream)
        else:
            upstream.send(exchange)


class Upstream(asyncio.Protocol):
    """One connection to a server; it carries one exchange at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._exchange: Exchange | None = None
        self._sized = False

    def send(self, exchange: Exchange) -> None:
        self._exchange = exchange
        exchange.upstream = self
        self._transport.write(exchange.body)

    def drop(self) -> None:
        self._exchange = None
        self._target.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked
            self.drop()
            return
        exchange.started = True
        exchange.client.write(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.drop()
            exchange.done(keep=False)

    def on_headers_complete(self) -> None:
        if self._exchange is not None and self._exchange.head:
            self._finish(reuse=False)  # the parser would wait for the body that the length tells of

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._finish(reuse=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._target.forget(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.upstream = None
        if exchange.started:  # an answer without a length ends so; one with a length is cut off, as it was here
            exchange.done(keep=False)
        elif not exchange.fresh:
            # A kept connection that ended before any answer: a server that still listens had closed it before it
            # read the request; one that died with the request does not listen, and the request is not sent again.
            self._target.connect(exchange)
        else:
            exchange.refuse(502, f"deployment {self._target.name} ended before it answered")

    def _finish(self, reuse: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.upstream = None
        keep = self._parser.should_keep_alive()
        if reuse and keep and self._transport is not None and not self._transport.is_closing():
            self._target.keep(self)
        else:
            self._transport.close()
        exchange.done(keep)
