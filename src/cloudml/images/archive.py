"""What ``docker save`` gives, read as a stream: the image's configuration and its layers, packed for a registry."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cloudml.errors import ConfigError

SMALL = 1 << 20  # bytes: what may be a document is no longer
BLOCK = 1 << 20
LEVEL = 3  # of gzip: half the time of the usual 6, a tenth more bytes
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Packed:
    """A layer as a registry keeps it; ``diff_id`` is the digest of its unpacked bytes."""

    diff_id: str
    digest: str
    size: int


@dataclass(frozen=True)
class Unpacked:
    """One layer's file of the stream, not yet packed (or, from newer engines, packed already)."""

    diff_id: str
    path: Path
    packed: bool


class Stream:
    """Blocks of bytes as a file that can only be read."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            block = self._rest or next(self._blocks, b"")
            if not block:
                break
            parts.append(block[:missing])
            self._rest = block[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)


def members(blocks: Iterable[bytes], folder: Path, found: Callable[[str, bytes], None]) -> Iterator[Unpacked]:
    """Each layer, written below ``folder`` for whoever takes it to remove; ``found`` gets the digest and the bytes of
    what may be a document. Raises ConfigError for what is no such archive."""
    try:
        with tarfile.open(fileobj=Stream(blocks), mode="r|") as archive:  # type: ignore[call-overload]
            for number, member in enumerate(archive):
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                layer = member.name.endswith("layer.tar") or member.name.startswith("blobs/")
                if member.size <= SMALL:
                    text = file.read()
                    found(_sha(text), text)
                    if layer:
                        yield _written(text, folder / str(number))
                elif layer:
                    yield _spooled(file, folder / str(number))
    except tarfile.TarError as error:
        raise ConfigError(f"this is no image as 'docker save' writes it: {error}") from error


def _sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _written(text: bytes, path: Path) -> Unpacked:
    path.write_bytes(text)
    packed = text.startswith(GZIP)
    return Unpacked(_sha(gzip.decompress(text)) if packed else _sha(text), path, packed)


def _spooled(file: IO[bytes], path: Path) -> Unpacked:
    total, first = hashlib.sha256(), b""
    inflate: Any = None
    with open(path, "wb") as target:
        while block := file.read(BLOCK):
            if not first:
                first = block[:2]
                inflate = zlib.decompressobj(31) if first == GZIP else None
            total.update(inflate.decompress(block) if inflate else block)
            target.write(block)
    return Unpacked("sha256:" + total.hexdigest(), path, inflate is not None)


def pack(layer: Unpacked) -> tuple[Packed, Path]:
    """The layer as gzip, the same bytes each time; the file that held it is gone."""
    if layer.packed:
        total = hashlib.sha256()
        with open(layer.path, "rb") as source:
            while block := source.read(BLOCK):
                total.update(block)
        return Packed(layer.diff_id, "sha256:" + total.hexdigest(), layer.path.stat().st_size), layer.path
    target = layer.path.with_name(f"{layer.path.name}.gz")
    total, size = hashlib.sha256(), 0
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    with open(layer.path, "rb") as source, open(target, "wb") as packed:
        while True:
            block = source.read(BLOCK)
            piece = deflate.compress(block) if block else deflate.flush()
            total.update(piece)
            size += packed.write(piece)
            if not block:
                break
    layer.path.unlink()
    return Packed(layer.diff_id, "sha256:" + total.hexdigest(), size), target


def described(text: bytes) -> list[str] | None:
    """The layers that an image's configuration names by their unpacked digests; None if it is no configuration."""
    try:
        found = json.loads(text)["rootfs"]["diff_ids"]
    except (ValueError, LookupError, TypeError):
        return None
    return [str(each) for each in found]
