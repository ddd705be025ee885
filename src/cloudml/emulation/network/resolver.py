"""The name server of a network namespace: emulated hosts are at one address there, and no other host exists."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

HEADER = 12  # bytes
TYPE_A, CLASS_IN = b"\0\x01", b"\0\x01"
FOUND, NO_SUCH_NAME = b"\x81\x80", b"\x81\x83"  # an answer, recursion available; and its code
SECONDS = b"\0\0\0\x05"  # how long an answer holds
POINTER = b"\xc0\x0c"  # to the name in the question


class Resolver(asyncio.DatagramProtocol):
    """Answers queries. ``known`` says whether a host is emulated, and is to remember one that is not.

    Clients ask for the addresses of both kinds at once, so only the older kind is remembered.
    """

    def __init__(self, known: Callable[[str, bool], bool], address: str) -> None:
        self._known, self._address = known, socket.inet_aton(address)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        answer = self.answer(data)
        if answer and self._transport:
            self._transport.sendto(answer, address)

    def answer(self, query: bytes) -> bytes | None:
        """The answer to a query of one name: its address for A, nothing for other types; None for what is no query."""
        read = _question(query)
        if read is None:
            return None
        name, end = read
        question = query[HEADER:end]
        if not self._known(name, query[end - 4 : end - 2] == TYPE_A):
            return query[:2] + NO_SUCH_NAME + b"\0\x01\0\0\0\0\0\0" + question
        if query[end - 4 : end - 2] != TYPE_A:
            return query[:2] + FOUND + b"\0\x01\0\0\0\0\0\0" + question
        record = POINTER + TYPE_A + CLASS_IN + SECONDS + b"\0\x04" + self._address
        return query[:2] + FOUND + b"\0\x01\0\x01\0\0\0\0" + question + record


def _question(query: bytes) -> tuple[str, int] | None:
    """The name that is asked for, in small letters, and where the question ends."""
    labels, at = [], HEADER
    while at < len(query) and query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]])
        at += query[at] + 1
    end = at + 5
    if end > len(query) or not labels:
        return None
    return b".".join(labels).decode("ascii", "replace").lower(), end
