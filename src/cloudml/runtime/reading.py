"""Long bodies are read on a thread: one that takes long must not keep every other connection waiting."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from cloudml.runtime.rows import Refused

LONG = 1 << 15  # bytes; shorter ones are read on the loop, which takes less than a millisecond
MOST_LONG = 64  # bodies that wait to be read
SLICE = 0.0005  # seconds for which one Python thread may keep the others from running: by default ten times as long

Read = Callable[[], Any]
Done = Callable[[Any], None]


class Reader:
    """One thread that reads bodies in the order of their arrival; made when the first long one comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting = 0
        self._tasks: queue.SimpleQueue[tuple[Read, Done]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def read(self, how: Read, done: Done) -> None:
        """``done`` gets, on the loop, what ``how`` returns, or a Refused. Raises Refused, 503, for one too many."""
        if self._waiting >= MOST_LONG:
            raise Refused(f"{self._waiting} long bodies are waiting already; try again later", 503)
        if self._thread is None:
            sys.setswitchinterval(SLICE)
            self._thread = threading.Thread(target=self._work, name="cloudml-read", daemon=True)
            self._thread.start()
        self._waiting += 1
        self._tasks.put((how, done))

    def _work(self) -> None:
        while True:
            how, done = self._tasks.get()
            found: Any
            try:
                found = how()
            except Refused as refused:
                found = refused
            except Exception:  # noqa: BLE001  # a fault of ours must not end the thread, for others wait for it
                traceback.print_exc(file=sys.stderr)
                found = Refused("the server failed on this request", 500)
            self._loop.call_soon_threadsafe(self._finish, found, done)

    def _finish(self, found: Any, done: Done) -> None:
        self._waiting -= 1
        done(found)
