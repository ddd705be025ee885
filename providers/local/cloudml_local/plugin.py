"""What the entry point names. Imports neither the engine nor SQLite: that is ``connect``'s part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cloudml.spi import Caller, Plugin, Provider
from cloudml_local.capabilities import CAPABILITIES
from cloudml_local.errors import classify
from cloudml_local.options import OPTIONS, access, loopback


class Config(BaseModel):
    """Where everything lives, the address that endpoints listen on, and how many CPUs jobs may take together.

    ``token`` refers to what requests must show; beyond loopback one is always asked for, by default the home's own.
    ``home`` is by default ``$CLOUDML_HOME``, else ``cloudml`` in the user's data folder; ``cpus`` is
    ``$CLOUDML_CPUS``, else all of this machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path | None = None
    host: str = Field(default="127.0.0.1", min_length=1)
    token: str | None = Field(default=None, pattern=r"^\$\{secret:.+\}$")
    cpus: int | None = Field(default=None, ge=1)


def connect(config: Any, caller: Caller) -> Provider:
    """A provider over the folder that ``config`` names; makes nothing before the first write."""
    from cloudml_local import connect as opened

    return opened.provider(config.home, access(config.host, config.token, loopback), config.cpus, caller)


plugin = Plugin(
    name="local",
    config=Config,
    connect=connect,
    classify=classify,
    capabilities=CAPABILITIES,
    options=OPTIONS,
    pace=0.05,
)
