"""What the entry point names. Imports none of Google's libraries: that is ``connect``'s part."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloudml.spi import Caller, Plugin, Provider
from cloudml_vertex.capabilities import CAPABILITIES
from cloudml_vertex.errors import classify
from cloudml_vertex.options import NAME, OPTIONS
from cloudml_vertex.permissions import roles


class Config(BaseModel):
    """Where everything lives, and as whom jobs run.

    ``project`` is by default ``$CLOUDML_VERTEX_PROJECT``, else ``$GOOGLE_CLOUD_PROJECT``, else the credentials' own;
    ``location`` ``$CLOUDML_VERTEX_LOCATION``, else ``us-central1``; ``bucket`` ``$CLOUDML_VERTEX_BUCKET``: it holds the
    artifacts, must be in that location, and is never made here. ``image`` (``$CLOUDML_VERTEX_IMAGE``) is the universal
    image that serves, ``training_image`` any image with Python 3.9 or newer and a shell. ``service_account`` is who
    jobs and servers act as; without it, Vertex AI's own agent. ``transport`` is how the API is spoken to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str | None = Field(default=None, min_length=1)
    location: str | None = Field(default=None, pattern=r"^[a-z]+(-[a-z0-9]+)*$")
    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")
    image: str | None = Field(default=None, min_length=1)
    training_image: str = Field(default="python:3.11-slim", min_length=1)
    service_account: str | None = Field(default=None, min_length=1)
    transport: Literal["grpc", "rest"] = "grpc"


def connect(config: Any, caller: Caller) -> Provider:
    """A provider in one project and location; asks nothing before the first call."""
    from cloudml_vertex import connect as opened

    return opened.provider(config, caller)


plugin = Plugin(
    name=NAME,
    config=Config,
    connect=connect,
    classify=classify,
    capabilities=CAPABILITIES,
    options=OPTIONS,
    emulator="cloudml_vertex.emulator:emulator",
    carried=True,
    permissions=roles,
)
