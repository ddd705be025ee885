"""``python -m cloudml.runtime serve``: the life of one endpoint process.

The socket is bound first, the model loads on a thread, SIGTERM drains. Exit codes: 0 after a signal, 2 for a wrong
setting, 3 when the model does not load.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudml.errors import CloudmlError, ConfigError
from cloudml.runtime import flavors
from cloudml.runtime.application import Application, AskedRoutes, Stage
from cloudml.runtime.batching import Batcher
from cloudml.runtime.capture import LIMIT, Capture
from cloudml.runtime.describing import Names
from cloudml.runtime.http import Limits, Server
from cloudml.runtime.loading import BESIDE, chosen_model
from cloudml.runtime.metrics import Metrics
from cloudml.runtime.reading import Reader
from cloudml.runtime.workers import LOAD_FAILED, Crew, Seat, bind

if TYPE_CHECKING:
    from cloudml.runtime.cloud_storage import Mirror

PORTS = ("CLOUDML_PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT", "PORT")
DRAIN = 24.0  # seconds from SIGTERM to the end, at most; platforms kill after 30
ACCEPTING = 5.0  # of which new connections are still taken, while their balancers hear of it
UNREAD = 0.05  # before idle connections end: what has arrived on them may not have been read yet
MOST_WORKERS = 256
PUBLISH = 0.25  # seconds between two looks of the other workers at this one
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # of a numeric library, in one worker


@dataclass(frozen=True)
class Settings:
    """The environment of an endpoint process, read once."""

    model_dir: Path
    model_uri: str | None
    host: str
    port: int
    ready_file: Path | None
    failure_file: Path | None
    signature: Path | str | Mapping[str, Any] | None  # a str is a URI
    capture_dir: Path | None
    capture_uri: str | None
    capture_rate: float
    capture_limit: int
    redact: frozenset[str]
    trust: flavors.Trust
    names: Names
    limits: Limits
    asked: AskedRoutes
    workers: int = 1


def settings(env: Mapping[str, str]) -> Settings:
    """Raises ConfigError at a value that is missing or out of range."""
    if not env.get("CLOUDML_MODEL_DIR"):
        raise ConfigError("CLOUDML_MODEL_DIR is not set: it names the model's folder")
    port = next((name for name in PORTS if env.get(name)), "")

    def path(name: str) -> Path | None:
        return Path(env[name]) if env.get(name) else None

    default = Limits()
    return Settings(
        model_dir=Path(env["CLOUDML_MODEL_DIR"]),
        model_uri=env.get("CLOUDML_MODEL_URI") or None,
        host=env.get("CLOUDML_HOST") or "127.0.0.1",
        port=int(_number(env, port, 8080, 0, 65535)),
        ready_file=path("CLOUDML_READY_FILE"),
        failure_file=path("CLOUDML_FAILURE_FILE"),
        signature=_place(env.get("CLOUDML_SIGNATURE")),
        capture_dir=path("CLOUDML_CAPTURE_DIR") or (_own_captures() if env.get("CLOUDML_CAPTURE_URI") else None),
        capture_uri=env.get("CLOUDML_CAPTURE_URI") or None,
        capture_rate=_number(env, "CLOUDML_CAPTURE_RATE", 1.0, 0.0, 1.0),
        capture_limit=int(_number(env, "CLOUDML_CAPTURE_LIMIT", LIMIT, 1 << 16, 1 << 50)),
        redact=_names(env, "CLOUDML_CAPTURE_REDACT"),
        trust=flavors.Trust(env.get("CLOUDML_MODEL_DIGEST") or None, env.get("CLOUDML_ALLOW_PICKLE") == "1"),
        names=Names(
            env.get("CLOUDML_MODEL_NAME") or None,
            env.get("CLOUDML_MODEL_VERSION") or None,
            env.get("CLOUDML_ENDPOINT") or None,
            env.get("CLOUDML_DEPLOYMENT") or None,
        ),
        limits=Limits(
            body=int(_number(env, "CLOUDML_MAX_BODY", default.body, 1, 1 << 30)),
            head=int(_number(env, "CLOUDML_MAX_HEADER", default.head, 1024, 1 << 20)),
            head_time=_number(env, "CLOUDML_HEADER_TIMEOUT", default.head_time, 0.1, 600),
            body_time=_number(env, "CLOUDML_BODY_TIMEOUT", default.body_time, 0.1, 3600),
            idle=_number(env, "CLOUDML_KEEP_ALIVE", default.idle, 0.1, 3600),
        ),
        asked=AskedRoutes(_route(env, "AIP_HEALTH_ROUTE"), _route(env, "AIP_PREDICT_ROUTE")),
        workers=int(_number(env, "CLOUDML_WORKERS", 1, 1, MOST_WORKERS)),
    )


def _place(text: str | None) -> Path | str | None:
    """A path; a URI, or the name of what lies with the model, as it is."""
    return text if text and ("://" in text or text.startswith(BESIDE)) else Path(text) if text else None


def _own_captures() -> Path:
    """Where what is captured lies until it is stored elsewhere."""
    return Path(tempfile.mkdtemp(prefix="cloudml-captures-"))


def _number(env: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = env.get(name)
    try:
        value = float(text) if text else float(default)
    except ValueError:
        raise ConfigError(f"{name}={text!r} is not a number") from None
    if not least <= value <= most:
        raise ConfigError(f"{name}={text!r} is not between {least} and {most}")
    return value


def _route(env: Mapping[str, str], name: str) -> str | None:
    """A path; None where it is not set."""
    path = env.get(name) or None
    if path is not None and (not path.startswith("/") or "?" in path or not path.isascii()):
        raise ConfigError(f"{name}={path!r} is not the path of a route: /predict")
    return path


def _names(env: Mapping[str, str], name: str) -> frozenset[str]:
    """A JSON list of strings."""
    try:
        found = json.loads(env.get(name) or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ConfigError(f"{name} must be a JSON list of strings")
    return frozenset(found)


def serve() -> int:
    """Serve as the environment says until a signal comes; see ``run``."""
    return run(settings(os.environ))


def run(chosen: Settings) -> int:
    """Serve until a signal comes. Returns the exit code; raises ConfigError before anything is bound."""
    for path in (chosen.ready_file, chosen.failure_file):  # those of a process that ended tell nothing of this one
        if path is not None:
            path.unlink(missing_ok=True)
    if chosen.workers > 1:
        shared = replace(chosen, capture_limit=max(1 << 16, chosen.capture_limit // chosen.workers))
        return Crew(chosen.host, chosen.port, chosen.workers, partial(_serve, shared)).run()
    return _serve(chosen, bind(chosen.host, chosen.port, shared=False), None)


def _serve(chosen: Settings, sock: socket.socket, seat: Seat | None) -> int:
    """Serve in this process; ``seat`` is its place among several."""
    if seat is not None:
        for name in THREADS:
            os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // chosen.workers)))
    life = Life(chosen, sock, seat)
    for number in (signal.SIGTERM, signal.SIGINT):  # not the loop's own handlers: those end before the process does
        signal.signal(number, life.stop)
    code = _runner()(life.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if life.stuck:  # a load or a prediction that does not end would hold the interpreter's exit
        sys.stderr.flush()
        os._exit(code)
    return code


def _runner() -> Callable[[Coroutine[Any, Any, int]], int]:
    """uvloop's, or asyncio's where there is none."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run
    run: Callable[[Coroutine[Any, Any, int]], int] = uvloop.run
    return run


