"""The training runtime as one file that Python 3.9 or newer runs: what a job brings along where cloudml is missing.

    python3 cloudml.pyz train --id ID --spec SPEC.json --source FOLDER --input NAME=PATH --output FOLDER

The file is the same, byte for byte, for the same version of cloudml, so its digest names it. Standard library only.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

NAME = "cloudml.pyz"
MODULES = ("__init__", "bundle", "content", "errors")
RUNTIME = (
    *("__init__", "__main__", "child", "cluster", "command", "context", "failures", "installing", "job"),
    *("manifest", "metric_lines", "platforms", "training"),
)
PARTS = (*(f"{name}.py" for name in MODULES), *(f"runtime/{name}.py" for name in RUNTIME))
MAIN = "import sys\nfrom cloudml.runtime.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip file knows no earlier time


@cache
def read() -> bytes:
    """The file's bytes."""
    here = Path(__file__).parent
    files = {"__main__.py": MAIN.encode(), **{f"cloudml/{part}": (here / part).read_bytes() for part in PARTS}}
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text, zipfile.ZIP_DEFLATED)
    return body.getvalue()


@cache
def digest() -> str:
    """The SHA-256 of the file, in hex digits."""
    return hashlib.sha256(read()).hexdigest()


def key(stack: str) -> str:
    """Where the core stores the file, for plugins that say ``carried``."""
    return f"{stack}/runtime/{digest()}/{NAME}"
