"""Where the commands of jobs and servers run: as processes of this Python, or in containers of the universal image."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudml import specs
from cloudml.engines import Container, Engine, Mount
from cloudml.engines.docker import DockerEngine
from cloudml.engines.process import ProcessEngine
from cloudml.spi import Call
from cloudml_local.environment import environment
from cloudml_local.home import Home

PORT = 8080  # of a server, in the network of its container


class Processes:
    """This machine, by processes: they share this Python, its packages and its disk."""

    name = "local"
    noun = "Process"  # what calls start, stop and remove
    train: tuple[str, ...] = (sys.executable, "-m", "cloudml.runtime", "train")
    serve: tuple[str, ...] = (sys.executable, "-m", "cloudml.runtime", "serve")

    def engine(self, folder: Path) -> Engine:
        return ProcessEngine(folder)

    def environment(self, own: Mapping[str, str], inherit: Iterable[str] = ()) -> dict[str, str]:
        """The whole environment of a task."""
        return environment(own, inherit)

    def image_of_job(self, source: str | None, resources: specs.Resources) -> dict[str, Any]:
        """What a call says of the container, if it starts one."""
        return {}

    def image_of_server(self, model: Any, resources: specs.Resources) -> dict[str, Any]:
        return {}

    def builds(self, target: str, document: Mapping[str, Any]) -> list[Call]:
        """The call that makes the image which a document names."""
        return []

    def build(self, image: Mapping[str, Any]) -> None:
        """Carries that call out."""

    def job(self, request: Mapping[str, Any], home: Home, folder: Path) -> Container | None:
        """The container of a job whose folder this is."""
        return None

    def server(self, request: Mapping[str, Any], env: Mapping[str, str], folder: Path) -> Container | None:
        return None

    def listens(self, folder: Path) -> dict[str, str]:
        """The variables that tell a server where to listen, and to say where it does."""
        return {"CLOUDML_HOST": "127.0.0.1", "CLOUDML_PORT": "0", "CLOUDML_READY_FILE": str(folder / "ready.json")}


PROCESSES = Processes()


@dataclass(frozen=True)
class Containers(Processes):
    """This machine, by containers of the universal image; ``base`` is what that is made from.

    Folders have the same path inside: a run's own may be written, whatever else it is given may only be read.
    """

    base: str | None = None
    _built: set[str] = field(default_factory=set, repr=False, compare=False)  # by this process
    name = "docker"
    noun = "Container"
    train = ("train",)
    serve = ("serve",)

    def engine(self, folder: Path) -> Engine:
        return DockerEngine(folder)

    def environment(self, own: Mapping[str, str], inherit: Iterable[str] = ()) -> dict[str, str]:
        return {**{name: os.environ[name] for name in inherit if name in os.environ}, "PYTHONUNBUFFERED": "1", **own}

    def image_of_job(self, source: str | None, resources: specs.Resources) -> dict[str, Any]:
        return {"image": {"base": self._base, "source": source}, "limits": _limits(resources)}

    def image_of_server(self, model: Any, resources: specs.Resources) -> dict[str, Any]:
        return {"image": {"base": self._base, "model": model}, "limits": _limits(resources)}

    def builds(self, target: str, document: Mapping[str, Any]) -> list[Call]:
        image = document["image"]
        built = repr(sorted(image.items())) in self._built
        return [] if built else [Call("BuildImage", target, image, "its container is started from it")]

    def build(self, image: Mapping[str, Any]) -> None:
        from cloudml.images import build

        build(_recipe(image), lambda line: None)  # one that is there already is taken as it is
        self._built.add(repr(sorted(image.items())))

    def job(self, request: Mapping[str, Any], home: Home, folder: Path) -> Container:
        inputs = [value for value in request["inputs"].values() if value.startswith("/")]
        mounts = [Mount(str(folder)), *(Mount(path, read_only=True) for path in sorted({*inputs, str(home.store)}))]
        return self._container(request, mounts)

    def server(self, request: Mapping[str, Any], env: Mapping[str, str], folder: Path) -> Container:
        captures = Path(env["CLOUDML_CAPTURE_DIR"])
        captures.mkdir(parents=True, exist_ok=True)  # before Docker makes it, as root
        read = [env["CLOUDML_MODEL_DIR"], *filter(None, [env.get("CLOUDML_SIGNATURE")])]
        mounts = [Mount(str(folder)), Mount(str(captures)), *(Mount(path, read_only=True) for path in read)]
        return self._container(request, mounts, port=PORT, announce=str(folder / "ready.json"))

    def listens(self, folder: Path) -> dict[str, str]:
        return {"CLOUDML_HOST": "0.0.0.0", "CLOUDML_PORT": str(PORT)}  # published on the loopback alone

    @property
    def _base(self) -> str | None:
        return self.base or os.environ.get("CLOUDML_IMAGE_BASE") or None

    def _container(self, request: Mapping[str, Any], mounts: list[Mount], **more: Any) -> Container:
        return Container(
            image=_recipe(request["image"]).name,
            mounts=tuple(mounts),
            user=f"{os.getuid()}:{os.getgid()}",  # what it writes is the caller's
            **request["limits"],
            **more,
        )


def _limits(resources: specs.Resources) -> dict[str, Any]:
    return {"cpus": resources.cpu, "memory": resources.memory, "shm": resources.shm, "gpus": resources.gpu}


def _recipe(image: Mapping[str, Any]) -> Any:
    """The image of a server, by its model's manifest, or of a job, by its source's requirements."""
    from cloudml.images.requirements import for_model, for_source

    if "model" in image:
        return for_model(image["base"], Path(image["model"]))
    return for_source(image["base"], Path(image["source"]) if image["source"] else None)
