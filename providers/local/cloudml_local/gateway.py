"""The program in front of an endpoint's servers: ``python -m cloudml_local.gateway FOLDER HOST PORT``.

It listens on one port for as long as the endpoint lives and sends each request to a ready deployment by the weights in
``FOLDER/table.json``. A new table takes effect at once and as a whole; ``FOLDER/serving.json`` says which one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from cloudml_local.proxy import Client, Exchange, Target, answer

LOOK = 0.03  # seconds between two looks at the table, and at servers that are not ready
DRAIN = 24.0  # seconds that requests under way are given at the end
PROBE = 2.0
DEFAULT_TIMEOUT = 60.0


class Gateway:
    """Routes requests; ``clients`` are the open connections."""

    def __init__(self, folder: Path, host: str) -> None:
        self.clients: set[Client] = set()
        self._folder = folder
        self._host = host
        self._targets: dict[str, Target] = {}
        self._weights: dict[str, int] = {}
        self._credit: dict[str, int] = {}
        self._timeout = DEFAULT_TIMEOUT
        self._seen: tuple[int, int, int] | None = None
        self._probes: dict[Target, asyncio.Task[None]] = {}

    # -- requests ----------------------------------------------------------------------------------------------------

    def route(self, exchange: Exchange) -> None:
        if exchange.url == b"/livez":
            exchange.client.write(answer(200, {"status": "live"}, close=not exchange.keep))
            return exchange.done(exchange.keep)
        exchange.timer = asyncio.get_running_loop().call_later(self._timeout, exchange.expire)
        self._dispatch(exchange)

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
        """No connection was made, so nothing was processed: another ready deployment may take the request."""
        target.address = None
        exchange.tried.add(target)
        if target in self._targets.values():
            self._probe(target)
        if exchange.pin is None:
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
        write(self._folder / "serving.json", {"revision": table["revision"], "pid": os.getpid()})

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

    async def _ready(self, target: Target) -> bool:
        """Asks a server once whether it is ready, and remembers its address if so."""
        try:
            found = json.loads((self._folder / "servers" / target.server / "ready.json").read_bytes())
            os.kill(found["pid"], 0)
            address = (self._host, int(found["port"]))
            async with asyncio.timeout(PROBE):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"GET /readyz HTTP/1.1\r\nhost: cloudml\r\nconnection: close\r\n\r\n")
                line = await reader.readline()
                writer.transport.abort()
        except (OSError, ValueError, KeyError):  # not there, not bound, or too slow: not ready
            return False
        if line.split()[1:2] == [b"200"]:
            target.address = address
        return target.address is not None

    # -- its life ----------------------------------------------------------------------------------------------------

    async def run(self, sock: socket.socket) -> None:
        """Serves until SIGTERM, then finishes what is under way."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await self.look()
        listener = await loop.create_server(lambda: Client(self), sock=sock)
        write(self._folder / "gateway.json", {"pid": os.getpid(), "port": sock.getsockname()[1]})
        while not stopping.is_set():
            await self.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK)
        listener.close()
        for probe in self._probes.values():
            probe.cancel()
        end = loop.time() + DRAIN
        while any(client.busy for client in self.clients) and loop.time() < end:
            await asyncio.sleep(LOOK)
        for target in self._targets.values():
            target.retire()
        for client in list(self.clients):
            client.close()


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
    try:
        sock = bind(folder, host, port)
    except OSError as error:
        said = f"cannot listen on {host}:{port or (folder / 'port').read_text()}: {error.strerror or error}"
        sys.stderr.write(said + "\n")
        return 1
    runner()(Gateway(folder, host).run(sock))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
