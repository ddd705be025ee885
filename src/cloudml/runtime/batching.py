"""Requests of one loop tick become one batch: no timer, so a lone request waits for nobody.

A batch is predicted on the loop itself while that is fast, else on one worker thread, and what arrives meanwhile is
the next batch. Requests are told apart before and after: one that is wrong, or that the model fails on, fails alone.
One with many rows is predicted in pieces, and between two pieces all short requests have their turn.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cloudml.runtime.flavors import LoadedModel
from cloudml.runtime.metrics import Metrics
from cloudml.runtime.rows import Refused, strange
from cloudml.runtime.stopwatch import Stopwatch

FAST = 0.0015  # seconds for one batch, as a moving average: longer would keep other connections waiting
OUTLIER = 4 * FAST  # what one batch counts at most: a single slow one changes nothing
MOST_INLINE = 1024  # rows
MOST_ROWS = 4096  # in one batch
SHORT = 512  # rows; a request with more waits in a line of its own and is predicted in pieces
LEAST_PIECE = 64  # rows: from here on a smaller piece costs more than it helps
PIECE_TIME = 0.02  # seconds that a piece should take, at the pace of late
MOST_WAITING = 65536  # rows that wait or are predicted: beyond them a request is refused
FEW_WAITING = 128  # rows; from here on also if they need more than LONGEST_WAIT seconds at the pace of late
LONGEST_WAIT = 10.0

Outcome = list[Any] | Refused


@dataclass(slots=True)
class Work:
    """The rows of one request; ``done`` gets the answers in the order of the rows, or why there are none."""

    rows: list[Any]
    plain: bool
    method: str
    done: Callable[[Outcome], None]
    begun: int = 0  # rows of a long request that are predicted, or with the worker
    found: list[Any] = field(default_factory=list)  # their answers

    def piece(self, rows: int) -> Work:
        """The next rows, whose answers come back to ``self``."""
        start = self.begun
        self.begun = min(start + rows, len(self.rows))
        return Work(self.rows[start : self.begun], self.plain, self.method, self._collect)

    def _collect(self, outcome: Outcome) -> None:
        if isinstance(outcome, list):
            self.found += outcome


@dataclass(slots=True)
class Line:
    """What waits of one kind, and how fast such batches went: each counts less than the next."""

    waiting: int = 0  # rows
    seconds: float = 0.0
    rows: float = 0.0

    def went(self, rows: int, seconds: float) -> None:
        self.waiting -= rows
        self.seconds = 0.8 * self.seconds + seconds
        self.rows = 0.8 * self.rows + rows

    @property
    def pace(self) -> float:
        """Seconds for one row; 0 while nothing is known."""
        return self.seconds / self.rows if self.rows else 0.0


class Batcher:
    """Collects work and predicts; all but the worker's part runs on the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, model: LoadedModel, metrics: Metrics) -> None:
        self._loop = loop
        self._model = model
        self._metrics = metrics
        self._queue: list[Work] = []
        self._long: deque[Work] = deque()
        self._turn_of_long = False
        self._scheduled = False
        self._average = 2 * FAST  # the first batch of an unknown model goes to the thread
        self._lines = {False: Line(), True: Line()}  # of short requests, and of long ones: neither refuses the other
        self._tasks: queue.SimpleQueue[list[Work]] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None

    def warm_up(self) -> None:
        """Learn how fast the model is, before it is ready; the probe's answer does not matter, even if it fails."""
        if self._model.probe is not None:
            rows = [self._model.probe]
            for _ in range(3):
                watch = Stopwatch()
                outcomes(self._model, [Work(rows, True, "predict", _nobody)])
                self._average = watch.seconds()

    def add(self, work: Work) -> None:
        """Raises Refused, 503, when what waits already would make it wait too long."""
        long = len(work.rows) > SHORT
        line = self._lines[long]
        if _overloaded(line, len(work.rows)):
            raise Refused(f"{line.waiting} rows are waiting already; try again later", 503)
        line.waiting += len(work.rows)
        (self._long if long else self._queue).append(work)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._turn_of_long = bool(self._long) and (self._turn_of_long or not self._queue)
        if self._turn_of_long:
            batch = [self._long[0].piece(self._piece())]
            rows = len(batch[0].rows)
        elif self._queue:
            batch, rows = self._take()
        else:
            self._scheduled = False
            return
        self._metrics.batches += 1
        self._metrics.rows += rows
        if self._average < FAST and rows <= MOST_INLINE:
            watch = Stopwatch()
            results = outcomes(self._model, batch)
            self._finish(batch, results, watch.seconds())
        else:
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="cloudml-predict", daemon=True)
                self._worker.start()
            self._tasks.put(batch)

    def _take(self) -> tuple[list[Work], int]:
        """The next works that agree on the method and fit into one batch, and their number of rows."""
        first = self._queue[0]
        rows, count = 0, 0
        for work in self._queue:
            if count and (work.method != first.method or rows + len(work.rows) > MOST_ROWS):
                break
            rows += len(work.rows)
            count += 1
        batch, self._queue = self._queue[:count], self._queue[count:]
        return batch, rows

    def _piece(self) -> int:
        pace = self._lines[True].pace
        fitting = int(PIECE_TIME / pace) if pace > 0 else SHORT
        return max(LEAST_PIECE, min(fitting, MOST_INLINE))

    def _finish(self, batch: list[Work], results: list[Outcome], seconds: float) -> None:
        rows = sum(len(work.rows) for work in batch)
        self._lines[self._turn_of_long].went(rows, seconds)
        self._average = 0.8 * self._average + 0.2 * min(seconds, OUTLIER)
        for work, result in zip(batch, results, strict=True):
            work.done(result)
        if self._turn_of_long:
            self._after_piece(results[0])
        self._turn_of_long = not self._turn_of_long
        if self._queue or self._long:  # let the loop look at its sockets in between
            self._loop.call_soon(self._flush)
        else:
            self._scheduled = False

    def _after_piece(self, outcome: Outcome) -> None:
        """Give the long request its answer when it is complete, or when a piece of it failed."""
        work = self._long[0]
        if isinstance(outcome, Refused):
            self._lines[True].waiting -= len(work.rows) - work.begun
            self._long.popleft()
            work.done(_in_all(self._model, work, outcome))
        elif work.begun == len(work.rows):
            self._long.popleft()
            work.done(work.found)

    def _work(self) -> None:
        while True:
            batch = self._tasks.get()
            watch = Stopwatch()
            results = outcomes(self._model, batch)
            self._loop.call_soon_threadsafe(self._finish, batch, results, watch.seconds())


