"""Files by key, and what is told of what runs."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from cloudml.spi import Caller, Window
from cloudml.states import Captured, LogLine, Sample, State
from cloudml_echo.cloud import Cloud


@dataclass(frozen=True)
class Store:
    """Keys are paths under one folder, and a URI is the absolute path."""

    root: Path
    caller: Caller

    def uri(self, key: str) -> str:
        return str(self.root / key)

    def missing(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if not (self.root / key).exists()}

    def put(self, key: str, source: Path | bytes) -> str:
        self.caller.write("put", lambda: self._put(self.root / key, source))
        return self.uri(key)

    def open(self, uri: str) -> IO[bytes]:
        return self.caller.read("open", lambda: open(uri, "rb"))

    def list(self, prefix: str) -> Iterator[str]:
        start = self.root / prefix
        return (str(file) for file in sorted([start, *start.rglob("*")]) if file.is_file())

    def delete(self, uri: str) -> None:
        shutil.rmtree(uri) if Path(uri).is_dir() else Path(uri).unlink(missing_ok=True)

    def _put(self, target: Path, source: Path | bytes) -> None:
        """Written beside its place and then renamed, so that it is there whole or not at all."""
        draft = self.root.parent / "drafts" / uuid.uuid4().hex
        draft.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            draft.write_bytes(source)
        else:
            shutil.copytree(source, draft) if source.is_dir() else shutil.copyfile(source, draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.replace(target)


@dataclass(frozen=True)
class Telemetry:
    cloud: Cloud
    caller: Caller

    def logs(self, have: State, cursor: str | None) -> tuple[Sequence[LogLine], str]:
        """The cursor is the number of lines that were read."""
        text = self.caller.read("log", lambda: self.cloud.text(have.id, "log"))
        lines = text.splitlines() if have.phase.settled else text.split("\n")[:-1]
        return [LogLine(line) for line in lines[int(cursor or 0) :]], str(len(lines))

    def metrics(self, have: State, window: Window) -> Iterator[Sample]:
        return iter(())

    def captured(self, have: State, window: Window) -> Iterator[Captured]:
        text = self.caller.read("captured", lambda: self.cloud.text(have.id, "captured.jsonl"))
        start, end = window.start or 0.0, window.end or float("inf")
        for each in map(json.loads, text.splitlines()):
            if start <= each["time"] < end:
                time = datetime.fromtimestamp(each["time"], UTC).isoformat()
                yield Captured(each["id"], time, each["rows"], each["rows"], deployment=each["deployment"])
