"""The verbs of the runtime: ``python -m cloudml.runtime train | serve | batch | monitor``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Callable

from cloudml.errors import CloudmlError, ConfigError, MissingExtra

NEEDS = ("httptools", "numpy", "orjson")


def _train(options: Sequence[str]) -> int:
    from cloudml.runtime.training import train

    return train(options)


def _serve(options: Sequence[str]) -> int:
    """Raises MissingExtra, as the other two do, when the serving half's own needs are not installed."""
    if options:
        raise ConfigError(f"serve takes no options, and was given {' '.join(options)}")
    with _needed():
        from cloudml.runtime.serving import serve
    return serve()


def _batch(options: Sequence[str]) -> int:
    with _needed():
        from cloudml.runtime.batch import batch
    return batch(options)


def _monitor(options: Sequence[str]) -> int:
    with _needed():
        from cloudml.runtime.monitor import monitor
    return monitor(options)


@contextlib.contextmanager
def _needed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in NEEDS:
            raise
        raise MissingExtra(f"serving needs {error.name}", hint='pip install "cloudml-sdk[serve]"') from error


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "serve": _serve,
    "batch": _batch,
    "monitor": _monitor,
}
USAGE = 2
CANNOT = 3  # what another start would not change


def main(arguments: Sequence[str]) -> int:
    """Carry out one verb. Returns the exit code."""
    try:
        return carry_out(arguments)
    except CloudmlError as error:
        return refused(error)


def carry_out(arguments: Sequence[str]) -> int:
    """Carry out one verb. Returns the exit code; raises CloudmlError as the verb does."""
    if not arguments or arguments[0] not in VERBS:
        sys.stderr.write("usage: python -m cloudml.runtime " + " | ".join(VERBS) + "\n")
        return USAGE
    return VERBS[arguments[0]](arguments[1:])


def refused(error: CloudmlError) -> int:
    """Says what is wrong on stderr. Returns the exit code."""
    sys.stderr.write(f"cloudml: {error}\n" + (f"  {error.hint}\n" if error.hint else ""))
    if isinstance(error, MissingExtra):
        return CANNOT
    return USAGE if isinstance(error, ValueError) else error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
