"""The proxy that every connection to a cloud goes through: it ends TLS and passes the bytes on to an emulator.

Clients reach it by CONNECT or by a plain request (proxy variables), or believe that it is the host (in a network
namespace). Bytes are passed on unread, so one pump serves HTTP/1.1, gRPC and streams. Runs on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cloudml.emulation.network import unimplemented
from cloudml.emulation.network.authority import Authority, HostContext
from cloudml.emulation.network.directory import LOOPBACK, Directory

T = TypeVar("T")
BLOCK = 1 << 18  # bytes
QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # of Linux
HEAD = 1 << 16  # bytes: the longest head of a request
HANDSHAKE = 20.0  # seconds
LAST_ANSWER = 60.0  # seconds that an answer may still take once the client has said everything
NETWORK_ERRORS = (OSError, EOFError, asyncio.LimitOverrunError)
NOT_HTTP = (ValueError, IndexError)  # whoever says something else is left alone
HTTPS, HTTP = 443, 80

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Listens on a port of the loopback, and on sockets that others hand over."""

    def __init__(self, directory: Directory, authority: Authority) -> None:
        self._directory, self._authority = directory, authority
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="cloudml-proxy", daemon=True)
        self._thread.start()
        listening = socket.create_server((LOOPBACK, 0), backlog=256)
        self.port: int = listening.getsockname()[1]
        self._servers.append(self.run(self.serve(listening, "proxy")))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the proxy's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Stop listening and end every connection."""
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(4):  # transports that were aborted say so in the loop's next rounds
            await asyncio.sleep(0)

    async def serve(self, listening: socket.socket, kind: str) -> asyncio.Server:
        """Serve a listening socket: ``proxy`` as a proxy, ``https`` and ``http`` as the hosts themselves."""
        listening.setblocking(False)
        talks = {"proxy": self._as_proxy, "https": self._as_host, "http": self._as_plain_host}
        talk = talks[kind]

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with contextlib.suppress(*NETWORK_ERRORS, *NOT_HTTP):
                    _no_delay(writer)
                    await talk(reader, writer)
                with contextlib.suppress(*NETWORK_ERRORS):
                    writer.close()
                    await writer.wait_closed()  # TLS asks the client, which may be idle for long
            except asyncio.CancelledError:
                writer.transport.abort()  # the proxy ends

        tls = self._by_name() if kind == "https" else None
        timeout = HANDSHAKE if tls else None
        return await asyncio.start_server(
            connected, sock=listening, ssl=tls, ssl_handshake_timeout=timeout, limit=BLOCK
        )

    async def _as_proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if method != "CONNECT":
            return await self._plain(head, target, (reader, writer))
        name, _, port = target.rpartition(":")
        host = _normal(name.strip("[]"))
        if not (self._directory.find(host) or self._directory.allows(host)):
            return await self._refuse(writer, host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        await writer.start_tls(self._authority.context(host), ssl_handshake_timeout=HANDSHAKE)
        await self._forward(host, int(port), (reader, writer))

    async def _as_host(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = writer.get_extra_info("ssl_object").context
        if isinstance(context, HostContext):
            await self._forward(context.host, HTTPS, (reader, writer))

    async def _as_plain_host(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode("latin-1")
        await self._plain(head, f"http://{_headers(head).get('host', '')}{path}", (reader, writer))

    def _by_name(self) -> ssl.SSLContext:
        """A context that takes the certificate of the host that the client names, and refuses unknown ones."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def named(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            host = _normal(name or "")
            if not (self._directory.find(host) or self._directory.allows(host)):
                self._directory.refuse(host or "a host that was not named", HTTPS)
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            connection.context = self._authority.context(host)
            return None

        context.sni_callback = named
        return context

    async def _forward(self, host: str, port: int, client: Streams) -> None:
        """Pass on what follows on a connection whose TLS has ended here."""
        route = self._directory.find(host)
        if route is None:
            trusted = ssl.create_default_context()
            return await _pump(client, await asyncio.open_connection(host, port, ssl=trusted, limit=BLOCK))
        chosen = client[1].get_extra_info("ssl_object").selected_alpn_protocol()
        if chosen == "h2" and route.grpc is None:
            return await unimplemented.answer(*client)
        await _pump(client, await _open(route.grpc if chosen == "h2" and route.grpc else route.port))

    async def _plain(self, head: bytes, target: str, client: Streams) -> None:
        """A request without TLS, which names its host; the connection ends with it."""
        url, headers = urlsplit(target), _headers(head)
        host, port = _normal(url.hostname or ""), url.port or HTTP
        route = self._directory.find(host, headers)
        if route:
            server = await _open(route.port)
        elif self._directory.allows(host):
            server = await asyncio.open_connection(host, port, limit=BLOCK)
        else:
            return await self._refuse(client[1], host, port)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        server[1].write(_rewritten(head, path))
        await _pump(client, server)

    async def _refuse(self, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        self._directory.refuse(host, port)
        said = f"cloudml: {host}:{port} is not emulated, and nothing else can be reached from here\n".encode()
        writer.write(
            b"HTTP/1.1 403 Forbidden\r\nX-Cloudml-Refused: 1\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(said), said)
        )
        await writer.drain()


def _normal(host: str) -> str:
    """As hosts are compared: some clients ask for a name with the dot of the root behind it."""
    return host.rstrip(".").lower()


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _rewritten(head: bytes, path: str) -> bytes:
    """The request as its host is to see it: one request on the connection, and nothing that was for the proxy."""
    first, *rest = head.split(b"\r\n")
    method, _, version = first.split(b" ", 2)
    kept = [line for line in rest if line and not line.lower().startswith((b"proxy-", b"connection:"))]
    return b"\r\n".join(
        [b"%b %b %b" % (method, path.encode("latin-1"), version), *kept, b"Connection: close", b"", b""]
    )


async def _open(port: int) -> Streams:
    return await asyncio.open_connection(LOOPBACK, port, limit=BLOCK)


def _no_delay(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _pump(client: Streams, server: Streams) -> None:
    """Pass bytes both ways until both have said everything, or one is gone."""
    _no_delay(server[1])
    up = asyncio.create_task(_pass_on(client[0], server[1], client[1].get_extra_info("socket")))
    down = asyncio.create_task(_pass_on(server[0], client[1]))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if not down.done():  # the client has said everything; TLS cannot tell a half from a whole end
            await asyncio.wait({down}, timeout=LAST_ANSWER)
    finally:
        for task in (up, down):
            task.cancel()
        server[1].close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, own: Any = None) -> None:
    """``own`` is the reader's socket, if what comes by it is to be acknowledged at once.

    urllib3, and so requests and botocore, turns Nagle's algorithm on towards a proxy and writes head and body apart:
    the body would wait 40 ms for the head's delayed acknowledgement, at every POST.
    """
    with contextlib.suppress(*NETWORK_ERRORS):
        while data := await reader.read(BLOCK):
            if own is not None and QUICK_ACK is not None:
                own.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
