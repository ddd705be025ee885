"""What the entry point names. Imports neither the engine nor SQLite: that is ``connect``'s part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cloudml.spi import Caller, Plugin, Provider
from cloudml_local.capabilities import CAPABILITIES
from cloudml_local.errors import classify
from cloudml_local.options import OPTIONS


class Config(BaseModel):
    """Where everything lives, and the address that endpoints listen on.

    ``home`` is by default ``$CLOUDML_HOME``, else ``cloudml`` in the user's data folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path | None = None
    host: str = Field(default="127.0.0.1", min_length=1)


def connect(config: Any, caller: Caller) -> Provider:
    """A provider over the folder that ``config`` names; makes nothing before the first write."""
    from cloudml_local import connect as opened

    return opened.provider(config.home, config.host, caller)


plugin = Plugin(
    name="local",
    config=Config,
    connect=connect,
    classify=classify,
    capabilities=CAPABILITIES,
    options=OPTIONS,
    extra=None,
    pace=0.05,
)
