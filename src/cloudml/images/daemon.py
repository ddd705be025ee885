"""Images of the Docker engine of this machine, and the logins that it keeps. Imported on use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudml.engines.daemon import PROVIDER, connect, refused
from cloudml.errors import NotFound, ProviderError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["OfEngine", "connect", "of_docker", "refused"]


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
