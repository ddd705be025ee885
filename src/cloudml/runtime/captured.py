"""Captured requests from files: cloudml's own records, SageMaker's, and Azure's, by the line.

SageMaker's data capture writes ``<prefix>/<endpoint>/<variant>/yyyy/mm/dd/hh/*.jsonl``; its monitoring containers find
that tree below ``dataset_source``. Azure's data collector writes ``<endpoint>/<deployment>/request/…/*.jsonl`` and the
answers apart, under ``response``, as CloudEvents that a ``correlationid`` joins (shared facts, azureml.md). A line that
cannot be read is counted, not fatal: the last may be half written.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson

from cloudml import payloads
from cloudml.errors import ConfigError
from cloudml.runtime import dialects
from cloudml.runtime.rows import Refused
from cloudml.states import Captured

ANSWERS, ANSWERED = "response", "azureml.inference.response"  # a collection's folder, and the type of its events


@dataclass
class Records:
    """The requests of a file or a folder within a span of seconds since 1970; ``unreadable`` counts lost lines.

    What lies in folders of a name in ``without``, or that such a pattern fits, is left out.
    """

    place: Path
    start: float | None = None
    end: float | None = None
    without: tuple[str, ...] = ()
    unreadable: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[Captured]:
        if not self.place.exists():
            raise ConfigError(f"there is no {self.place} to read captured requests from")
        found = [self.place] if self.place.is_file() else sorted(self.place.rglob("*.jsonl"))
        found = [path for path in found if not self._left_out(path.relative_to(self.place).parts[:-1])]
        answers = _answers([path for path in found if ANSWERS in path.parts])
        for path in found:
            with open(path, "rb") as file:
                for line in file:
                    record = self._read(line, answers)
                    if record is not None and self._within(record.time):
                        yield record

    def _left_out(self, folders: Sequence[str]) -> bool:
        return any(fnmatchcase(folder, pattern) for folder in folders for pattern in self.without)

    def _read(self, line: bytes, answers: Mapping[str, list[Any]]) -> Captured | None:
        if not line.strip():
            return None
        try:
            document = orjson.loads(line)
            if "specversion" in document:
                return _azure(document, answers)
            return _sagemaker(document) if "captureData" in document else _own(document)
        except (ValueError, KeyError, TypeError, LookupError, Refused, binascii.Error):
            self.unreadable += 1
            return None

    def _within(self, text: str) -> bool:
        at = seconds(text)
        return (self.start is None or at >= self.start) and (self.end is None or at < self.end)


def seconds(text: str) -> float:
    """ISO 8601, UTC where it names no zone, as seconds since 1970. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _own(document: Mapping[str, Any]) -> Captured:
    seconds(document["time"])
    known = {name: document.get(name) for name in ("names", "deployment", "version", "latency_ms")}
    return Captured(
        id=str(document["id"]),
        time=document["time"],
        inputs=document["inputs"],
        outputs=document["outputs"],
        status=int(document.get("status", 200)),
        **known,
    )


def _sagemaker(document: Mapping[str, Any]) -> Captured:
    about, data = document["eventMetadata"], document["captureData"]
    seconds(about["inferenceTime"])
    query = dialects.read(*_body(data["endpointInput"]), False)
    rows = [[_cell(cell) for cell in row] for row in query.rows] if query.cells else query.rows
    outputs = _outputs(*_body(data["endpointOutput"])) if data.get("endpointOutput") else []
    names = list(query.columns) if query.columns else None
    return Captured(about["eventId"], about["inferenceTime"], rows, outputs, names)


def _azure(document: Mapping[str, Any], answers: Mapping[str, list[Any]]) -> Captured | None:
    """A request with its answer; None for what is the answer itself."""
    if not document["type"].endswith(".request"):
        return None
    seconds(document["time"])
    rows, names = payloads.of_json(document["data"])
    id = str(document["correlationid"])
    deployment = str(document.get("source", "")).rpartition("/deployments/")[2]
    return Captured(id, document["time"], rows, answers.get(id, []), names, deployment or None)


def _answers(paths: Iterable[Path]) -> dict[str, list[Any]]:
    """Azure's answers by the id of their request; what else lies there is nobody's answer."""
    found: dict[str, list[Any]] = {}
    for path in paths:
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                event = orjson.loads(line)
                if event["type"] == ANSWERED:
                    found[str(event["correlationid"])] = payloads.of_json(event["data"])[0]
    return found


def _body(part: Mapping[str, Any]) -> tuple[bytes, bytes]:
    text, encoding = part["data"], part.get("encoding", "JSON")
    kind = part.get("observedContentType") or {"CSV": "text/csv"}.get(encoding, "application/json")
    return base64.b64decode(text) if encoding == "BASE64" else text.encode(), kind.encode()


def _outputs(body: bytes, kind: bytes) -> list[Any]:
    if kind.startswith(b"text/csv"):
        cells = [[_cell(cell) for cell in line.split(",")] for line in body.decode().splitlines() if line]
        return [row[0] if len(row) == 1 else row for row in cells]
    found = orjson.loads(body)
    answers = found.get("predictions", found) if isinstance(found, dict) else found
    return answers if isinstance(answers, list) else [answers]


def _cell(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None