def _overloaded(line: Line, more: int) -> bool:
    if line.waiting and line.waiting + more > MOST_WAITING:
        return True
    return line.waiting >= FEW_WAITING and line.waiting * line.pace > LONGEST_WAIT


def outcomes(model: LoadedModel, batch: list[Work]) -> list[Outcome]:
    """The outcome of each work. Raises nothing: what a model raises is an outcome."""
    if len(batch) == 1:
        return [_alone(model, batch[0])]
    rows = [row for work in batch for row in work.rows]
    try:
        table = model.table(rows, all(work.plain for work in batch))
        answers = model.outputs(batch[0].method, table, len(rows))
    except Exception:  # noqa: BLE001  # whichever request it was, the others must get their answers
        return [_alone(model, work) for work in batch]
    results: list[Outcome] = []
    start = 0
    for work in batch:
        end = start + len(work.rows)
        results.append(answers[start:end])
        start = end
    return results


def _alone(model: LoadedModel, work: Work) -> Outcome:
    try:
        table = model.table(work.rows, work.plain)
    except Refused as refused:
        return refused
    try:
        return model.outputs(work.method, table, len(work.rows))
    except Exception as error:  # noqa: BLE001  # a model may raise anything, and the server must live
        if isinstance(error, model.refusals) and (model.features.width is None or strange(work.rows)):
            missing = model.features.missing(work.rows) if "nan" in str(error).lower() else None
            return Refused((missing or f"the model does not take these rows: {type(error).__name__}: {error}")[:1000])
        traceback.print_exc(file=sys.stderr)
        return Refused(f"the model failed: {type(error).__name__}: {error}"[:1000], 500)


def _in_all(model: LoadedModel, work: Work, refused: Refused) -> Refused:
    """Why a long request is refused, with the row's number in the whole request and not in its piece."""
    if refused.status != 400:
        return refused
    try:
        model.features.check(work.rows)
    except Refused as whole:
        return whole
    missing = model.features.missing(work.rows) if "is missing" in refused.message else None
    return refused if missing is None else Refused(missing)


def _nobody(_outcome: Outcome) -> None:
    """Takes the outcome of a probe."""
