"""What the endpoint answers: routes, health, metadata, predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from time import perf_counter
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from cloudml.runtime import dialects
from cloudml.runtime.batching import Batcher, Outcome, Work
from cloudml.runtime.capture import Capture, Record
from cloudml.runtime.dialects import Query
from cloudml.runtime.flavors import LoadedModel
from cloudml.runtime.http import Exchange
from cloudml.runtime.metrics import Metrics
from cloudml.runtime.rows import Refused

RETRY = b"retry-after: 1\r\n"
Handler = Callable[[Exchange], None]


class Stage(Enum):
    """Where the process is in its life."""

    LOADING = "the model is still loading"
    READY = "ready"
    DRAINING = "the endpoint is shutting down"


@dataclass(frozen=True)
class Names:
    """What this process serves, and under which name; None where nobody said."""

    model: str | None = None
    version: str | None = None
    endpoint: str | None = None
    deployment: str | None = None


class Application:
    """Answers complete requests; all on the loop's thread."""

    def __init__(
        self, names: Names, metrics: Metrics, capture: Capture | None, redact: frozenset[str] = frozenset()
    ) -> None:
        self.stage = Stage.LOADING
        self._names = names
        self._metrics = metrics
        self._capture = capture
        self._redact = redact
        self._model: LoadedModel | None = None
        self._batcher: Batcher | None = None
        ready, predict = {b"GET": self._ready}, {b"POST": self._predict}
        self._routes: dict[bytes, tuple[str, Mapping[bytes, Handler]]] = {
            **dict.fromkeys((b"/invocations", b"/predict", b"/score"), ("predict", predict)),
            **dict.fromkeys((b"/livez", b"/v2/health/live"), ("health", {b"GET": self._live})),
            **dict.fromkeys((b"/ping", b"/health", b"/readyz", b"/", b"/v2/health/ready"), ("health", ready)),
            b"/v2": ("metadata", {b"GET": self._about}),
            b"/metrics": ("metrics", {b"GET": self._numbers}),
        }
        self._of_model: dict[bytes, tuple[str, Mapping[bytes, Handler]]] = {
            b"": ("metadata", {b"GET": self._about_model}),
            b"ready": ("health", ready),
            b"infer": ("predict", {b"POST": self._infer}),
        }

    def loaded(self, model: LoadedModel, batcher: Batcher) -> None:
        """From now on the endpoint is ready, unless it is shutting down already."""
        self._model, self._batcher = model, batcher
        if self.stage is Stage.LOADING:
            self.stage = Stage.READY

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
        """``/v2/models/{m}[/versions/{v}][/ready|/infer]``. Raises Refused, 404."""
        parts = [unquote_to_bytes(part) for part in path.split(b"/")]
        if parts[:3] != [b"", b"v2", b"models"] or len(parts) < 4:
            raise Refused(f"there is nothing at {path[:200].decode('latin-1')}", 404)
        versioned = len(parts) > 5 and parts[4] == b"versions"
        rest = parts[6:] if versioned else parts[4:]
        found = self._of_model.get(b"/".join(rest))
        if found is None:
            raise Refused(f"there is nothing at {path[:200].decode('latin-1')}", 404)
        asked = [("model", parts[3], self._names.model)]
        if versioned:
            asked.append(("version", parts[5], self._names.version))
        for what, given, here in asked:
            if here is not None and given != here.encode():
                raise Refused(f"there is no {what} {given[:80].decode('latin-1')!r} here, but {here!r}", 404)
        return found

    def _live(self, exchange: Exchange) -> None:
        exchange.answer(200, b'{"live":true}')

    def _ready(self, exchange: Exchange) -> None:
        if self.stage is Stage.READY:
            exchange.answer(200, b'{"ready":true}')
        else:
            exchange.error(503, self.stage.value, RETRY)

    def _about(self, exchange: Exchange) -> None:
        try:
            version = metadata.version("cloudml-sdk")
        except metadata.PackageNotFoundError:
            version = "0"
        exchange.answer(200, orjson.dumps({"name": "cloudml", "version": version, "extensions": []}))

    def _about_model(self, exchange: Exchange) -> None:
        model = self._model
        if model is None:
            exchange.error(503, self.stage.value, RETRY)
            return
        about: dict[str, Any] = {
            "name": self._names.model or "model",
            "versions": [self._names.version] if self._names.version else [],
            "platform": model.flavor,
            "inputs": [],
            "outputs": [{"name": "predictions", "datatype": "FP64", "shape": [-1]}],
            "parameters": {"methods": sorted(model.methods), "features": model.features.names},
        }
        if model.features.width is not None:
            datatype = "BYTES" if model.features.texts is None or model.features.texts else "FP64"
            about["inputs"] = [{"name": "inputs", "datatype": datatype, "shape": [-1, model.features.width]}]
        exchange.answer(200, orjson.dumps(about))

    def _numbers(self, exchange: Exchange) -> None:
        kept = self._capture
        captured = (kept.written, kept.dropped, kept.removed) if kept else (0, 0, 0)
        exchange.answer(200, self._metrics.render(self.stage is Stage.READY, captured), dialects.TEXT)

    def _infer(self, exchange: Exchange) -> None:
        self._predict(exchange, only_tensors=True)

    def _predict(self, exchange: Exchange, only_tensors: bool = False) -> None:
        """Raises Refused for a body that cannot be read."""
        model, batcher = self._model, self._batcher
        if model is None or batcher is None:
            exchange.error(503, self.stage.value, RETRY)
            return
        query = dialects.read(exchange.body, exchange.headers.get(b"content-type"), only_tensors)
        if query.method not in model.methods:
            raise Refused(f"this model has no method {query.method[:80]!r}; it has {', '.join(model.methods)}")
        if query.cells:
            rows = model.features.from_cells(query.rows, query.columns)
        else:
            rows = model.features.ordered(query.rows, query.columns)
        exchange.body = b""
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
                kind, body = dialects.write(query, outcome, accept, names.model or "model", names.version)
            except TypeError as error:
                status, outputs = 500, []
                exchange.error(500, f"the model's answer cannot be written as JSON: {error}")
            else:
                exchange.answer(200, body, kind)
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
