"""A provider of the tests' own, of which only the emulator matters."""

from __future__ import annotations

from typing import NoReturn

from pydantic import BaseModel

from cloudml.errors import Unsupported
from cloudml.spi import Plugin


class Config(BaseModel):
    """Nothing to configure."""


def connect(*_: object) -> NoReturn:
    raise Unsupported("only its emulator is there")


plugin = Plugin("tiny", Config, connect, lambda _: None, {}, emulator="tiny_cloud:EMULATOR")
