"""``batch``: a file or a folder of rows in, predictions out, a chunk at a time, so that memory does not grow with it.

    cloudml-entrypoint batch --input rows.csv --output predictions.csv
    cloudml-entrypoint batch --input folder --output folder

CSV gives CSV, JSON Lines give JSON Lines, Parquet gives Parquet with a column ``prediction``; row n answers row n. A
folder's ``x.csv`` becomes ``x.csv.out``, as SageMaker's batch transform names it. An output file is whole or not there.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson

from cloudml.errors import ConfigError, RunFailed
from cloudml.runtime.batching import Work, outcomes
from cloudml.runtime.flavors import LoadedModel
from cloudml.runtime.loading import chosen_model
from cloudml.runtime.rows import Query, Refused
from cloudml.runtime.serving import settings
from cloudml.runtime.tables import is_number, write_csv, write_json_lines

ROWS = 4096  # in one chunk


@dataclass(frozen=True)
class Format:
    """How rows are read and predictions are written."""

    read: Callable[[Path, int], Iterator[Query]]
    writer: Callable[[Path], Any]


def batch(options: Sequence[str]) -> int:
    """Predict everything below ``--input``. Raises ConfigError, and RunFailed at the first row that is refused."""
    given = _parser().parse_args(list(options))
    jobs = list(_jobs(Path(given.input), Path(given.output)))
    model = chosen_model(settings(os.environ))
    if given.method not in model.methods:
        raise ConfigError(f"this model has no method {given.method!r}; it has {', '.join(model.methods)}")
    before = signal.signal(signal.SIGTERM, _terminated)  # so that what is unfinished is removed
    try:
        for source, target, kind in jobs:
            count = _predict(model, given.method, kind, source, target, given.rows)
            sys.stderr.write(f"cloudml: {source}: {count} predictions in {target}\n")
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _terminated(number: int, _frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"batch: {message}", hint="batch --input FILE-OR-FOLDER --output FILE-OR-FOLDER")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="batch", add_help=False)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--method", default="predict")
    return parser


def _jobs(given: Path, output: Path) -> Iterator[tuple[Path, Path, Format]]:
    """Each file to read, where its predictions go, and how."""
    if given.is_file():
        yield given, output / f"{given.name}.out" if output.is_dir() else output, _format(given)
        return
    found = sorted(path for path in given.rglob("*") if path.suffix in FORMATS and path.is_file())
    if not found:
        raise ConfigError(f"{given} has no file to read: {', '.join(FORMATS)}")
    if output.is_file():
        raise ConfigError(f"{output} is a file, and {given} is a folder")
    for path in found:
        yield path, output / path.relative_to(given).with_name(f"{path.name}.out"), _format(path)


def _format(path: Path) -> Format:
    if path.suffix not in FORMATS:
        raise ConfigError(f"{path} does not say what it is: its name must end with {', '.join(FORMATS)}")
    return FORMATS[path.suffix]


def _predict(model: LoadedModel, method: str, kind: Format, source: Path, target: Path, rows: int) -> int:
    """The number of predictions. Raises RunFailed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    count = 0
    try:
        with contextlib.closing(kind.writer(unfinished)) as writer:
            for query in _named(kind.read(source, rows), source):
                outputs = _answers(model, method, query, source, count)
                writer.write(outputs)
                count += len(outputs)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _named(queries: Iterator[Query], source: Path) -> Iterator[Query]:
    try:
        yield from queries
    except (Refused, UnicodeDecodeError, csv.Error) as error:
        raise RunFailed(f"{source} cannot be read: {error}") from error


def _answers(model: LoadedModel, method: str, query: Query, source: Path, before: int) -> list[Any]:
    features = model.features
    try:
        rows = (features.from_cells if query.cells else features.ordered)(query.rows, query.columns)
        (outcome,) = outcomes(model, [Work(rows, query.plain, method, lambda _outcome: None)])
    except Refused as refused:
        outcome = refused
    if isinstance(outcome, Refused):
        where = f"{source}, rows from {before + 1} on" if before else str(source)
        raise RunFailed(f"{where}: {outcome.message}")
    return outcome


def _csv(path: Path, rows: int) -> Iterator[Query]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = (line for line in csv.reader(file) if line)
        first = list(itertools.islice(lines, 2))
        # a first line without any number is a header where the second has one
        header = len(first) == 2 and not any(map(is_number, first[0])) and any(map(is_number, first[1]))
        names = [cell.strip() for cell in first.pop(0)] if header else None
        rest = itertools.chain(first, lines)
        while chunk := list(itertools.islice(rest, rows)):
            yield Query(chunk, names, cells=True)


def _json_lines(path: Path, rows: int) -> Iterator[Query]:
    with open(path, "rb") as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while chunk := list(itertools.islice(numbered, rows)):
            yield Query(
                [_parsed(number, line) for number, line in chunk], plain=all(b'"' not in line for _, line in chunk)
            )


def _parsed(number: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Refused(f"line {number} is not JSON: {error}") from None


def _parquet(path: Path, rows: int) -> Iterator[Query]:
    arrow, parquet = _arrow()
    try:
        for some in parquet.ParquetFile(path).iter_batches(batch_size=rows):
            columns = [column.to_pylist() for column in some.columns]
            yield Query([list(row) for row in zip(*columns, strict=True)], list(some.schema.names))
    except (arrow.ArrowException, OSError) as error:
        raise Refused(f"it is not Parquet: {error}") from error


def _arrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ConfigError("Parquet needs pyarrow", hint="cloudml image build --require pyarrow==26.0.1") from error


class _Lines:
    """A file of text lines."""

    def __init__(self, path: Path, text: Callable[[list[Any]], bytes]) -> None:
        self._file: IO[bytes] = open(path, "wb")  # noqa: SIM115  # closed by close
        self._text = text

    def write(self, outputs: list[Any]) -> None:
        self._file.write(self._text(outputs))

    def close(self) -> None:
        self._file.close()


class _Columns:
    """A Parquet file with one column; its type is that of the first chunk."""

    def __init__(self, path: Path) -> None:
        self._arrow, self._parquet = _arrow()
        self._path = path
        self._writer: Any = None

    def write(self, outputs: list[Any]) -> None:
        schema = self._writer.schema if self._writer else None
        table = self._arrow.Table.from_pydict({"prediction": outputs}, schema=schema)
        self._writer = self._writer or self._parquet.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is None:
            self.write([])
        self._writer.close()


FORMATS: Mapping[str, Format] = {
    ".csv": Format(_csv, lambda path: _Lines(path, write_csv)),
    ".jsonl": Format(_json_lines, lambda path: _Lines(path, write_json_lines)),
    ".parquet": Format(_parquet, _Columns),
}
