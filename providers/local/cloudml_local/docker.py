"""The provider ``docker``: all of ``local``, with jobs and servers in containers of the universal image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from cloudml.spi import Caller, No, Plugin, Provider, Yes
from cloudml.spi import Capability as C
from cloudml_local.capabilities import CAPABILITIES as OF_PROCESSES
from cloudml_local.errors import classify
from cloudml_local.options import OPTIONS, access, loopback
from cloudml_local.plugin import Config as Local

IMAGE = No("containers are of cloudml's own image, by the requirements of the source or the model", planned=True)
GPU = No("no test has shown yet that a container gets one; use a cloud", planned=True)
CAPABILITIES: Mapping[C, Yes | No] = {
    **OF_PROCESSES,
    C.JOBS_IMAGE: IMAGE,
    C.ENDPOINTS_IMAGE: IMAGE,
    C.JOBS_GPU: GPU,
    C.ENDPOINTS_GPU: GPU,
    C.JOBS_DISK: No("a container shares this machine's disk; leave 'resources.disk' out"),
    C.ENDPOINTS_SCALE: No("a deployment is one container; use a cloud for more", planned=True),
    C.ENDPOINTS_SCALE_TO_ZERO: No("a container runs until it is deleted; use a cloud for scale to zero"),
}


class Config(Local):
    """As of ``local``; ``home`` is by default the folder ``docker`` in that one's.

    ``base`` is the image that the universal image is made from: ``$CLOUDML_IMAGE_BASE``, else ``python:X.Y-slim`` of
    the model's Python.
    """

    base: str | None = Field(default=None, min_length=1)


def connect(config: Any, caller: Caller) -> Provider:
    """A provider over the folder that ``config`` names; speaks to no engine before something is to be started."""
    from cloudml_local import connect as opened
    from cloudml_local.places import Containers

    granted = access(config.host, config.token, loopback)
    return opened.provider(config.home, granted, config.cpus, caller, Containers(config.base))


plugin = Plugin(
    name="docker",
    config=Config,
    connect=connect,
    classify=classify,
    capabilities=CAPABILITIES,
    options=OPTIONS,
    pace=0.1,
)
