"""``task.json`` as the supervisor reads it, and ``status.json`` as it writes it, on a full disk too."""

from __future__ import annotations

import contextlib
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if TYPE_CHECKING or __package__:
    from cloudml.engines import logs
else:
    import logs

ROOM = 4096  # bytes: of the spare file, and so of a status that can be written on a full disk
LONGEST_REASON = 1000


class Work:
    """What ``task.json`` says to run."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.argv: list[str] = document["argv"]
        self.env: dict[str, str] = document["env"]
        self.cwd: str = document["cwd"]
        self.timeout: float | None = document["timeout"]
        self.grace: float = document["grace"]
        self.restart: dict[str, Any] | None = document["restart"]
        self.retries: int = document["retries"]
        self.slots: dict[str, Any] | None = document["slots"]
        self.log_limit: int = document["log_limit"]


def keep_room() -> None:
    """Take the blocks that the last status needs, before somebody else fills the disk."""
    with open("spare", "w") as file:
        file.write(" " * ROOM)


def write(status: dict[str, Any], last: bool = False) -> None:
    """Replace ``status.json`` in one step, so that a reader sees the old or the new one.

    On a full disk the old one stays, but for the last: that is written into the blocks that were kept for it.
    """
    if status.get("reason"):
        status = status | {"reason": status["reason"][:LONGEST_REASON]}
    draft = f"status.json.{os.getpid()}"
    try:
        with open(draft, "w") as file:
            json.dump(status, file)
    except OSError as error:
        if error.errno not in logs.FULL:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        if not last:
            return
        with open("spare", "r+") as file:
            file.write(json.dumps(status).ljust(ROOM))
        draft = "spare"
    if last and draft != "spare":
        with contextlib.suppress(FileNotFoundError):
            os.unlink("spare")  # before: once the last status is there, the folder may be removed
    os.replace(draft, "status.json")


def write_orphan() -> None:
    """Write down the end of a task whose supervisor was killed before it could."""
    with open("status.json") as file:
        status = json.load(file)
    if status["state"] in ("pending", "running"):
        write(status | {"state": "failed", "ended": time.time(), "reason": "its supervisor was killed"}, last=True)
