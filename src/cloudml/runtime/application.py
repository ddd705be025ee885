"""What the endpoint answers: routes, health, metadata, predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from time import perf_counter
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import orjson

from cloudml.runtime import describing, dialects
from cloudml.runtime.batching import Batcher, Outcome, Work
from cloudml.runtime.capture import Capture, Record
from cloudml.runtime.compression import unpacked
from cloudml.runtime.describing import Json, Names
from cloudml.runtime.flavors import LoadedModel
from cloudml.runtime.http import Exchange, Limits
from cloudml.runtime.metrics import Metrics
from cloudml.runtime.reading import LONG, Reader
from cloudml.runtime.rows import Query, Refused
from cloudml.runtime.workers import Seat

ENCODING = b"content-encoding"
HEAD_LENGTH = b"inference-header-content-length"
RETRY = b"retry-after: 1\r\n"
PLAIN = b"text/plain; charset=utf-8"
LIVE = (b"/livez", b"/v2/health/live")
READY = (b"/ping", b"/health", b"/readyz", b"/", b"/v2/health/ready")
PREDICT = (b"/invocations", b"/predict", b"/score")
DOCUMENTS = (b"/swagger.json", b"/openapi.json")
Handler = Callable[[Exchange], None]


class Stage(Enum):
    """Where the process is in its life."""

    LOADING = "the model is still loading"
    READY = "ready"
    DRAINING = "the endpoint is shutting down"


@dataclass(frozen=True)
class AskedRoutes:
    """The paths that the platform chose for health and predictions beside the fixed ones."""

    health: str | None = None
    predict: str | None = None


class Application:
    """Answers complete requests; all on the loop's thread."""

    def __init__(
        self,
        names: Names,
        metrics: Metrics,
        capture: Capture | None,
        redact: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        asked: AskedRoutes | None = None,
        seat: Seat | None = None,
    ) -> None:
        self.stage = Stage.LOADING
        self._names = names
        self._metrics = metrics
        self._capture = capture
        self._redact = redact
        self._limits = limits or Limits()
        self._asked = asked or AskedRoutes()
        self._seat = seat
        self._model: LoadedModel | None = None
        self._batcher: Batcher | None = None
        self._reader: Reader | None = None
        self._routes = self._table()
        self._of_model: dict[bytes, tuple[str, Mapping[bytes, Handler]]] = {
            b"": ("metadata", {b"GET": self._about_model}),
            b"ready": ("health", {b"GET": self._ready}),
            b"infer": ("predict", {b"POST": self._infer}),
        }

    def _table(self) -> dict[bytes, tuple[str, Mapping[bytes, Handler]]]:
        """The fixed routes: under which name they are counted, and what answers each method."""
        about: dict[bytes, Handler] = {
            b"/v2": self._about,
            b"/v1/models": self._v1_models,
            b"/models": self._models,
            b"/version": self._version,
            b"/execution-parameters": self._execution_parameters,
            **dict.fromkeys(DOCUMENTS, self._document),
        }
        table: dict[bytes, tuple[str, Mapping[bytes, Handler]]] = {
            **{path: ("metadata", {b"GET": handler}) for path, handler in about.items()},
            **dict.fromkeys(LIVE, ("health", {b"GET": self._live})),
            **dict.fromkeys(READY, ("health", {b"GET": self._ready})),
            **dict.fromkeys(PREDICT, ("predict", {b"POST": self._predict})),
            b"/metrics": ("metrics", {b"GET": self._numbers}),
        }
        wanted = (
            ("health", self._asked.health, b"GET", self._ready),
            ("predict", self._asked.predict, b"POST", self._predict),
        )
        for name, path, method, handler in wanted:
            if path is not None:  # a platform may ask for one path for both: a method more, no other is lost
                counted, methods = table.get(path.encode(), (name, {}))
                table[path.encode()] = (counted, {**methods, method: handler})
        return table

    def loaded(self, model: LoadedModel, batcher: Batcher, reader: Reader | None = None) -> None:
        """From now on the endpoint is ready, unless it is shutting down already."""
        self._model, self._batcher, self._reader = model, batcher, reader
        if self.stage is Stage.LOADING:
            self.stage = Stage.READY
        if self._seat is not None:
            self._seat.board.set_ready(self._seat.index)

    @property
    def ready(self) -> bool:
        """Whether a request to this port is answered, whichever worker it reaches."""
        return self.stage is Stage.READY and (self._seat is None or self._seat.board.all_ready)

    def received(self, exchange: Exchange) -> None:
        """Answer one request, now or when its batch is done."""
        path = exchange.target.partition(b"?")[0]
        found = self._routes.get(path)
        try:
            if found is None:
                found = self._below_models(path)
            exchange.route, methods = found
            method = b"GET" if exchange.method == b"HEAD" else exchange.method
            handler = methods.get(method)
            if handler is None:
                allowed = b", ".join(methods)
                message = f"{exchange.method.decode('latin-1')} is not answered here, {allowed.decode()} is"
                exchange.error(405, message, b"allow: " + allowed + b"\r\n")
            else:
                handler(exchange)
        except Refused as refused:
            exchange.error(refused.status, refused.message, RETRY if refused.status == 503 else b"")

    def _below_models(self, path: bytes) -> tuple[str, Mapping[bytes, Handler]]:
        """``/v2/models/{m}[/versions/{v}][/ready|/infer]`` and ``/v1/models/{m}[:predict]``. Raises Refused, 404."""
        parts = [unquote_to_bytes(part) for part in path.split(b"/")]
        if parts[:3] == [b"", b"v1", b"models"] and len(parts) == 4 and parts[3]:
            name, verb, _ = parts[3].rpartition(b":predict") if parts[3].endswith(b":predict") else (parts[3], b"", b"")
            self._same("model", name, self._names.model)
            return ("predict", {b"POST": self._predict}) if verb else ("health", {b"GET": self._v1_model})
        if parts[:3] != [b"", b"v2", b"models"] or len(parts) < 4:
            raise Refused(f"there is nothing at {path[:200].decode('latin-1')}", 404)
        versioned = len(parts) > 5 and parts[4] == b"versions"
        rest = parts[6:] if versioned else parts[4:]
        found = self._of_model.get(b"/".join(rest))
        if found is None:
            raise Refused(f"there is nothing at {path[:200].decode('latin-1')}", 404)
        self._same("model", parts[3], self._names.model)
        if versioned:
            self._same("version", parts[5], self._names.version)
        return found

    @staticmethod
    def _same(what: str, given: bytes, here: str | None) -> None:
        if here is not None and given != here.encode():
            raise Refused(f"there is no {what} {given[:80].decode('latin-1')!r} here, but {here!r}", 404)

    def _live(self, exchange: Exchange) -> None:
        exchange.answer(200, b'{"live":true}')

    def _ready(self, exchange: Exchange) -> None:
        if self.ready:
            exchange.answer(200, b'{"ready":true}')
        else:
            exchange.error(503, self._why_not(), RETRY)

    def _why_not(self) -> str:
        return "another worker is still loading" if self.stage is Stage.READY else self.stage.value

    def _about(self, exchange: Exchange) -> None:
        _json(exchange, {"name": "cloudml", "version": describing.version(), "extensions": ["binary_tensor_data"]})

    def _version(self, exchange: Exchange) -> None:
        exchange.answer(200, describing.version().encode(), PLAIN)

    def _about_model(self, exchange: Exchange) -> None:
        _json(exchange, describing.model_metadata(self._loaded_model(), self._names))

    def _v1_models(self, exchange: Exchange) -> None:
        _json(exchange, {"models": [self._names.called]})

    def _v1_model(self, exchange: Exchange) -> None:
        if not self.ready:
            raise Refused(self._why_not(), 503)
        _json(exchange, {"name": self._names.called, "ready": True})

    def _models(self, exchange: Exchange) -> None:
        _json(exchange, {"models": [{"modelName": self._names.called, "modelVersion": self._names.version}]})

    def _execution_parameters(self, exchange: Exchange) -> None:
        _json(exchange, describing.execution_parameters(self._limits.body))

    def _document(self, exchange: Exchange) -> None:
        """Raises Refused, 503, until the model is there: it tells what rows hold."""
        name = quote(self._names.called, safe="")
        predict = [path.decode() for path in PREDICT] + [f"/v1/models/{name}:predict"]
        health = [path.decode() for path in (*LIVE, *READY)] + [f"/v1/models/{name}"]
        document = describing.openapi(
            self._loaded_model(),
            self._names,
            dict.fromkeys([*predict, *filter(None, [self._asked.predict])]),
            dict.fromkeys([*health, *filter(None, [self._asked.health])]),
        )
        _json(exchange, document)

    def _loaded_model(self) -> LoadedModel:
        """Raises Refused, 503, while there is none."""
        if self._model is None:
            raise Refused(self.stage.value, 503)
        return self._model

    def state(self) -> tuple[Json, tuple[int, int, int]]:
        """What this process has counted: of requests, and of the capture."""
        kept = self._capture
        return self._metrics.state(), (kept.written, kept.dropped, kept.removed) if kept else (0, 0, 0)

    def _numbers(self, exchange: Exchange) -> None:
        """Those of all workers; of the others as they were a moment ago."""
        total, captured = Metrics(), [0, 0, 0]
        states: list[Any] = [self.state()]
        if self._seat is not None:
            board, own = self._seat.board, self._seat.index
            states += [board.read(index) for index in range(board.workers) if index != own]
        for state in filter(None, states):
            total.add(state[0])
            captured = [mine + other for mine, other in zip(captured, state[1], strict=True)]
        exchange.answer(200, total.render(self.ready, (captured[0], captured[1], captured[2])), dialects.TEXT)

    def _infer(self, exchange: Exchange) -> None:
        self._predict(exchange, only_tensors=True)

    def _predict(self, exchange: Exchange, only_tensors: bool = False) -> None:
        """Raises Refused for a body that cannot be read."""
        model, batcher = self._model, self._batcher
        if model is None or batcher is None:
            exchange.error(503, self.stage.value, RETRY)
            return
        how = partial(_rows, model, exchange.body, exchange.headers, only_tensors, self._limits.body)
        exchange.body = b""
        if self._reader is not None and (exchange.size > LONG or ENCODING in exchange.headers):
            self._reader.read(how, partial(self._read, exchange, batcher))
        else:
            self._ask(exchange, batcher, *how())

    def _read(self, exchange: Exchange, batcher: Batcher, found: Any) -> None:
        """Goes on with what was read on the thread: a query and its rows, or why there are none."""
        try:
            if isinstance(found, Refused):
                raise found
            self._ask(exchange, batcher, *found)
        except Refused as refused:
            exchange.error(refused.status, refused.message, RETRY if refused.status == 503 else b"")

    def _ask(self, exchange: Exchange, batcher: Batcher, query: Query, rows: list[Any]) -> None:
        """Raises Refused, 503, when too much waits already."""
        if rows:
            batcher.add(
                Work(rows, query.plain, query.method, lambda outcome: self._done(exchange, query, rows, outcome))
            )
        else:
            self._done(exchange, query, rows, [])

    def _done(self, exchange: Exchange, query: Query, rows: list[Any], outcome: Outcome) -> None:
        status, outputs = 200, outcome
        if isinstance(outcome, Refused):
            status, outputs = outcome.status, []
            exchange.error(status, outcome.message)
        else:
            names = self._names
            try:
                accept = exchange.headers.get(b"accept")
                kind, body, extra = dialects.write(query, outcome, accept, names.called, names.version)
            except TypeError as error:
                status, outputs = 500, []
                exchange.error(500, f"the model's answer cannot be written as JSON: {error}")
            else:
                exchange.answer(200, body, kind, extra)
        if self._capture is not None and status in (200, 500) and self._capture.sampled():
            self._capture.add(self._record(exchange, query, rows, outputs, status))

    def _record(self, exchange: Exchange, query: Query, rows: list[Any], outputs: Any, status: int) -> Record:
        latency = perf_counter() - exchange.started
        names = None if self._model is None else self._model.features.names
        if self._redact and self._model is not None:
            rows = self._model.features.hidden(rows, query.columns, self._redact)
        began = time.time() - latency
        identity, named = exchange.id.decode(), names or query.columns
        return Record(identity, began, rows, named, outputs, status, latency, exchange.size)


def _rows(
    model: LoadedModel, body: bytes, headers: Mapping[bytes, bytes], only_tensors: bool, most: int
) -> tuple[Query, list[Any]]:
    """What a body asks and its rows in the model's order; on the loop or on the reading thread. Raises Refused."""
    if ENCODING in headers:
        body = unpacked(body, headers[ENCODING], most)
    query = dialects.read(body, headers.get(b"content-type"), only_tensors, headers.get(HEAD_LENGTH))
    if query.method not in model.methods:
        raise Refused(f"this model has no method {query.method[:80]!r}; it has {', '.join(model.methods)}")
    if query.cells:
        return query, model.features.from_cells(query.rows, query.columns)
    return query, model.features.ordered(query.rows, query.columns)


def _json(exchange: Exchange, document: Mapping[str, Any]) -> None:
    exchange.answer(200, orjson.dumps(document))
