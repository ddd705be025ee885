"""What is to be run, and where it reads and writes: from a ``job.json``, or from a stored spec and options.

On this machine ``CLOUDML_JOB`` names a ``job.json``. A cloud's job is told by options, because its paths are known
only on the node: ``--id RUN --spec FILE --source FOLDER --input NAME=PATH … --output FOLDER``, and ``--model``,
``--checkpoints`` and ``--failure`` where the cloud has places of its own for them. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cloudml.errors import ConfigError

RUN_ID = re.compile(r"(?P<name>.+)-[0-9a-f]{8}-(?P<attempt>[0-9]+)")


@dataclass(frozen=True)
class Job:
    """One run of a command."""

    id: str
    name: str
    attempt: int
    command: str | list[str]
    params: dict[str, Any]
    inputs: dict[str, str]
    source: Path
    env: dict[str, str]


@dataclass(frozen=True)
class Folders:
    """Where a run writes; ``packages`` is where what it needs besides is installed, ``failure`` a cloud's own file."""

    output: Path
    model: Path
    checkpoints: Path
    data: Path
    packages: Path
    failure: Path | None = None

    @staticmethod
    def below(output: Path) -> Folders:
        found = Folders(output, output / "model", output / "checkpoints", output / "data", output.parent)
        return found.made()

    def made(self) -> Folders:
        for folder in (self.output, self.model, self.checkpoints, self.data):
            folder.mkdir(parents=True, exist_ok=True)
        return self


def read_job(path: str) -> Job:
    """The job of a ``job.json``. Raises ConfigError, with the field that is wrong."""
    if not path:
        raise ConfigError("CLOUDML_JOB is not set: it names the job.json to run")
    return _checked(path, _object(path))


def from_options(options: Sequence[str]) -> tuple[Job, Folders]:
    """The job of a stored spec (``<stack>/specs/<hash>.json``). Raises ConfigError for options that are not right."""
    given = _parser().parse_args(list(options))
    stored = _object(given.spec).get("spec")
    if not isinstance(stored, dict):
        raise ConfigError(f"{given.spec} holds no spec of a job")
    match = RUN_ID.fullmatch(given.id)
    source = Path(given.source or tempfile.mkdtemp(prefix="cloudml-source-"))
    fields = {
        "id": given.id,
        "name": match["name"] if match else given.id,
        "attempt": int(match["attempt"]) if match else 1,
        "command": stored.get("command"),
        "params": stored.get("params", {}),
        "inputs": dict(_pair(text) for text in given.input),
        "source": str(source),
    }
    output = Path(given.output).absolute()
    folders = Folders(
        output,
        Path(given.model or output / "model"),
        Path(given.checkpoints or output / "checkpoints"),
        output / "data",
        Path(tempfile.gettempdir()),
        Path(given.failure) if given.failure else None,
    )
    return _checked(given.spec, fields), folders.made()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="train", add_help=False)
    for name in ("--id", "--spec", "--output"):
        parser.add_argument(name, required=True)
    for name in ("--source", "--model", "--checkpoints", "--failure"):
        parser.add_argument(name)
    parser.add_argument("--input", action="append", default=[])
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, mark, path = text.partition("=")
    if not (name and mark and path):
        raise ConfigError(f"--input {text!r} is not NAME=PATH")
    return name, path


def _object(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not readable: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} must be a JSON object")
    return found


def _checked(path: str, found: dict[str, Any]) -> Job:
    for name, (kinds, default) in FIELDS.items():
        found.setdefault(name, default)
        if not isinstance(found[name], kinds):
            raise ConfigError(f"{path}: {name!r} is missing or of the wrong type")
    line = found["command"]
    if not line or (isinstance(line, list) and not all(isinstance(word, str) for word in line)):
        raise ConfigError(f"{path}: 'command' must be a string or a list of strings, and not empty")
    for name in ("inputs", "env"):
        if not all(isinstance(value, str) for value in found[name].values()):
            raise ConfigError(f"{path}: the values of {name!r} must be strings")
    fields = {name: found[name] for name in FIELDS}
    return Job(**{**fields, "source": Path(fields["source"])})


FIELDS: Mapping[str, tuple[Any, Any]] = {
    "id": (str, None),
    "name": (str, None),
    "attempt": (int, 1),
    "command": ((str, list), None),
    "params": (dict, {}),
    "inputs": (dict, {}),
    "source": (str, "."),
    "env": (dict, {}),
}
