"""The program in front of an endpoint's servers: ``python -m cloudml_local.gateway FOLDER HOST PORT``.

It listens on one port for as long as the endpoint lives and sends each request to a ready deployment by the weights in
``FOLDER/table.json``. A new table takes effect at once and as a whole; ``/livez?servers`` says which one does, and
which servers can be reached. With a token in the environment, whoever does not send it hears no more than that this
is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from cloudml_local.clients import Client, Exchange, Limits
from cloudml_local.proxy import Target

LOOK = 0.03  # seconds between two looks at the table, and at servers that are not ready
DRAIN = 24.0  # seconds that requests under way are given at the end
PROBE = 2.0
DEFAULT_TIMEOUT = 60.0
SERVERS = "127.0.0.1"  # whoever wants to reach a server goes through here, and shows the token
TOKEN = "CLOUDML_GATEWAY_TOKEN"  # the variable's name
LIMITS = "CLOUDML_GATEWAY_LIMITS"  # a JSON object of what differs from Limits
TAKEN = 2  # exit code: the port cannot be listened on, and never was


class Gateway:
    """Routes requests; ``clients`` are the open connections."""

    def __init__(self, folder: Path, token: str | None = None, limits: Limits | None = None) -> None:
        self.clients: set[Client] = set()
        self.limits = limits or Limits()
        self.now = 0.0
        self._folder = folder
        self._bearer = token and token.encode()
        self._revision: str | None = None
        self._targets: dict[str, Target] = {}
        self._weights: dict[str, int] = {}
        self._credit: dict[str, int] = {}
        self._timeout = DEFAULT_TIMEOUT
        self._seen: tuple[int, int, int] | None = None
        self._probes: dict[Target, asyncio.Task[None]] = {}

    # -- requests ----------------------------------------------------------------------------------------------------

    def admits(self, authorization: bytes | None, url: bytes) -> bool:
        """Whether a request shows the token; all may ask whether this is alive."""
        if not self._bearer or url == b"/livez":
            return True
        scheme, _, given = (authorization or b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._bearer)

    def route(self, exchange: Exchange) -> None:
        if exchange.url in (b"/livez", b"/livez?servers"):
            return exchange.say(200, {"status": "live"} if exchange.url == b"/livez" else self._status())
        exchange.timer = asyncio.get_running_loop().call_later(self._timeout, exchange.expire)
        self._dispatch(exchange)

    def _status(self) -> dict[str, Any]:
        ready = sorted(target.server for target in self._targets.values() if target.address is not None)
        return {"status": "live", "pid": os.getpid(), "revision": self._revision, "ready": ready}

    def _dispatch(self, exchange: Exchange) -> None:
        if exchange.pin is not None and exchange.pin not in self._targets:
            known = ", ".join(sorted(self._targets)) or "none"
            return exchange.refuse(404, f"there is no deployment {exchange.pin!r}; there are: {known}")
        target = self._targets[exchange.pin] if exchange.pin is not None else self._choose(exchange.tried)
        if target is None or target.address is None:
            which = exchange.pin or "with traffic"
            return exchange.refuse(503, f"no deployment {which} is ready")
        target.take(exchange)

    def _choose(self, tried: set[Target]) -> Target | None:
        """Smooth weighted round robin over what is ready: in any 100 requests the shares are exact."""
        best, total = None, 0
        for name, weight in self._weights.items():
            target = self._targets[name]
            if weight and target.address is not None and target not in tried:
                total += weight
                self._credit[name] += weight
                if best is None or self._credit[name] > self._credit[best]:
                    best = name
        if best is None:
            return None
        self._credit[best] -= total
        return self._targets[best]

    def _lost(self, target: Target, exchange: Exchange) -> None:
        """No connection was made, so nothing was processed: another ready deployment may take the request.

        Unless it was sent before: then the server may have died of it. One that only is to end closes what is idle.
        """
        retired = target.retired
        target.lose()
        exchange.tried.add(target)
        if target in self._targets.values():
            self._probe(target)
        if exchange.again and not retired:
            exchange.refuse(502, f"deployment {target.name} ended before it answered")
        elif exchange.pin is None:
            self._dispatch(exchange)
        else:
            exchange.refuse(503, f"deployment {exchange.pin} does not listen")

    # -- the table ---------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Takes over the table if it is a new one, once each new server was asked whether it is ready."""
        path = self._folder / "table.json"
        try:
            stat = path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen == self._seen:
                return
            text = path.read_bytes()
        except FileNotFoundError:
            return
        table = json.loads(text)
        known = {target.server: target for target in self._targets.values()}
        targets = {
            name: known.get(entry["server"]) or Target(name, entry["server"], self._lost)
            for name, entry in table["targets"].items()
        }
        await asyncio.gather(*(self._ready(target) for target in targets.values() if target.address is None))
        self._switch(targets, table)
        self._seen = seen
        self._revision = table["revision"]

    def _switch(self, targets: dict[str, Target], table: Mapping[str, Any]) -> None:
        before, self._targets = self._targets, targets
        self._weights = {name: entry["weight"] for name, entry in table["targets"].items()}
        self._credit = dict.fromkeys(targets, 0)
        self._timeout = table["timeout"]
        kept = set(targets.values())
        for target in before.values():
            if target not in kept:
                target.retire()
                if probe := self._probes.pop(target, None):
                    probe.cancel()
        for target in kept:
            if target.address is None:
                self._probe(target)

    def _probe(self, target: Target) -> None:
        if target not in self._probes:
            self._probes[target] = asyncio.get_running_loop().create_task(self._until_ready(target))

    async def _until_ready(self, target: Target) -> None:
        while not await self._ready(target):
            await asyncio.sleep(LOOK)
        self._probes.pop(target, None)

    def _watch(self) -> None:
        """A server that was started again listens elsewhere."""
        for target in self._targets.values():
            if target.address is not None and self._announced(target) != target.announced:
                target.lose()
                self._probe(target)

    def _announced(self, target: Target) -> int | None:
        """What tells one announcement of a server from the next; None if there is none."""
        try:
            return self._ready_file(target).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _ready_file(self, target: Target) -> Path:
        return self._folder / "servers" / target.server / "ready.json"

    async def _ready(self, target: Target) -> bool:
        """Asks a server once whether it is ready, and remembers its address if so."""
        announced = self._announced(target)
        try:
            found = json.loads(self._ready_file(target).read_bytes())
            os.kill(found["pid"], 0)
            address = (SERVERS, int(found["port"]))
            async with asyncio.timeout(PROBE):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"GET /readyz HTTP/1.1\r\nhost: cloudml\r\nconnection: close\r\n\r\n")
                line = await reader.readline()
                writer.transport.abort()
        except (OSError, ValueError, KeyError):  # not there, not bound, or too slow: not ready
            return False
        if line.split()[1:2] == [b"200"]:
            target.address, target.announced = address, announced
        return target.address is not None

    # -- its life ----------------------------------------------------------------------------------------------------

    async def run(self, sock: socket.socket) -> None:
        """Serves until SIGTERM, then finishes what is under way."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        self.now = loop.time()
        await self.look()
        listener = await loop.create_server(lambda: Client(self), sock=sock)
        write(self._folder / "gateway.json", {"pid": os.getpid(), "port": sock.getsockname()[1]})
        while not stopping.is_set():
            await self.look()
            self._watch()
            self._tick(loop.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK)
        listener.close()
        for probe in self._probes.values():
            probe.cancel()
        end = loop.time() + DRAIN
        while any(client.busy for client in self.clients) and loop.time() < end:
            self._tick(loop.time())
            await asyncio.sleep(LOOK)
        for target in self._targets.values():
            target.retire()
        for client in list(self.clients):
            client.close()

    def _tick(self, now: float) -> None:
        self.now = now
        for client in [client for client in self.clients if client.deadline < now]:
            client.overdue()


def write(path: Path, document: Any) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document))
    draft.replace(path)


def bind(folder: Path, host: str, port: int) -> socket.socket:
    """The endpoint's socket: on the port that is fixed, or the one that it had, or a free one that it then keeps."""
    kept = folder / "port"
    if not port and kept.exists():
        port = int(kept.read_text())
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family, backlog=1024)
    write(kept, sock.getsockname()[1])
    return sock


def runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    """uvloop's, or asyncio's where there is none."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run
    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run
    return run


def main(folder: Path, host: str, port: int) -> int:
    before = (folder / "gateway.json").exists()
    try:
        sock = bind(folder, host, port)
    except OSError as error:
        said = f"cannot listen on {host}:{port or (folder / 'port').read_text()}: {error.strerror or error}"
        sys.stderr.write(said + "\n")
        return 1 if before else TAKEN
    token = os.environ.pop(TOKEN, None)
    limits = Limits(**json.loads(os.environ.get(LIMITS, "{}")))
    runner()(Gateway(folder, token, limits).run(sock))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
