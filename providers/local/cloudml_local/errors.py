"""What this machine's own errors mean, by table."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from cloudml.errors import AnswerLost, Denied, NotFound, ProviderError, QuotaExceeded, Throttled, Unavailable

# By name, so that looking at this table loads no HTTP. The first row that fits counts; what fits none is a defect and
# stays as it is.
ERRORS: Mapping[str, type[ProviderError]] = {
    "builtins.ConnectionRefusedError": Unavailable,
    "builtins.ConnectionError": AnswerLost,
    "http.client.HTTPException": AnswerLost,
    "builtins.TimeoutError": AnswerLost,
    "builtins.PermissionError": Denied,
    "builtins.FileNotFoundError": NotFound,
}
# SQLite's primary result codes, by number for the same reason. Any other (bad SQL, a missing table) is a defect.
SQLITE: Mapping[int, type[ProviderError]] = {
    3: Denied,  # SQLITE_PERM
    5: Throttled,  # SQLITE_BUSY: another process writes for longer than we wait, and nothing was done
    6: Throttled,  # SQLITE_LOCKED
    8: Denied,  # SQLITE_READONLY
    10: Unavailable,  # SQLITE_IOERR
    11: ProviderError,  # SQLITE_CORRUPT
    13: QuotaExceeded,  # SQLITE_FULL
    14: Denied,  # SQLITE_CANTOPEN
    26: ProviderError,  # SQLITE_NOTADB
}
FULL = (errno.ENOSPC, errno.EDQUOT)
ROOM = "make room on the disk of cloudml's home folder"
ELSEWHERE = "set another folder as 'home' of provider 'local' ($CLOUDML_HOME)"


def classify(error: Exception) -> ProviderError | None:
    """The error of the tree for an operating system's, SQLite's or HTTP's; None for a defect."""
    if isinstance(error, OSError) and error.errno in FULL:
        return QuotaExceeded(str(error), hint=ROOM)
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.ENOTDIR):
        return ProviderError(str(error), hint=ELSEWHERE)
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        return _sqlite(error, code)
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    kind = next((kind for name, kind in ERRORS.items() if name in names), None)
    return kind(str(error) or type(error).__name__) if kind else None


def _sqlite(error: Exception, code: int) -> ProviderError | None:
    """By the primary code, the low byte; the registry notes its path on the error, as SQLite does not name it."""
    kind = SQLITE.get(code & 0xFF)
    if kind is None:
        return None
    file = " ".join(getattr(error, "__notes__", ())) or "the registry"
    hints = {
        QuotaExceeded: ROOM,
        Denied: f"{file} must be readable and writable; or {ELSEWHERE}",
        ProviderError: f"put {file} back from a copy, or move it away: the models are then registered anew; "
        f"or {ELSEWHERE}",
    }
    return kind(str(error), hint=hints.get(kind))
