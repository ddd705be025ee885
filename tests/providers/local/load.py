"""Clients that keep their connections and count what they are told, for tests and benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

REQUEST = b'{"instances": [[1, 2]]}'
LONGEST = 30.0  # seconds for one answer: whoever waits longer counts it as hung


class Load:
    """A closed loop over some connections; a lane that was told ``connection: close`` makes a new one.

    ``statuses`` counts the answers, ``broken`` the requests whose connection ended without one, ``hung`` those without
    an answer in time, ``refused`` the connections that were not made.
    """

    def __init__(self, url: str, connections: int, pause: float = 0.0, body: bytes = REQUEST) -> None:
        address = urlsplit(url)
        self.sent = self.broken = self.hung = self.refused = 0
        self.statuses: Counter[int] = Counter()
        self.unhelpful = 0  # answers 503 that do not say when to come back
        self.slowest = 0.0
        self._address = (str(address.hostname), address.port)
        self._connections = connections
        self._pause = pause
        head = f"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self._request = head.encode() + b"\r\n\r\n" + body
        self._over = threading.Event()

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Runs on a thread of its own; when the block ends, every request under way is waited for."""
        thread = threading.Thread(target=lambda: asyncio.run(self.run()))
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    async def run(self, seconds: float | None = None) -> None:
        end = time.monotonic() + seconds if seconds else None
        await asyncio.gather(*(self._lane(end) for _ in range(self._connections)))

    async def _lane(self, end: float | None) -> None:
        while not self._done(end):
            try:
                reader, writer = await asyncio.open_connection(*self._address)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.02)
                continue
            try:
                while not self._done(end) and await self._ask(reader, writer):
                    await asyncio.sleep(self._pause)
            finally:
                writer.close()

    def _done(self, end: float | None) -> bool:
        return self._over.is_set() or (end is not None and time.monotonic() >= end)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection is good for another."""
        self.sent += 1
        began = time.monotonic()
        try:
            writer.write(self._request)
            async with asyncio.timeout(LONGEST):
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
                await reader.readexactly(int(fields[b"content-length"]))
        except TimeoutError:
            self.hung += 1
            return False
        except (OSError, EOFError):
            self.broken += 1
            return False
        status = int(head.split(b" ", 2)[1])
        self.statuses[status] += 1
        self.unhelpful += status == 503 and b"retry-after" not in fields
        self.slowest = max(self.slowest, time.monotonic() - began)
        return fields.get(b"connection") != b"close"
