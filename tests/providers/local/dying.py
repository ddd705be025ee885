"""A process that dies in the provider's code, as ``kill -9`` ends it: no handler, no ``finally``.

It dies at the first line, at every line that follows a change to the file system or the start of a process, and at
every line of the registry's: what lies between makes no difference to whoever comes after.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import cloudml_local

CODE = str(Path(cloudml_local.__file__).parent)
REGISTRY = str(Path(CODE) / "store.py")
DIED = 9
CHANGES = frozenset(
    {"open", "subprocess.Popen", "sqlite3.connect"} | {"os.mkdir", "os.rmdir", "os.rename", "os.link", "os.remove"}
)


def deaths() -> Iterator[Callable[[Callable[[], object]], bool]]:
    """For each such line that is passed, in order of its first passing: runs an action in a process that dies there.

    Ends when the action was carried out without passing a line that is new.
    """
    for number in range(1, 2000):
        survived: list[bool] = []

        def run(action: Callable[[], object], number: int = number, survived: list[bool] = survived) -> bool:
            survived.append(not _dies(action, number))
            return not survived[-1]

        yield run
        if all(survived):
            return


def _dies(action: Callable[[], object], number: int) -> bool:
    pid = os.fork()
    if not pid:
        _live(action, number)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, DIED), "the action failed"
    return code == DIED


def _live(action: Callable[[], object], number: int) -> None:
    passed: set[tuple[str, int]] = set()
    changes = ["the start"]

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES and not (event == "open" and arguments[1] in ("r", "rb")):
            changes.append(event)

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(CODE):
            return None
        if event == "line" and (changes or frame.f_code.co_filename == REGISTRY):
            changes.clear()
            passed.add((frame.f_code.co_filename, frame.f_lineno))
            if len(passed) == number:
                os._exit(DIED)
        return trace

    sys.addaudithook(audit)
    sys.settrace(trace)
    try:
        action()
    except BaseException:  # noqa: BLE001  # whatever it is, this process must not go on with the tests
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
