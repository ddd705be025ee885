"""What only this provider has: typed options, and who may use its endpoints."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from cloudml.spi import Secret

NAME = "local"


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobOptions(Options):
    """``inherit`` names further variables of the caller's environment that the job is given."""

    inherit: tuple[str, ...] = ()


class EndpointOptions(Options):
    """``port`` fixes the port that the endpoint listens on; without it one is chosen once and kept.

    ``capture_limit`` is how many bytes of captured requests are kept: the oldest files make room.
    """

    port: int | None = Field(default=None, ge=1, le=65535)
    capture_limit: int = Field(default=1 << 30, ge=1 << 16)


@dataclass(frozen=True)
class Access:
    """Who may use the endpoints: where gateways listen, and whether a request must show a token.

    Without a ``token`` of the settings' it is the home's own, which is made on its first use.
    """

    host: str
    needed: bool = False
    token: Secret | None = None

    @property
    def label(self) -> str:
        """Which token a gateway asks for; empty for none."""
        return (str(self.token) if self.token else "own") if self.needed else ""


def access(host: str, token: str | None, near: Callable[[str], bool]) -> Access:
    """``token`` is a reference, ``${secret:…}``; ``near`` tells the hosts that only this machine can reach."""
    given = Secret(token.removeprefix("${secret:").removesuffix("}")) if token else None
    return Access(host, bool(given) or not near(host), given)


def loopback(host: str) -> bool:
    """Whether only this machine can reach it; a name counts as reachable by others, but for ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


OPTIONS: Mapping[str, type[BaseModel]] = {"job": JobOptions, "endpoint": EndpointOptions}
