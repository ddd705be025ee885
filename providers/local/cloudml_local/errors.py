"""What this machine's own errors mean, by table."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from cloudml.errors import AnswerLost, Denied, NotFound, ProviderError, QuotaExceeded, Throttled, Unavailable

# By name, so that looking at this table loads neither SQLite nor HTTP. The first row that fits counts; what fits none
# is a defect and stays as it is.
ERRORS: Mapping[str, type[ProviderError]] = {
    "builtins.ConnectionRefusedError": Unavailable,
    "builtins.ConnectionError": AnswerLost,
    "http.client.HTTPException": AnswerLost,
    "builtins.TimeoutError": AnswerLost,
    "builtins.PermissionError": Denied,
    "builtins.FileNotFoundError": NotFound,
    "sqlite3.OperationalError": Throttled,  # another process writes for longer than we wait: nothing was done
}
FULL = (errno.ENOSPC, errno.EDQUOT)


def classify(error: Exception) -> ProviderError | None:
    """The error of the tree for an operating system's, SQLite's or HTTP's; None for a defect."""
    if isinstance(error, OSError) and error.errno in FULL:
        return QuotaExceeded(str(error), hint="make room on the disk of cloudml's home folder")
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return ProviderError(str(error), hint="set another folder as 'home' of provider 'local' ($CLOUDML_HOME)")
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    kind = next((kind for name, kind in ERRORS.items() if name in names), None)
    return kind(str(error) or type(error).__name__) if kind else None
