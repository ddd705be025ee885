"""What the workers of one endpoint tell each other: memory that they share, a place for each."""

from __future__ import annotations

import mmap
from typing import Any

import orjson

PLACE = 1 << 16  # bytes for one worker: two halves, one being read while the other is written
HALF = PLACE // 2 - 8


class Board:
    """Made before the workers are forked. Each writes its own place only; a worker that is started again finds it."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._memory = mmap.mmap(-1, workers * (PLACE + 1))

    def set_ready(self, index: int) -> None:
        """Say that a worker has been ready; it stays so, for one that is started again listens only when it is."""
        self._memory[self.workers * PLACE + index] = 1

    @property
    def all_ready(self) -> bool:
        return all(self._memory[self.workers * PLACE :])

    def write(self, index: int, state: Any) -> None:
        """Keep a worker's state, if it fits."""
        text = orjson.dumps(state)
        if len(text) > HALF:
            return
        start = index * PLACE
        half = 1 - self._memory[start]
        at = start + 1 + half * (HALF + 3)
        self._memory[at : at + 3 + len(text)] = len(text).to_bytes(3, "big") + text
        self._memory[start] = half  # from now on readers look here

    def read(self, index: int) -> Any:
        """What a worker wrote last; None if it has written nothing yet."""
        start = index * PLACE
        at = start + 1 + self._memory[start] * (HALF + 3)
        size = int.from_bytes(self._memory[at : at + 3], "big")
        try:
            return orjson.loads(self._memory[at + 3 : at + 3 + size]) if size else None
        except orjson.JSONDecodeError:  # written twice while it was read: as good as not yet written
            return None
