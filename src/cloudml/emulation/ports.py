"""Ports of the loopback for servers that are told where to listen."""

from __future__ import annotations

import random
import socket
import threading

from cloudml.errors import Unavailable

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)  # below those that systems hand out, so that nobody else is given one meanwhile
TRIES = 1000

_given: set[int] = set()
_giving = threading.Lock()


def free_port() -> int:
    """One that nobody listens on, and that this process has not given out before. Raises Unavailable."""
    with _giving:
        for port in random.sample(PORTS, TRIES):
            if port not in _given and _is_free(port):
                _given.add(port)
                return port
    raise Unavailable("no port is free on the loopback")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def with_port(text: str, port: int | None) -> str:
    """The text with the port in the place of every ``{port}``."""
    return text if port is None else text.replace("{port}", str(port))
