"""The Docker engine of this machine, through docker-py; what goes wrong with it in one line. Imported on use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudml.errors import Denied, MissingExtra, NotFound, PreconditionFailed, ProviderError, Unavailable

if TYPE_CHECKING:
    from docker import DockerClient

PROVIDER = "docker"
TAKEN = "end what listens there, or take another port"
START = "start Docker, or set DOCKER_HOST"
GROUP = "add yourself to the group 'docker', or set DOCKER_HOST to an engine of your own"
SOCKET, NOBODY = "the Docker engine's socket may not be used", "no Docker engine answers"
# What docker-py says in words alone: the first row whose text is found counts; without a message it is its own.
TEXTS: tuple[tuple[str, type[ProviderError], str, str], ...] = (
    ("Permission denied", Denied, SOCKET, GROUP),
    ("PermissionError", Denied, SOCKET, GROUP),
    ("Error while fetching server API version", Unavailable, NOBODY, START),
    ("port is already allocated", PreconditionFailed, "", TAKEN),
    ("address already in use", PreconditionFailed, "", TAKEN),
    ("No such image", NotFound, "", "'cloudml image build' makes one, 'docker image ls' lists them"),
    ("could not select device driver", ProviderError, "this engine has no GPU to give", "leave 'resources.gpu' out"),
)


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
        for part, kind, message, hint in TEXTS:
            if part in text:
                raise kind(message or text, provider=PROVIDER, hint=hint) from error
        if isinstance(error, requests.ConnectionError):
            raise Unavailable(
                "no Docker engine answers", provider=PROVIDER, hint="start Docker, or set DOCKER_HOST"
            ) from error
        raise ProviderError(text, provider=PROVIDER) from error
