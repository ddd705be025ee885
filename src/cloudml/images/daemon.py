"""The Docker engine of this machine, through docker-py; what goes wrong with it in one line. Imported on use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudml.errors import Denied, MissingExtra, ProviderError, Unavailable

if TYPE_CHECKING:
    from docker import DockerClient

PROVIDER = "docker"


def connect(timeout: float = 600.0) -> DockerClient:
    """The engine that ``DOCKER_HOST`` names, or the local one; ``timeout`` in seconds is a call's longest silence.

    Raises MissingExtra, Denied without permission on the socket, Unavailable where no engine answers.
    """
    try:
        import docker
    except ModuleNotFoundError as error:
        raise MissingExtra("images need docker-py", hint='pip install "cloudml-sdk[docker]"') from error
    with refused():
        client = docker.from_env(timeout=int(timeout))
        client.ping()
    return client


@contextmanager
def refused() -> Iterator[None]:
    """Translates what docker-py raises."""
    import docker
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        text = str(getattr(error, "explanation", None) or error)
        if "Permission denied" in text or "PermissionError" in text:
            hint = "add yourself to the group 'docker', or set DOCKER_HOST to an engine of your own"
            raise Denied("the Docker engine's socket may not be used", provider=PROVIDER, hint=hint) from error
        if isinstance(error, requests.ConnectionError) or "Error while fetching server API version" in text:
            hint = "start Docker, or set DOCKER_HOST"
            raise Unavailable("no Docker engine answers", provider=PROVIDER, hint=hint) from error
        raise ProviderError(text, provider=PROVIDER) from error
