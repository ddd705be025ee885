"""Containers of jobs and of deployed models: how they are started, what they wrote, how they end."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cloudml.emulation import Container, Ran, Site
from cloudml.errors import CloudmlError
from cloudml_vertex.emulator.problems import Problem

MOST_ENTRIES = 200_000
LAST = 20_000  # bytes
METADATA = "metadata.google.internal"


@dataclass(frozen=True)
class Entry:
    """One line of a log; ``time`` in nanoseconds since 1970."""

    project: str
    kind: str
    labels: Mapping[str, str]
    text: str
    time: int
    id: str


@dataclass
class Source:
    """A container whose output is a log."""

    project: str
    kind: str
    labels: Mapping[str, str]
    cursor: int = 0
    rest: bytes = field(default=b"", repr=False)


class Runs:
    """Every container of this emulator, by an id that we choose.

    ``buckets`` is what jobs see under ``/gcs``; ``local`` is what this machine's engine calls an image that was pushed.
    """

    def __init__(self, site: Site, buckets: Path, local: Callable[[str], str]) -> None:
        self._local = local
        self._site = site
        self._buckets = buckets
        self._sources: dict[str, Source] = {}
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def start(self, container: Container, source: Source, mounted: bool) -> str:
        """Raises Problem for an image that cannot be had."""
        env = {**self._site.environment(), "GCE_METADATA_HOST": METADATA, **container.env}
        mounts = {**container.mounts, **({"/gcs": self._buckets} if mounted else {})}
        id = f"{container.id}-{uuid.uuid4().hex[:8]}"
        try:
            image = self._local(container.image)
            self._site.containers.start(replace(container, id=id, image=image, env=env, mounts=mounts))
        except CloudmlError as error:
            text = f"Failed to pull image {container.image!r}: {error}" + (f" ({error.hint})" if error.hint else "")
            raise Problem("INVALID_ARGUMENT", text) from error
        with self._lock:
            self._sources[id] = source
        return id

    def look(self, id: str) -> Ran:
        """How it stands; one that is not there has ended."""
        self._collect(id)
        return self._site.containers.look(id) or Ran(False, 137, "it was removed")

    def stop(self, ids: Sequence[str]) -> None:
        for id in ids:
            self._site.containers.stop(id)

    def remove(self, id: str) -> None:
        """Its log stays."""
        self._collect(id)
        self._site.containers.remove(id)
        with self._lock:
            self._sources.pop(id, None)

    def entries(self) -> list[Entry]:
        """All that was written so far, oldest first."""
        for id in list(self._sources):
            self._collect(id)
        with self._lock:
            return [*self._entries]

    def last_lines(self, id: str, count: int) -> list[str]:
        """The end of what one container wrote."""
        text, cursor = b"", 0
        while True:
            chunk, after = self._site.containers.logs(id, cursor)
            if after == cursor:
                return text.decode(errors="replace").splitlines()[-count:]
            text, cursor = (text + chunk)[-LAST:], after

    def clear(self) -> None:
        for id in list(self._sources):
            self.remove(id)
        with self._lock:
            self._entries.clear()

    def _collect(self, id: str) -> None:
        """New whole lines of a container's output, or all of it once it has ended."""
        with self._lock:
            source = self._sources.get(id)
            ran = self._site.containers.look(id)
            if source is None or ran is None:
                return
            while True:
                chunk, after = self._site.containers.logs(id, source.cursor)
                if not chunk and after == source.cursor:
                    break
                source.cursor = after
                source.rest += chunk
            lines = source.rest.split(b"\n")
            source.rest = lines.pop()
            if source.rest and not ran.running:
                lines.append(source.rest)
                source.rest = b""
            self._entries.extend(_entry(source, line) for line in lines)
            del self._entries[:-MOST_ENTRIES]


def _entry(source: Source, line: bytes) -> Entry:
    text = line.decode(errors="replace")
    return Entry(source.project, source.kind, source.labels, text, time.time_ns(), uuid.uuid4().hex[:16])


def environment(pairs: Any) -> dict[str, str]:
    """The variables of a container spec."""
    return {each.name: each.value for each in pairs}
