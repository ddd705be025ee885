"""Pushing an image to a registry from this process: ask first, pack what is missing, name it last."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cloudml.errors import ConfigError, RunFailed
from cloudml.images import archive
from cloudml.images.archive import Packed, Unpacked
from cloudml.images.registry import Blob, Logins, Place, Registry

# Docker's own types: SageMaker takes no others, and every registry takes these
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
AT_ONCE = 4
Say = Callable[[str], None]


class Image(Protocol):
    """An image to push: its configuration's digest, its layers' unpacked digests in order, and all of it as a tar."""

    @property
    def id(self) -> str: ...
    @property
    def diff_ids(self) -> Sequence[str]: ...
    def save(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class OfFile:
    """An image in a file that ``docker save`` wrote."""

    id: str
    diff_ids: Sequence[str]
    path: Path

    @classmethod
    def read(cls, path: Path) -> OfFile:
        """Raises ConfigError."""
        documents: dict[str, bytes] = {}
        with tempfile.TemporaryDirectory(prefix="cloudml-push-") as folder:
            for layer in archive.members(_blocks(path), Path(folder), documents.__setitem__):
                layer.path.unlink()
        found = {digest: layers for digest, text in documents.items() if (layers := archive.described(text))}
        if len(found) != 1:
            raise ConfigError(f"{path} holds {len(found)} images, and one is wanted", hint="docker save NAME -o FILE")
        ((digest, layers),) = found.items()
        return cls(digest, tuple(layers), path)

    def save(self) -> Iterator[bytes]:
        return _blocks(self.path)


@dataclass(frozen=True)
class Pushed:
    """Where it is: ``reference`` names it by its digest, so it is always this very image."""

    place: str
    digest: str
    uploaded: int

    @property
    def reference(self) -> str:
        return f"{self.place.rpartition(':')[0]}@{self.digest}"


def push(
    image: Image,
    place: str,
    progress: Say,
    login: Logins,
    pause: Callable[[float], None],
    *,
    plain: bool | None = None,
    cache: Path | None = None,
) -> Pushed:
    """Send what the registry lacks of an image, and name it there.

    ``login`` gives user and password of a host (of ECR: ``AWS`` and its token), ``pause`` waits some seconds before
    another try. ``cache`` remembers how layers were packed: then a second push asks by digest and packs nothing.
    Raises the errors of ``registry.Registry``, and RunFailed when this machine's disk is full.
    """
    target = Place.parse(place)
    job = _Push(image, Registry(target, login, pause, plain=plain), progress, Cache(cache or cache_file()))
    try:
        digest = job.run()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        hint = "TMPDIR names another folder for what is packed"
        raise RunFailed(f"the disk is full: {tempfile.gettempdir()}", hint=hint) from error
    return Pushed(str(target), digest, job.uploaded)


class _Push:
    """One push."""

    def __init__(self, image: Image, registry: Registry, progress: Say, cache: Cache) -> None:
        self._image = image
        self._registry = registry
        self._say = progress
        self._cache = cache
        self._lock = threading.Lock()
        self.uploaded = 0

    def run(self) -> str:
        parts = [self._image.id, *dict.fromkeys(self._image.diff_ids)]
        known = self._cache.read()
        asked = [part for part in parts if part in known]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            here = dict(zip(asked, pool.map(lambda part: self._registry.has(known[part].digest), asked), strict=True))
        if missing := [part for part in parts if not here.get(part)]:
            self._say(f"pushing {len(missing)} of {len(parts)} parts: the registry has the others")
            known = {**known, **self._send(set(missing))}
            self._cache.add(known)
        return self._name(known)

    def _send(self, missing: set[str]) -> Mapping[str, Packed]:
        """Packs and uploads what is missing while the rest is still being read."""
        documents: dict[str, bytes] = {}
        running: dict[str, Future[Packed]] = {}
        # the pool is inside: when something fails, its threads end before their files go
        with tempfile.TemporaryDirectory(prefix="cloudml-push-") as folder, _Pool(AT_ONCE) as pool:
            for layer in archive.members(self._image.save(), Path(folder), documents.__setitem__):
                if layer.diff_id in missing and layer.diff_id not in running:
                    running[layer.diff_id] = pool.submit(self._layer, layer)
                else:
                    layer.path.unlink()
                for each in running.values():
                    if each.done():
                        each.result()  # nobody reads on when a layer was refused
            made = {diff_id: each.result() for diff_id, each in running.items()}
        if lost := missing - made.keys() - {self._image.id}:
            raise ConfigError(f"the image does not hold its own layer {min(lost)}")
        return {**made, self._image.id: self._config(documents)}

    def _layer(self, layer: Unpacked) -> Packed:
        packed, path = archive.pack(layer)
        short = packed.digest[7:19]
        if not self._registry.has(packed.digest):
            blob = Blob(packed.digest, packed.size, lambda offset: _opened(path, offset))
            self._registry.upload(blob, _Told(self._say, short, packed.size))
            self._say(f"layer {short}: {packed.size / 2**20:.1f} MiB uploaded")
            self._count(packed.size)
        path.unlink()
        return packed

    def _config(self, documents: Mapping[str, bytes]) -> Packed:
        text = documents.get(self._image.id)
        if text is None:
            raise ConfigError(f"the image does not hold its own configuration {self._image.id}")
        if not self._registry.has(self._image.id):
            with tempfile.NamedTemporaryFile(prefix="cloudml-push-") as file:
                file.write(text)
                file.flush()
                place = Path(file.name)
                blob = Blob(self._image.id, len(text), lambda offset: _opened(place, offset))
                self._registry.upload(blob, lambda _sent: None)
            self._count(len(text))
        return Packed(self._image.id, self._image.id, len(text))

    def _name(self, known: Mapping[str, Packed]) -> str:
        def part(media_type: str, one: Packed) -> dict[str, Any]:
            return {"mediaType": media_type, "size": one.size, "digest": one.digest}

        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": part(CONFIG, known[self._image.id]),
            "layers": [part(LAYER, known[layer]) for layer in self._image.diff_ids],
        }
        body = json.dumps(manifest, separators=(",", ":")).encode()
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        if self._registry.manifest_digest(MANIFEST) == digest:
            self._say("it is there already")
            return digest
        return self._registry.put_manifest(body, MANIFEST) or digest

    def _count(self, size: int) -> None:
        with self._lock:
            self.uploaded += size


class _Pool(ThreadPoolExecutor):
    """One that begins nothing more once something has failed."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.shutdown(cancel_futures=kind is not None)


class _Told:
    """Tells of an upload at every tenth of it."""

    def __init__(self, say: Say, name: str, size: int) -> None:
        self._say, self._name, self._size, self._last = say, name, size, 0

    def __call__(self, sent: int) -> None:
        tenth = 10 * sent // max(self._size, 1)
        if self._size >= archive.SMALL * 8 and self._last < tenth < 10:
            self._last = tenth
            self._say(f"layer {self._name}: {tenth}0 % of {self._size / 2**20:.1f} MiB")


class Cache:
    """How layers were packed, by the digests of their unpacked bytes; losing it costs time only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Packed]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {one: Packed(one, str(digest), int(size)) for one, (digest, size) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def add(self, more: Mapping[str, Packed]) -> None:
        found = {one: (packed.digest, packed.size) for one, packed in {**self.read(), **more}.items()}
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(found), encoding="utf-8")
            draft.replace(self._path)


def cache_file() -> Path:
    """``cloudml/layers.json`` in the user's folder for caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cloudml", "layers.json")


def _opened(path: Path, offset: int) -> Any:
    file = open(path, "rb")  # noqa: SIM115 # whoever reads it closes it
    file.seek(offset)
    return file


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            yield block
