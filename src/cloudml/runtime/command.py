"""The job's command: its templates filled in, and ``python`` meaning this interpreter. Standard library only."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from cloudml.errors import ConfigError

# `${x}` belongs to the shell and `{{x}}` to whoever wrote it, so neither is a template of ours
TEMPLATE = re.compile(r"(?<![${])\{([A-Za-z_]\w*(?:\.[\w-]+)*)\}(?!\})")
PYTHON = re.compile(r"\s*python3?(?=\s|$)")

OPERATORS = frozenset("();|&")
FIRST = re.compile(r"\s*(?!\w+=)[\w./'\"-]")  # not an assignment, not a `!`


def text(value: Any) -> str:
    """How a parameter is written on a command line or in a variable: strings as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def argv(command: str | Sequence[str], names: Mapping[str, Any]) -> list[str]:
    """The arguments to start: a list is started as it is, a string goes to ``/bin/sh`` with its values quoted.

    Raises ConfigError at a template that names nothing.
    """
    if isinstance(command, str):
        line = _fill(command, names, lambda value: shlex.quote(text(value)))
        match = PYTHON.match(line)
        if match:
            line = shlex.quote(sys.executable) + line[match.end() :]
        return ["/bin/sh", "-c", _shell(line)]
    filled = [_fill(word, names, text) for word in command]
    return [sys.executable, *filled[1:]] if filled[0] in ("python", "python3") else filled


def _shell(line: str) -> str:
    """The line, such that a signal to the whole group does not end the shell before what it runs.

    One command takes the shell's place; a list of commands has a shell that outlives the signal.
    """
    words = shlex.shlex(line, posix=False, punctuation_chars=True)
    words.commenters = ""
    try:
        simple = "\n" not in line and not any(word[0] in OPERATORS for word in words)
    except ValueError:  # quotes that only a shell understands
        simple = False
    simple = simple and bool(FIRST.match(line))
    return f"exec {line}" if simple else f"trap : TERM INT; {line}"


def _fill(source: str, names: Mapping[str, Any], write: Callable[[Any], str]) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in names:
            known = ", ".join("{" + name + "}" for name in sorted(names))
            raise ConfigError(f"the command names {match[0]}, which this job has not; it has {known}")
        return write(names[match[1]])

    return TEMPLATE.sub(one, source)
