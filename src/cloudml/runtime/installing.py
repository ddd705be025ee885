"""The source's ``requirements.txt``: what is missing is installed beside the job, never into the user's environment.

Standard library only. A line that is not understood here (a marker, an address, another file) counts as missing:
then pip decides.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Callable

LINE = re.compile(r"([A-Za-z0-9][\w.-]*)\s*((?:(?:==|>=|<=|!=|>|<|~=)\s*\d+(?:\.\d+)*(?:\.\*)?\s*,?\s*)*)")
PART = re.compile(r"(==|>=|<=|!=|>|<|~=)\s*(\d+(?:\.\d+)*)(\.\*)?")
RELEASE = re.compile(r"\d+(?:\.\d+)*")
Version = tuple[int, ...]
Pip = Callable[[list[str]], int]


class InstallFailed(Exception):
    """pip ended with an error; its output was passed on."""


def install(requirements: Path, below: Path, pip: Pip) -> Path | None:
    """The folder to put on the path, or None when this interpreter has all that is asked for.

    ``pip`` runs ``python -m pip`` with arguments and returns its exit code. The folder's name holds the digest of
    the file, so a later attempt finds it ready. Raises InstallFailed.
    """
    if not requirements.is_file() or not missing(requirements.read_text(encoding="utf-8")):
        return None
    content = requirements.read_bytes() + f"{sys.version_info[:2]} {sys.platform}".encode()
    site = below / f"site-{hashlib.sha256(content).hexdigest()[:8]}"
    if site.is_dir():
        return site
    unfinished = below / f"{site.name}.{os.getpid()}"
    arguments = ["install", "--target", str(unfinished), "-r", str(requirements)]
    code = pip([*arguments, "--disable-pip-version-check", "--no-input", "--quiet"])
    if code != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise InstallFailed(f"pip could not install {requirements.name}: it ended with exit code {code}")
    unfinished.mkdir(exist_ok=True)  # a file whose markers all say no installs nothing
    unfinished.rename(site)
    return site


def missing(text: str) -> list[str]:
    """The lines of a requirements file that this interpreter does not satisfy, or that only pip can judge."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line and not _satisfied(line)]


def _satisfied(line: str) -> bool:
    from importlib import metadata  # 40 ms, of which most jobs need nothing

    match = LINE.fullmatch(line)
    if match is None:
        return False
    try:
        have = metadata.version(match[1]).split("+")[0]
    except metadata.PackageNotFoundError:
        return False
    parts = PART.findall(match[2])
    if not parts:
        return True
    return bool(RELEASE.fullmatch(have)) and all(_holds(_numbers(have), *part) for part in parts)


def _holds(have: Version, operator: str, wanted: str, wildcard: str) -> bool:
    want = _numbers(wanted)
    if wildcard:
        same = have[: len(want)] == want
        return {"==": same, "!=": not same}.get(operator, False)
    if operator == "~=":
        return len(want) > 1 and _padded(have) >= _padded(want) and have[: len(want) - 1] == want[:-1]
    left, right = _padded(have), _padded(want)
    return {
        "==": left == right,
        "!=": left != right,
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
    }[operator]


def _numbers(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def _padded(version: Version) -> Version:
    return version + (0,) * (8 - len(version))
