"""Why a command failed, from how it ended and the last of its stderr. Standard library only."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

START = "Traceback (most recent call last):"
RAISED = re.compile(r"([A-Za-z_][\w.]*)(?:: (.*))?$")
SYNTAX = re.compile(r"((?:Syntax|Indentation|Tab)Error): (.*)$")
LONGEST = 200  # characters of a last line
FRAME = re.compile(r'  File ".*", line \d+')


@dataclass(frozen=True)
class JobFailure:
    """What ``failure.json`` says, beside the attempt. ``exit_code`` is the command's own, 128 + n for signal n."""

    type: str
    message: str
    traceback: str | None
    exit_code: int


def explain(returncode: int, stderr: Sequence[str]) -> JobFailure:
    """The failure of a command that ended with ``returncode`` (negative: a signal); ``stderr`` are its last lines."""
    killer = _signal(returncode)
    code = 128 - returncode if returncode < 0 else returncode
    if killer:
        return JobFailure("Killed", f"the command was killed by {killer}", None, code)
    return _raised(list(stderr), code) or JobFailure("ExitCode", _ended(code, stderr), None, code)


def _ended(code: int, stderr: Sequence[str]) -> str:
    """The exit code with the last line of stderr: that is where a program says why it gives up."""
    last = next((line.strip() for line in reversed(stderr) if line.strip()), "")
    said = f"; its last line: {last if len(last) <= LONGEST else last[:LONGEST] + '…'}" if last else ""
    return f"the command ended with exit code {code}{said}"


def _signal(returncode: int) -> str | None:
    number = -returncode if returncode < 0 else returncode - 128  # a shell reports a killed child as 128 + n
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def _raised(lines: list[str], code: int) -> JobFailure | None:
    starts = [index for index, line in enumerate(lines) if line.rstrip() == START]
    if starts:
        for index in range(starts[-1] + 1, len(lines)):
            match = RAISED.match(lines[index])
            if match:
                return _failure(match[1], match[2], lines[starts[-1] : index + 1], code)
    for index in range(len(lines) - 1, -1, -1):  # a script's own syntax error has no "Traceback" line
        match = SYNTAX.match(lines[index])
        if match:
            frames = [at for at in range(index) if FRAME.match(lines[at])]
            return _failure(match[1], match[2], lines[frames[-1] if frames else index : index + 1], code)
    return None


def _failure(kind: str, message: str | None, lines: list[str], code: int) -> JobFailure:
    return JobFailure(kind.rsplit(".", 1)[-1], message or "", "\n".join(lines), code)
