"""A gateway's side towards servers: requests whole, answers byte for byte as they come.

    Client -- Exchange --> Target (one server) -- Upstream (one kept connection)

A request goes to a server once: again only over a connection that shows that nobody had read it.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any

import httptools

from cloudml_local.clients import Exchange

KEPT = 64  # idle connections to one server


class Target:
    """One server, and the connections to it that are kept. ``lost`` is told when it cannot be reached."""

    def __init__(self, name: str, server: str, lost: Callable[[Target, Exchange], None]) -> None:
        self.name = name
        self.server = server
        self.address: tuple[str, int] | None = None  # set once it has said that it is ready
        self.announced: int | None = None  # which of its announcements that was
        self._lost = lost
        self._idle: list[Upstream] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._retired = False

    def take(self, exchange: Exchange) -> None:
        while self._idle:
            upstream = self._idle.pop()
            if not upstream.ended:
                return upstream.send(exchange)
            upstream.drop()
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

    @property
    def retired(self) -> bool:
        return self._retired

    def lose(self) -> None:
        """Its address holds no more: what is under way there ends as it may."""
        self.address = None
        while self._idle:
            self._idle.pop().drop()

    def retire(self) -> None:
        """Takes no more requests; those under way are answered."""
        self._retired = True
        self.lose()

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
        self._poll = select.poll()

    @property
    def ended(self) -> bool:
        """Whether the server has closed an idle connection, even if the loop has not heard of it yet."""
        return self._transport is None or self._transport.is_closing() or bool(self._poll.poll(0))

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
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

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
            exchange.again = True
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
