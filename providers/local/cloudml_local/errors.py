"""What this machine's own errors mean, by table."""

from __future__ import annotations

import http.client
import sqlite3
from collections.abc import Mapping

from cloudml.errors import AnswerLost, Denied, NotFound, ProviderError, QuotaExceeded, Throttled, Unavailable

# The first row that fits counts; what fits none is a defect and stays as it is.
ERRORS: Mapping[type[Exception], type[ProviderError]] = {
    ConnectionRefusedError: Unavailable,
    ConnectionError: AnswerLost,
    http.client.HTTPException: AnswerLost,
    TimeoutError: AnswerLost,
    PermissionError: Denied,
    FileNotFoundError: NotFound,
    sqlite3.OperationalError: Throttled,
}
FULL = frozenset({"ENOSPC", "EDQUOT"})


def classify(error: Exception) -> ProviderError | None:
    """The error of the tree for an operating system's, SQLite's or HTTP's; None for a defect."""
    import errno

    if isinstance(error, OSError) and errno.errorcode.get(error.errno or 0) in FULL:
        return QuotaExceeded(str(error), hint="the disk is full")
    kind = next((kind for native, kind in ERRORS.items() if isinstance(error, native)), None)
    return kind(str(error) or type(error).__name__) if kind else None
