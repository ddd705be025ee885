"""Seconds and native calls of each step of a program, calls as the emulation's own log counts them."""

from __future__ import annotations

import json
import os
import time

from cloudml.emulation import admin

READING = ("GET", "HEAD", "Get", "List")


class Stopwatch:
    """``steps`` are [seconds, calls, writes among them] by name; the first begins now."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._log = admin.Client(admin.folder(os.environ), os.environ)
        self.steps: dict[str, list[float]] = {}
        self._last = (time.perf_counter(), *self._counted())

    def _counted(self) -> tuple[int, int]:
        """Calls since the emulation began, and the writes among them."""
        said = self._log.call("GET", "/log")[self._provider]
        counts: dict[str, int] = said["counts"] if "counts" in said else said["calls"]
        writes = {name: number for name, number in counts.items() if not name.startswith(READING)}
        return sum(counts.values()), sum(writes.values())

    def lap(self, step: str) -> None:
        """What has passed since the last lap was this step's."""
        now = (time.perf_counter(), *self._counted())
        before = self.steps.get(step, [0.0, 0, 0])
        self.steps[step] = [had + new - old for had, new, old in zip(before, now, self._last, strict=True)]
        self._last = (time.perf_counter(), *now[1:])

    def tell(self, answer: object) -> None:
        """For whoever started this program: on a line of its own, whatever an SDK has left behind without one."""
        print(f"\n{json.dumps({'steps': self.steps, 'answer': answer})}", flush=True)
