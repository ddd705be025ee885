"""``cloudml-entrypoint [train | serve | batch | monitor]``: what the image starts, whatever platform starts it.

It fills in what the platform says in its own way, does the verb in a supervised child, and tells the platform why it
failed, if it did. Without arguments it serves, for Azure's online endpoints can give none. Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from cloudml.errors import CloudmlError
from cloudml.runtime import platforms
from cloudml.runtime.__main__ import CANNOT, carry_out, refused
from cloudml.runtime.supervising import supervise

FAILURE, FAILED = "CLOUDML_FAILURE_FILE", "failure.json"


def main(arguments: Sequence[str], root: Path = Path("/")) -> int:
    """Do one verb as the platform asks for it. Returns the exit code."""
    verb, *rest = arguments or ["serve"]
    own = Path(tempfile.mkdtemp(prefix="cloudml-"))  # on every platform, temporary files can be written
    place = os.environ.setdefault(FAILURE, str(own / FAILED))
    try:
        code = supervise(lambda: _do(verb, rest, root, own))
        if code != 0:
            platforms.failures(verb, root).tell(_reason(verb, code, Path(place)))
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return code


def _do(verb: str, arguments: Sequence[str], root: Path, own: Path) -> int:
    """In the child."""
    try:
        prepared = PREPARED.get(verb, _as_given)(list(arguments), root, own)
        return carry_out([verb, *prepared])
    except CloudmlError as error:
        _keep(error)
        code = refused(error)
        return CANNOT if verb == "serve" else code  # another start would end the same way


def _keep(error: CloudmlError) -> None:
    hint = f"; {error.hint}" if error.hint else ""
    found = {"type": type(error).__name__, "message": f"{error}{hint}"}
    Path(os.environ[FAILURE]).write_text(json.dumps(found), encoding="utf-8")


def _reason(verb: str, code: int, place: Path) -> str:
    try:
        found: Any = json.loads(place.read_text(encoding="utf-8"))
        return f"{found['type']}: {found['message']}"
    except (OSError, ValueError, KeyError, TypeError):
        how = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
        return f"{verb} {how}"


def _as_given(arguments: list[str], _root: Path, _own: Path) -> list[str]:
    return arguments


def _with_model(arguments: list[str], root: Path, _own: Path) -> list[str]:
    os.environ.update(platforms.serving(os.environ, root))
    return arguments


def _with_job(arguments: list[str], root: Path, own: Path) -> list[str]:
    os.environ.update(platforms.nodes(os.environ, root))
    return platforms.training(arguments, os.environ, root, own)


PREPARED: Mapping[str, Callable[[list[str], Path, Path], list[str]]] = {
    "serve": _with_model,
    "batch": _with_model,
    "train": _with_job,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
