"""What the endpoint counts, as Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


HELP = {
    "requests_total": "Answers by route and HTTP status.",
    "predict_seconds": "Time from the whole request to its answer, predictions only.",
    "batches_total": "Batches that the model was asked for.",
    "rows_total": "Rows in these batches.",
    "captured_total": "Requests written to the capture.",
    "capture_dropped_total": "Requests that should have been captured and could not be.",
    "capture_removed_total": "Captured requests removed to make room.",
    "ready": "1 while the endpoint takes traffic.",
}


def _head(name: str, kind: str) -> str:
    return f"# HELP cloudml_{name} {HELP[name]}\n# TYPE cloudml_{name} {kind}"


class Metrics:
    """Counts of one process; everything is written by the loop's thread. Times are seconds."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.batches = 0
        self.rows = 0
        self._latency = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; only predictions go into the histogram."""
        self.requests[route, status] += 1
        if route == "predict":
            self._latency[bisect_left(BUCKETS, seconds)] += 1
            self._seconds += seconds

    def state(self) -> dict[str, Any]:
        """All counts, for ``add``."""
        requests = [[route, status, count] for (route, status), count in self.requests.items()]
        seconds = [self._latency, self._seconds]
        return {"requests": requests, "batches": self.batches, "rows": self.rows, "latency": seconds}

    def add(self, state: Mapping[str, Any]) -> None:
        """Add the counts of another process, or of an earlier one."""
        for route, status, count in state["requests"]:
            self.requests[route, status] += count
        self.batches += state["batches"]
        self.rows += state["rows"]
        buckets, seconds = state["latency"]
        self._latency = [mine + other for mine, other in zip(self._latency, buckets, strict=True)]
        self._seconds += seconds

    def render(self, ready: bool, captured: tuple[int, int, int]) -> bytes:
        """``captured``: the records that were written, that were dropped, and that were removed to make room."""
        return ("\n".join(self._lines(ready, *captured)) + "\n").encode()

    def _lines(self, ready: bool, captured: int, dropped: int, removed: int) -> Iterator[str]:
        yield _head("requests_total", "counter")
        for (route, status), count in sorted(self.requests.items()):
            yield f'cloudml_requests_total{{route="{route}",status="{status}"}} {count}'
        yield _head("predict_seconds", "histogram")
        below = 0
        for limit, count in zip((*map(repr, BUCKETS), "+Inf"), self._latency, strict=True):
            below += count
            yield f'cloudml_predict_seconds_bucket{{le="{limit}"}} {below}'
        yield f"cloudml_predict_seconds_sum {self._seconds:.6f}"
        yield f"cloudml_predict_seconds_count {below}"
        kept = {"captured": captured, "capture_dropped": dropped, "capture_removed": removed}
        counters = {"batches": self.batches, "rows": self.rows, **kept}
        for name, count in counters.items():
            yield _head(f"{name}_total", "counter")
            yield f"cloudml_{name}_total {count}"
        yield _head("ready", "gauge")
        yield f"cloudml_ready {int(ready)}"
