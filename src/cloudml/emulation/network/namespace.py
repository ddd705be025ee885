"""The proxy's side of network namespaces: takes the sockets that were made in one, and serves them until it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudml.emulation.box.listening import READY
from cloudml.emulation.network.directory import Directory
from cloudml.emulation.network.proxy import Proxy
from cloudml.emulation.network.resolver import Resolver

HOSTS = "198.18.0.1"  # every emulated host, in there: of the range that is reserved for benchmarks, so nobody's
METADATA = ("169.254.169.254", "169.254.170.2")  # where the clouds' machines and containers ask who they are
LISTEN = (
    ("dns", "127.0.0.1", 53),
    ("https", HOSTS, 443),
    ("http", HOSTS, 80),
    *(("http", address, 80) for address in METADATA),
)
RESOLVER = "nameserver 127.0.0.1\noptions attempts:1 timeout:5\n"
MESSAGE = 4096  # bytes
MOST = 16  # sockets of one namespace


class Handover:
    """A unix socket; each connection brings the sockets of a namespace, which are served as long as it lasts."""

    def __init__(self, proxy: Proxy, directory: Directory, path: Path) -> None:
        self._proxy, self._directory, self._path = proxy, directory, path
        self._listening = _unix_socket(path)
        self._accepting = proxy.run(self._start())

    def network(self) -> Mapping[str, Any]:
        """What `cloudml.emulation.box.listening` needs."""
        return {
            "control": str(self._path),
            "addresses": [HOSTS, *METADATA],
            "listen": [
                *LISTEN,
                ("proxy", "127.0.0.1", self._proxy.port),
            ],  # for who has the variables of the other kind
            "resolver": RESOLVER,
        }

    def close(self) -> None:
        """Take no more of them; those that are served end with the proxy."""
        self._proxy.run(self._end())
        self._listening.close()
        self._path.unlink(missing_ok=True)

    async def _start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._accept())

    async def _end(self) -> None:
        self._accepting.cancel()
        await asyncio.wait({self._accepting})

    async def _accept(self) -> None:
        loop, served = asyncio.get_running_loop(), set()
        while True:
            connection, _ = await loop.sock_accept(self._listening)
            task = asyncio.create_task(self._serve(connection))
            served.add(task)
            task.add_done_callback(served.discard)
            task.add_done_callback(_closing(connection))  # one that is cancelled before it begins closes nothing

    async def _serve(self, connection: socket.socket) -> None:
        """One namespace, until its box closes the connection."""
        ends: list[Callable[[], None]] = [connection.close]
        try:
            await _readable(connection)
            for kind, each in _received(connection):
                ends.append(await self._serve_socket(kind, each))
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(connection, READY)
            with contextlib.suppress(OSError):
                await loop.sock_recv(connection, 1)
        finally:
            for end in ends:
                end()

    async def _serve_socket(self, kind: str, each: socket.socket) -> Callable[[], None]:
        """Serve one socket; what ends that."""
        if kind != "dns":
            return (await self._proxy.serve(each, kind)).close
        each.setblocking(False)
        resolver = Resolver(self._directory.knows, HOSTS)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: resolver, sock=each)
        return transport.close


def _closing(connection: socket.socket) -> Callable[[object], None]:
    return lambda _: connection.close()


def _unix_socket(path: Path) -> socket.socket:
    """Listening at a path, which may be longer than the address of a socket can be."""
    made = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        made.bind(f"/proc/self/fd/{folder}/{path.name}" if sys.platform == "linux" else str(path))
    finally:
        os.close(folder)
    made.listen(64)
    made.setblocking(False)
    return made


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(connection, ready.set_result, None)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _received(connection: socket.socket) -> list[tuple[str, socket.socket]]:
    """The sockets that have come, by kind."""
    message, descriptors, _, _ = socket.recv_fds(connection, MESSAGE, MOST)
    kinds = json.loads(message or b"[]")
    return [(kind, socket.socket(fileno=each)) for kind, each in zip(kinds, descriptors, strict=True)]
