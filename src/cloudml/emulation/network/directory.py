"""Which host leads where, and what was asked for that leads nowhere."""

from __future__ import annotations

import fnmatch
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudml.emulation import Route

LOOPBACK = "127.0.0.1"
INSIDE = ("localhost", "localhost.localdomain")  # never sent anywhere


@dataclass(frozen=True)
class Refused:
    """A host that the program wanted and did not get, and how often it tried."""

    host: str
    port: int | None
    times: int

    def __str__(self) -> str:
        where = self.host if self.port in (None, 443) else f"{self.host}:{self.port}"
        return where if self.times == 1 else f"{where} ({self.times} times)"


class Directory:
    """The routes of all emulators, and the real hosts that are allowed. The first pattern that fits counts."""

    def __init__(self, routes: Iterable[Route], allowed: Iterable[str] = ()) -> None:
        self.routes = (*routes,)
        self.allowed = tuple(map(str.lower, allowed))
        self._refused: Counter[tuple[str, int | None]] = Counter()
        self._lock = threading.Lock()

    def find(self, host: str, headers: Mapping[str, str] | None = None) -> Route | None:
        """The route of a host; of several at one address, the first whose header the request has."""
        for route in self.routes:
            if fnmatch.fnmatchcase(host, route.host) and (not route.header or route.header.lower() in (headers or {})):
                return route
        return None

    def allows(self, host: str) -> bool:
        return any(fnmatch.fnmatchcase(host, pattern) for pattern in self.allowed)

    def knows(self, host: str, remember: bool = True) -> bool:
        """Whether a name exists for the program; one that does not is remembered."""
        if self.allows(host) or any(fnmatch.fnmatchcase(host, route.host) for route in self.routes):
            return True
        if remember and host not in INSIDE:
            self.refuse(host, None)
        return False

    def refuse(self, host: str, port: int | None) -> None:
        with self._lock:
            self._refused[host, port] += 1

    @property
    def refused(self) -> list[Refused]:
        """What was refused so far, the most often first."""
        with self._lock:
            return [Refused(host, port, times) for (host, port), times in self._refused.most_common()]
