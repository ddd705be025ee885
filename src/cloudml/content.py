"""What a file or a folder contains, as one digest. Standard library only: the training runtime carries this file.

A digest is written ``sha256:<64 hex digits>``. A folder's digest depends on its relative paths and bytes alone, not on
times, owners, modes or the order in which the file system lists it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

MANIFEST = "cloudml-model.json"
IGNORED = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", ".venv", ".mypy_cache", ".pytest_cache", ".DS_Store"})


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """``(relative POSIX path, path)`` of every file in a folder, sorted; caches and version control left out.

    Raises ValueError at a symbolic link: what it points to would be copied, or missing, elsewhere.
    """
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in IGNORED]
        for name in names + [name for name in folders if os.path.islink(os.path.join(root, name))]:
            path = Path(root, name)
            if name in IGNORED or name.endswith(".pyc"):
                continue
            if path.is_symlink():
                raise ValueError(f"{path} is a symbolic link; put the file itself there")
            found.append((path.relative_to(folder).as_posix(), path))
    return iter(sorted(found))


def file_digest(path: Path) -> str:
    """The SHA-256 of one file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return "sha256:" + digest.hexdigest()


def digest(path: Path, leave_out: tuple[str, ...] = ()) -> str:
    """The digest of a file or a folder; ``leave_out`` names files of the folder's top level that do not count."""
    if path.is_file():
        return file_digest(path)
    total = hashlib.sha256()
    for name, file in files(path):
        if name not in leave_out:
            total.update(f"{file_digest(file)} {name}\n".encode())
    return "sha256:" + total.hexdigest()
