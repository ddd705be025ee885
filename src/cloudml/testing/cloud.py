"""What the three clouds in memory share: rows, refusals, jobs that end, servers that answer, errors by table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cloudml.errors import (
    AlreadyExists,
    AnswerLost,
    Invalid,
    ModelError,
    NotFound,
    PreconditionFailed,
    ProviderError,
    Throttled,
    Unavailable,
)
from cloudml.states import Captured
from cloudml.testing.world import Fault, NativeError, Row, World, copied

BROKEN = b"broken"  # a model of these bytes loads nowhere
ANSWERS: Mapping[str, type[ProviderError]] = {
    "Throttling": Throttled,
    "ServiceUnavailable": Unavailable,
    "ConnectionReset": AnswerLost,
    "Missing": NotFound,
    "Taken": AlreadyExists,
    "Busy": PreconditionFailed,
    "Malformed": Invalid,
}


class Cloud:
    """Reads, the same for all three: a row by its name, or all rows of a table; ``call`` is one write."""

    def __init__(self, world: World) -> None:
        self.world = world

    def get(self, table: str, name: str) -> Row:
        rows = self.world.read(table)
        if name not in rows:
            raise NativeError(404, "Missing", f"could not find {table} {name}")
        found: Row = copied(rows[name])
        return found

    def all(self, table: str) -> list[Row]:
        rows: list[Row] = copied(list(self.world.read(table).values()))
        return sorted(rows, key=lambda row: (row.get("created", 0), row["name"]))

    def call(self, operation: str, document: Mapping[str, Any]) -> Row | None:
        return self.world.write(operation, lambda: self.perform(operation, dict(document)))

    def perform(self, operation: str, document: Row) -> Row | None:
        """Carries out one write; the name of the method is the operation's."""
        answer: Row | None = getattr(self, operation)(document)
        return answer

    def row(self, table: str, name: str) -> Row:
        rows = self.world.rows(table)
        if name not in rows:
            raise NativeError(404, "Missing", f"could not find {table} {name}")
        return rows[name]

    def new(self, table: str, name: str, row: Row) -> Row:
        rows = self.world.rows(table)
        if name in rows:
            raise NativeError(409, "Taken", f"{table} {name} exists")
        rows[name] = {"name": name, "created": self.world.time, **row}
        return rows[name]

    def refuse(self, when: bool, text: str) -> None:
        if when:
            raise NativeError(409, "Busy", text)

    def loads(self, uri: str) -> bool:
        """Whether a server could load the model at that URI."""
        return BROKEN not in self.world.rows("artifacts").get(uri, {"bytes": BROKEN})["bytes"]

    def missing(self, uri: str) -> str | None:
        """Why a version of that URI cannot be registered, or None."""
        if self.world.doom is Fault.FAIL:
            return "the service failed"
        return None if uri in self.world.rows("artifacts") else f"there is nothing at {uri}"

    def run(self, table: str, name: str, words: tuple[str, str, str]) -> None:
        """Lets a job run: ``words`` are the cloud's own for running, succeeded and failed."""
        row, world = self.row(table, name), self.world
        world.lines[name] = [f"$ {row['command']}", "epoch 1"]
        world.later(2, table, name, {"status": words[0]})
        if row["command"] == "fail" or world.doom is Fault.FAIL:
            return world.later(5, table, name, {"status": words[2], "reason": "exit code 1"})
        world.later(5, "artifacts", row["output"], {"bytes": row["command"].encode()}, make=True)
        world.later(5, table, name, {"status": words[1], "metrics": {"accuracy": 0.9}})

    def invoke(self, name: str, routes: Sequence[Route], body: bytes, pinned: str | None) -> bytes:
        """Answers with the hash of the deployment whose turn it is: of each 100 requests, as many as its weight."""
        self.world.requests[name] += 1
        turn = self.world.requests[name] * 37 % 100
        shares = [route for route in routes for _ in range(route.weight)]
        chosen = next((route for route in routes if route.name == pinned), None) if pinned else shares and shares[turn]
        if not chosen:
            raise NativeError(424, "NoModel", f"{name}: nothing answers for {pinned or 'this request'}")
        try:
            inputs = json.loads(body)["instances"]
        except (ValueError, KeyError, TypeError) as error:
            raise NativeError(400, "BadInput", "send a JSON object with 'instances'") from error
        outputs = [chosen.spec for _ in inputs]
        if chosen.capture:
            number = str(self.world.requests[name])
            time = datetime.fromtimestamp(self.world.time, UTC).isoformat()
            kept = Captured(number, time, inputs, list(outputs), deployment=chosen.name)
            self.world.captured.setdefault(name, []).append(kept)
        return json.dumps({"predictions": outputs}).encode()


@dataclass(frozen=True)
class Route:
    """A deployment that can answer: its hash, its per cent of the requests, the share that is kept."""

    name: str
    spec: str
    weight: int
    capture: float


def classify(native: Exception) -> ProviderError | None:
    """The error of the tree for a cloud's own, by table."""
    if not isinstance(native, NativeError):
        return None
    if native.code in ("NoModel", "BadInput"):
        return ModelError(native.text, status=native.status)
    return ANSWERS[native.code](native.text)
