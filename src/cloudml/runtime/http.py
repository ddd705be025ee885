"""HTTP/1.1 for one connection: httptools parses; answers leave in the order of the requests, pipelined or not."""

from __future__ import annotations

import asyncio
import math
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from itertools import count
from os import urandom
from time import perf_counter
from typing import Any

import httptools

from cloudml.runtime import dialects, request_context

OF_BODY = b"content-type content-encoding content-length transfer-encoding inference-header-content-length"
KEPT = request_context.KNOWN.union(OF_BODY.split(), (b"accept", b"expect"))
PIPELINED = 32  # requests of one connection under way, beyond which it is not read
LINGER = 2.0  # seconds that a refused connection is drained, so that its answer is not lost in a reset
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


@dataclass(frozen=True)
class Limits:
    """What one connection may use. Sizes in bytes, times in seconds."""

    body: int = 6 * 1024 * 1024
    head: int = 32 * 1024
    head_time: float = 10.0
    body_time: float = 60.0
    idle: float = 75.0


class Exchange:
    """One request and its answer. ``route`` is the class under which it is counted."""

    __slots__ = (
        "answered", "body", "chunks", "connection", "echo", "headers", "id", "keep", "method", "reply", "route", "size",
        "started", "target",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.method = b""
        self.body = b""
        self.chunks: list[bytes] | None = None
        self.size = 0
        self.keep = False
        self.id = b""
        self.echo = b""
        self.route = "other"
        self.started = 0.0
        self.answered = False
        self.reply = b""

    def answer(self, status: int, body: bytes, kind: bytes = dialects.JSON, extra: bytes = b"") -> None:
        """Send the answer, after those of earlier requests of this connection; ``extra`` are whole header lines."""
        if self.answered:
            return
        self.answered = True
        server = self.connection.server
        keep = self.keep and not server.draining
        self.keep = keep
        parts = (
            HEADS[status, kind],
            b"%d" % len(body),
            b"\r\nx-request-id: ",
            self.id,
            server.date,
            self.echo,
            extra,
            b"\r\n" if keep else b"connection: close\r\n\r\n",
            b"" if self.method == b"HEAD" else body,
        )
        self.reply = b"".join(parts)
        server.answered(self, status)
        self.connection.flush()

    def error(self, status: int, message: str, extra: bytes = b"") -> None:
        self.answer(status, dialects.error(message), extra=extra)


class _Heads(dict[tuple[int, bytes], bytes]):
    """The start of an answer up to its length, by status and content type."""

    def __missing__(self, key: tuple[int, bytes]) -> bytes:
        status, kind = key
        head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: " % (status, REASONS[status], kind)
        self[key] = head
        return head


HEADS = _Heads()


class Server:
    """What the connections of one process share. ``received`` gets each request that is complete."""

    def __init__(
        self,
        received: Callable[[Exchange], None],
        counted: Callable[[str, int, float], None],
        limits: Limits,
        deployment: str | None = None,
    ) -> None:
        self.received = received
        self.limits = limits
        self.deployment = deployment
        self.draining = False
        self.connections: set[Connection] = set()
        self.now = 0.0
        self.date = b""
        self._counted = counted
        self._prefix = urandom(8).hex()
        self._numbers = count(1)

    def protocol(self) -> Connection:
        return Connection(self)

    def answered(self, exchange: Exchange, status: int) -> None:
        self._counted(exchange.route, status, perf_counter() - exchange.started if exchange.started else 0.0)

    def identify(self, exchange: Exchange) -> None:
        """Give it the client's own id, or a new one, and what of its headers goes back."""
        headers = exchange.headers
        exchange.id = request_context.given_id(headers) or f"{self._prefix}-{next(self._numbers):x}".encode()
        exchange.echo = request_context.returned(headers, self.deployment)

    def tick(self, loop: asyncio.AbstractEventLoop, every: float = 0.25) -> None:
        """Keep the clock and end what is overdue; one timer for all connections."""
        self.now = loop.time()
        self.date = b"\r\ndate: " + formatdate(usegmt=True).encode() + b"\r\n"
        for connection in list(self.connections):
            if connection.deadline < self.now:
                connection.overdue()
        loop.call_later(every, self.tick, loop, every)

    def drain(self) -> None:
        """Idle connections end now; the others with the answer that they wait for."""
        self.draining = True
        for connection in list(self.connections):
            connection.end_if_idle()

    @property
    def busy(self) -> bool:
        return any(connection.busy for connection in self.connections)


class Connection(asyncio.Protocol):
    """One client. The parser calls the ``on_`` methods while it is fed."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deadline = server.now + server.limits.idle
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._in_head = False
        self._head = self._raw = 0  # bytes of the header: of what was parsed, and of what came with nothing else
        self._refused = False
        self._eof = False
        self._stuck = False
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.server.connections.add(self)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self._queue.clear()
        self._current = None
        self._transport = None

    def eof_received(self) -> bool:
        """A client may close its half and still read: answers under way are sent first."""
        self._refused = self._eof = True
        self._current = None
        return bool(self._queue)

    @property
    def busy(self) -> bool:
        if self._transport is None:
            return False
        return bool(self._queue) or self._current is not None or self._transport.get_write_buffer_size() > 0

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        before = self._current if self._in_head else None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self._refused:
                self._refuse(400, f"this is not HTTP/1.1: {error}")
            return
        if self._in_head and before is not None and before is self._current:
            self._raw += len(data)
        if max(self._head, self._raw) > self.server.limits.head and not self._refused:
            self._refuse(431, f"the header is longer than {self.server.limits.head} bytes")

    def _stay(self, rest: bytes) -> None:
        """No upgrade is offered, so the request counts as one without it; the parser must be told from the start."""
        exchange, self._current = self._current, None
        if exchange is None or self._refused:
            return
        self._parser = httptools.HttpRequestParser(self)
        lines = [exchange.method + b" " + exchange.target + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in exchange.headers.items()]
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    # the parser's events

    def on_message_begin(self) -> None:
        if self._refused:
            return
        self._current = Exchange(self)
        self._in_head = True
        self._head = self._raw = 0
        self.deadline = self.server.now + self.server.limits.head_time

    def on_url(self, url: bytes) -> None:
        if self._current is not None:
            self._current.target += url
            self._head += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value) + 4
        name = name.lower()
        if name in KEPT and self._current is not None:
            self._current.headers[name] = value

    def on_headers_complete(self) -> None:
        exchange = self._current
        if exchange is None or self._refused:
            return
        self._in_head = False
        exchange.method = self._parser.get_method()
        self.server.identify(exchange)
        limits = self.server.limits
        length = exchange.headers.get(b"content-length", b"0")
        if self._head > limits.head:
            self._refuse(431, f"the header is longer than {limits.head} bytes")
        elif int(length) > limits.body:
            self._refuse(413, f"the body has {length.decode()[:20]} bytes, at most {limits.body} are read")
        else:
            self.deadline = self.server.now + limits.body_time
            if exchange.headers.get(b"expect", b"").lower() == b"100-continue" and not self._queue:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        exchange = self._current
        if exchange is None or self._refused:
            return
        exchange.size += len(body)
        if exchange.size > self.server.limits.body:
            self._refuse(413, f"the body has more than {self.server.limits.body} bytes")
        elif exchange.chunks is not None:
            exchange.chunks.append(body)
        elif exchange.body:
            exchange.chunks = [exchange.body, body]
        else:
            exchange.body = body

    def on_message_complete(self) -> None:
        exchange = self._current
        if exchange is None or self._refused:
            return
        if self._parser.should_upgrade():
            if exchange.method == b"CONNECT":
                self._refuse(405, "CONNECT is not answered here")
            return
        self._current = None
        self.deadline = math.inf
        exchange.keep = self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"
        exchange.started = perf_counter()
        if exchange.chunks is not None:
            exchange.body = b"".join(exchange.chunks)
            exchange.chunks = None
        self._queue.append(exchange)
        if len(self._queue) > PIPELINED:
            self._pause()
        try:
            self.server.received(exchange)
        except Exception:  # noqa: BLE001  # a fault of ours must not take the other connections with it
            traceback.print_exc(file=sys.stderr)
            exchange.error(500, "the server failed on this request")

    # the way out

    def flush(self) -> None:
        """Write the answers that are ready, up to the first that is not."""
        queue, transport = self._queue, self._transport
        if transport is None:
            return
        while queue and queue[0].answered:
            exchange = queue.popleft()
            transport.write(exchange.reply)
            if not exchange.keep:
                queue.clear()
                self._linger()
                return
        if not queue and self._current is None:
            self.deadline = self.server.now + self.server.limits.idle
            if self._eof:
                transport.close()
        if self._paused and not self._stuck and len(queue) <= PIPELINED // 2:
            self._paused = False
            transport.resume_reading()

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that is not read to its end; the connection ends with it."""
        exchange = self._current or Exchange(self)
        self._current = None
        self._refused = True
        if not exchange.id:
            self.server.identify(exchange)
        self._queue.append(exchange)
        exchange.error(status, message)

    def _linger(self) -> None:
        self._refused = True
        self._current = None
        self.deadline = self.server.now + LINGER
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._stuck = True
        self.deadline = self.server.now + self.server.limits.body_time
        self._pause()

    def resume_writing(self) -> None:
        self._stuck = False
        self.deadline = math.inf
        self.flush()

    def overdue(self) -> None:
        """Called when the deadline has passed: the client was too slow, or has nothing to say."""
        if self._transport is None:
            return
        if self._current is not None and not self._refused and not self._stuck:
            self._refuse(408, "the request did not arrive in time")
        else:
            self._transport.abort()

    def end_if_idle(self) -> None:
        if self._transport is not None and not self.busy:
            self._transport.close()
