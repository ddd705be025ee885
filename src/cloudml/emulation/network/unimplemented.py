"""A gRPC server that has no service: every call is answered UNIMPLEMENTED.

For hosts whose emulator speaks HTTP alone. A client that offers HTTP/2 alone and finds nobody who speaks it tries for a
minute before it gives up; one that is told that there is no such service goes on at once.
"""

from __future__ import annotations

import asyncio

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME = 9  # bytes of a frame's head
HEADERS, RESET, SETTINGS, PING, GO_AWAY = 1, 3, 4, 6, 7
ACKNOWLEDGED = END_STREAM = 1
END_HEADERS = 4
STATUS_200 = b"\x88"  # an index of HPACK's static table
LONGEST = 1 << 14  # bytes: of a frame, as HTTP/2 has it by default


def _literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK writes one that it is not to remember."""
    return b"\0%c%b%c%b" % (len(name), name, len(value), value)


ANSWER = STATUS_200 + b"".join(
    _literal(name, value)
    for name, value in (
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"12"),
        (b"grpc-message", b"not emulated over gRPC"),
    )
)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Talk to one client until it leaves."""
    if await reader.readexactly(len(PREFACE)) != PREFACE:
        return
    writer.write(_frame(SETTINGS, 0, 0))
    while True:
        head = await reader.readexactly(FRAME)
        size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
        if size > LONGEST:
            return
        payload = await reader.readexactly(size)
        if kind == SETTINGS and not flags & ACKNOWLEDGED:
            writer.write(_frame(SETTINGS, ACKNOWLEDGED, 0))
        elif kind == PING and not flags & ACKNOWLEDGED:
            writer.write(_frame(PING, ACKNOWLEDGED, 0, payload))
        elif kind == HEADERS:
            writer.write(_frame(HEADERS, END_HEADERS | END_STREAM, stream, ANSWER))
            writer.write(_frame(RESET, 0, stream, b"\0\0\0\0"))  # no error: what the client still sends is not wanted
        elif kind == GO_AWAY:
            return
        await writer.drain()
