"""Files, folders and documents in a provider's artifact store, as a kind of resource like any other.

Content lies at ``<stack>/content/<sha256 hex>`` (a folder) or ``<stack>/content/<sha256 hex>/<name>`` (a file),
documents at ``<stack>/specs/…``, ``<stack>/models/…`` and ``<stack>/monitors/…``. Because uploads are resources of
their own, plans show them, kills lose nothing of them, and no adapter uploads anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudml import content
from cloudml.errors import ConfigError, NotFound
from cloudml.spi import Artifacts, Call, Effect, Goal, Operation
from cloudml.states import Key, Phase, State

KIND = "artifact"


@dataclass(frozen=True)
class Content:
    """What is to be at a key, or how to make it once it is needed.

    ``digest`` is set where the key may hold something else, which is then replaced; any other key names its content.
    ``size`` in bytes, where it was counted.
    """

    key: str
    source: Path | Callable[[], bytes]
    digest: str | None = None
    size: int | None = None


def from_path(stack: str, path: Path) -> tuple[str, Content]:
    """A file or a folder: its planned name (``sha256:…``) and what is to be stored. ConfigError if unreadable."""
    if not path.exists():
        raise ConfigError(f"there is no file or folder {path}")
    try:
        digest = content.digest(path)
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error
    planned = digest if path.is_dir() else f"{digest}/{path.name}"
    files = [path] if path.is_file() else [file for _, file in content.files(path)]
    size = sum(file.stat().st_size for file in files)
    return planned, Content(f"{stack}/content/{planned.removeprefix('sha256:')}", path, size=size)


def document(key: str, value: Mapping[str, Any], changes: bool = False) -> Content:
    """A JSON document at a key that names it, or one that may change."""
    body = json.dumps(value, sort_keys=True, indent=1).encode()
    return Content(key, lambda: body, _digest(body) if changes else None)


def read_document(artifacts: Artifacts, key: str) -> dict[str, Any] | None:
    """The JSON document at a key; None if there is none."""
    if artifacts.missing([key]):
        return None
    with artifacts.open(artifacts.uri(key)) as file:
        value: dict[str, Any] = json.load(file)
    return value


class Contents:
    """The kind whose resources are contents of an artifact store; a key's name is where it lies."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._sources: dict[str, Path | Callable[[], bytes]] = {}

    def observe(self, key: Key, want: Content | None) -> State | None:
        if want is not None:
            self._sources[key.name] = want.source
        if self._artifacts.missing([key.name]):
            return None
        uri = self._artifacts.uri(key.name)
        return State(key, Phase.READY, key.stack, spec=self._lies_there(uri, want), id=uri)

    def render(self, goal: Goal[Content], have: State | None) -> Sequence[Call]:
        target = self._artifacts.uri(goal.key.name)
        want = goal.want
        if want is None:
            gone = Call("DeleteArtifact", target, {"key": goal.key.name}, "no longer wanted", Effect.DELETE)
            return [gone] if have else []
        if have and (want.digest is None or have.spec == want.digest):
            return []
        why = "its content differs" if have else "not stored yet"
        known = {"digest": want.digest, "bytes": want.size}
        body = {"key": want.key, **{name: value for name, value in known.items() if value is not None}}
        return [Call("PutArtifact", target, body, why, Effect.UPDATE if have else Effect.CREATE)]

    def send(self, call: Call) -> Operation | None:
        key = call.document["key"]
        if call.effect is Effect.DELETE:
            self._artifacts.delete(call.target)
        else:
            source = self._sources[key]
            self._artifacts.put(key, source if isinstance(source, Path) else source())
        return None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"artifact stores have no operations: {operation.id}")

    def list(self, stack: str | None) -> Iterator[State]:
        """Nothing: documents are listed by their prefix, and content goes with its stack."""
        return iter(())

    def _lies_there(self, uri: str, want: Content | None) -> str | None:
        """The digest of what is there; read only where the key does not name its content."""
        if want is None or want.digest is None:
            return None
        with self._artifacts.open(uri) as file:
            return _digest(file.read())


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()