class Life:
    """Load, serve, drain."""

    def __init__(self, chosen: Settings, sock: socket.socket, seat: Seat | None = None) -> None:
        self._chosen = chosen
        self._seat = seat
        self._sock = sock
        self._metrics = Metrics()
        self._capture = self._open_capture()
        self._mirror = self._open_mirror()
        self._application = Application(
            chosen.names, self._metrics, self._capture, chosen.redact, chosen.limits, chosen.asked, seat
        )
        self._server = Server(
            self._application.received, self._metrics.answered, chosen.limits, chosen.names.deployment
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self.stuck = False

    def stop(self, _number: int, _frame: Any) -> None:
        """The handler of a signal, at any time of this life: the first one ends it, later ones change nothing."""
        self._stopping = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end, 0)

    async def run(self) -> int:
        """The exit code."""
        self._loop = loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = loop.create_future()
        if self._stopping:
            self._end(0)
        self._loaded = asyncio.Event()
        self._server.tick(loop)
        loader = threading.Thread(target=self._load, args=(loop,), name="cloudml-load", daemon=True)
        if self._seat is not None:
            self._share(loop, self._seat)
        if self._seat is not None and self._seat.again:  # the others serve meanwhile
            loader.start()
            await asyncio.wait((self._ended, loop.create_task(self._loaded.wait())), return_when="FIRST_COMPLETED")
        listener = await loop.create_server(self._server.protocol, sock=self._sock, backlog=1024)
        self._announce()
        if not loader.ident:
            loader.start()
        code = await self._ended
        self.stuck = loader.is_alive()
        if code == 0:
            await self._drain(loop, listener)
        listener.close()
        if self._capture is not None:
            self._capture.close()
        if self._mirror is not None:
            self._mirror.close()
        return code

    def _announce(self) -> None:
        port = self._sock.getsockname()[1]
        if self._seat is not None and self._seat.index > 0:
            return
        sys.stderr.write(f"cloudml: listening on {self._chosen.host}:{port}\n")
        if self._chosen.ready_file is not None:
            pid = os.getpid() if self._seat is None else os.getppid()
            _write_json(self._chosen.ready_file, {"pid": pid, "port": port})

    def _share(self, loop: asyncio.AbstractEventLoop, seat: Seat) -> None:
        """Go on counting where the worker before this one ended, and let the others see it."""
        if seat.again and (before := seat.board.read(seat.index)):
            self._metrics.add(before[0])
        self._publish(loop, seat)

    def _publish(self, loop: asyncio.AbstractEventLoop, seat: Seat) -> None:
        seat.board.write(seat.index, self._application.state())
        loop.call_later(PUBLISH, self._publish, loop, seat)

    def _load(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            model = chosen_model(self._chosen)
            model.features.must_have(self._chosen.redact)
            batcher = Batcher(loop, model, self._metrics)
            batcher.warm_up()
            gc.collect()
            gc.freeze()  # what the model brought stays: the collector need not look at it again
        except BaseException as error:  # noqa: BLE001  # also a SystemExit in the model's code: say so and end with 3
            self._load_failed(error)
            loop.call_soon_threadsafe(self._end, LOAD_FAILED)
        else:
            loop.call_soon_threadsafe(self._application.loaded, model, batcher, Reader(loop))
            loop.call_soon_threadsafe(self._loaded.set)

    def _load_failed(self, error: BaseException) -> None:
        kind = type(error).__name__
        hint = f"; {error.hint}" if isinstance(error, CloudmlError) and error.hint else ""
        sys.stderr.write(f"cloudml: the model does not load: {kind}: {error}{hint}\n")
        if not isinstance(error, ConfigError):
            traceback.print_exception(error, file=sys.stderr)
        if self._chosen.failure_file is not None:
            _write_json(self._chosen.failure_file, {"type": kind, "message": f"{error}{hint}"})

    def _end(self, code: int) -> None:
        self._application.stage = Stage.DRAINING
        if not self._ended.done():
            self._ended.set_result(code)

    async def _drain(self, loop: asyncio.AbstractEventLoop, listener: asyncio.AbstractServer) -> None:
        """In-flight requests finish; new connections are taken for a while, then no more."""
        began = loop.time()
        self._server.draining = True
        await asyncio.sleep(UNREAD)
        self._server.drain()
        accepting = True
        while self._server.busy and loop.time() - began < DRAIN:
            if accepting and loop.time() - began > ACCEPTING:
                listener.close()
                accepting = False
            await asyncio.sleep(0.02)
        self.stuck = self.stuck or self._server.busy

    def _open_capture(self) -> Capture | None:
        chosen = self._chosen
        if chosen.capture_dir is None or chosen.capture_rate <= 0:
            return None
        names = chosen.names
        labels = {
            "endpoint": names.endpoint,
            "deployment": names.deployment,
            "model": names.model,
            "version": names.version,
        }
        return Capture(chosen.capture_dir, chosen.capture_rate, os.getpid(), labels, chosen.capture_limit)

    def _open_mirror(self) -> Mirror | None:
        """What was captured is stored elsewhere, where the container's disk goes with it."""
        chosen = self._chosen
        if self._capture is None or chosen.capture_uri is None or chosen.capture_dir is None:
            return None
        from cloudml.runtime.cloud_storage import Mirror

        return Mirror(chosen.capture_dir, chosen.capture_uri, os.environ, _say)


def _say(sentence: str) -> None:
    sys.stderr.write(f"cloudml: {sentence}\n")


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all: others poll for this file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(document), encoding="utf-8")
    unfinished.replace(path)
