"""The Docker engine of this machine, through docker-py; what goes wrong with it in one line. Imported on use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudml.errors import Denied, MissingExtra, NotFound, ProviderError, Unavailable

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


@dataclass(frozen=True)
class OfEngine:
    """An image of the Docker engine."""

    id: str
    diff_ids: Sequence[str]
    engine: DockerClient
    labels: Mapping[str, str]

    @classmethod
    def get(cls, name: str, engine: DockerClient) -> OfEngine:
        """Raises NotFound."""
        import docker

        try:
            with refused():
                found = engine.images.get(name)
        except ProviderError as error:
            if not isinstance(error.__cause__, docker.errors.ImageNotFound):
                raise
            hint = "'cloudml image build' makes one, 'docker image ls' lists them"
            raise NotFound(f"there is no image {name}", provider=PROVIDER, hint=hint) from error.__cause__
        return cls(str(found.id), tuple(found.attrs["RootFS"]["Layers"]), engine, dict(found.labels))

    def save(self) -> Iterator[bytes]:
        return iter(self.engine.api.get_image(self.id, chunk_size=1 << 20))


def of_docker(host: str) -> tuple[str, str] | None:
    """The login that ``docker login`` keeps for a host, from its file or its credential helper."""
    try:
        from docker import auth, errors
    except ModuleNotFoundError:
        return None
    try:
        found = auth.load_config().resolve_authconfig(host)
    except errors.DockerException:
        return None
    return (found["Username"], found["Password"]) if found and found.get("Username") else _lower(found)


def _lower(found: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Docker's file says ``username``, its helpers ``Username``."""
    return (found["username"], found["password"]) if found and found.get("username") else None
