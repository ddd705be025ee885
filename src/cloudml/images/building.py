"""Building a recipe with the Docker engine's classic builder."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudml.errors import RunFailed
from cloudml.images.daemon import connect, refused
from cloudml.images.recipe import LABEL, Recipe

if TYPE_CHECKING:
    from docker import DockerClient

# The builder knows these arguments by itself and keeps them out of the image and of its history.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
LOOPBACK = re.compile(r"(\w+://)?([^/@]*@)?(localhost|127\.|\[::1\])")
KEPT = 30  # lines of the builder's output that an error shows
Say = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """An image of the engine: ``id`` is the digest of its configuration, ``size`` in bytes."""

    name: str
    id: str
    size: int
    made: bool


def build(
    recipe: Recipe,
    progress: Say,
    *,
    tags: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    again: bool = False,
    client: DockerClient | None = None,
) -> Built:
    """The image of a recipe; one that is there already is taken as it is, unless ``again``.

    Raises RunFailed with the builder's last lines, and as ``daemon.connect`` does.
    """
    with contextlib.ExitStack() as opened:
        engine = client or opened.enter_context(contextlib.closing(connect()))
        found = None if again else _present(engine, recipe, labels or {})
        if found is None:
            _make(engine, recipe, dict(labels or {}), progress)
        with refused():
            image = engine.images.get(recipe.name)
            for tag in tags:
                image.tag(tag)
        return Built(recipe.name, str(image.id), int(image.attrs["Size"]), found is None)


def _present(engine: DockerClient, recipe: Recipe, labels: Mapping[str, str]) -> Any:
    wanted = [f"{name}={value}" for name, value in {LABEL: recipe.digest, **labels}.items()]
    with refused():
        same = engine.images.list(filters={"reference": recipe.name, "label": wanted})
    return next(iter(same), None)


def _make(engine: DockerClient, recipe: Recipe, labels: dict[str, str], progress: Say) -> None:
    with tempfile.TemporaryFile(prefix="cloudml-context-") as context, refused():
        recipe.write_context(context)
        context.seek(0)
        answer = engine.api.build(
            fileobj=context,
            custom_context=True,
            tag=recipe.name,
            rm=True,
            forcerm=True,
            decode=True,
            labels=labels,
            buildargs=_proxies(os.environ),
        )
        _follow(recipe, answer, progress)


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """The proxies that a build can use: one on the loopback, as of an emulation, is out of its reach."""
    given = {name: environment[name] for name in PROXIES if environment.get(name)}
    return {name: value for name, value in given.items() if name.upper() == "NO_PROXY" or not LOOPBACK.match(value)}


def _follow(recipe: Recipe, answer: Iterable[Mapping[str, Any]], progress: Say) -> None:
    """Passes the builder's lines on. Raises RunFailed: an error arrives in the stream, not as an exception."""
    said: list[str] = []
    error = None
    for event in answer:  # to its end, or the connection would stay open
        text = str(event.get("stream") or event.get("status") or "").strip()
        if text and "progressDetail" not in event:
            said.append(text)
            progress(text)
        error = error or event.get("error")
    if error:
        raise _failed(recipe, str(error), said)


def _failed(recipe: Recipe, error: str, said: list[str]) -> RunFailed:
    if not any(line.startswith("Step 2/") for line in said):
        return RunFailed(
            f"the base image {recipe.base} cannot be had: {error}",
            hint="--base or CLOUDML_IMAGE_BASE names one that this machine has",
        )
    return RunFailed(f"image {recipe.name} does not build: {error}\n" + "\n".join(f"  {line}" for line in said[-KEPT:]))
