"""The file tree of a box: this machine's, read-only, with the container's own folders in it.

Part of the box's program, so it imports little.
"""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

if TYPE_CHECKING or __package__:
    from cloudml.emulation.box import kernel
else:
    import kernel

KEPT = ("/dev", "/sys", "/tmp", "/run")  # as this machine has them: what is there is shared, and may be written
WHOLE = ("/proc", "/sys", "/dev", "/tmp")  # never taken apart
NOTES = "/.cloudml"  # files of the box that are bound over others


def build(root: str, mounts: dict[str, list[str]]) -> None:
    """A new root at ``root``: what ``/`` has, with ``mounts`` (path: [source, "rw" or "ro"]) in their places.

    Folders on the way to a path that this machine lacks become new ones with their children bound into them, so
    nothing has to be created on the machine itself.
    """
    kernel.mount("cloudml", root, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755,size=64m")
    missing = {path for path in mounts if not os.path.exists(path)}
    for path in [*_fill("/", root, missing)]:
        if path not in KEPT:
            with contextlib.suppress(OSError):  # another kind of file system
                kernel.read_only(root + path)
    for path, (source, _) in sorted(mounts.items()):
        _place(source, root + path)
    for path, (_, mode) in sorted(mounts.items()):
        if mode == "ro":
            kernel.read_only(root + path)
    os.makedirs(root + NOTES, exist_ok=True)


def _fill(folder: str, root: str, missing: set[str]) -> Iterator[str]:
    """Bind what a folder has; the paths that were bound."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        target = root + path
        if path == "/proc":
            os.mkdir(target)
        elif os.path.islink(path):
            os.symlink(os.readlink(path), target)
        elif os.path.isdir(path) and path not in WHOLE and any(each.startswith(path + "/") for each in missing):
            os.mkdir(target, 0o755)
            yield from _fill(path, root, missing)
        else:
            with contextlib.suppress(OSError):  # what may not be bound is not there, then
                _place(path, target)
                yield path


def _place(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w"):
            pass
    kernel.bind(source, target)


def new_proc(root: str) -> None:
    """A /proc of the new pid namespace; where that is refused (parts of the old one are covered), the old one."""
    try:
        kernel.mount("proc", f"{root}/proc", "proc", kernel.NOSUID | kernel.NODEV)
    except PermissionError:
        if root:
            kernel.bind("/proc", f"{root}/proc")


def cover(files: dict[str, list[str]], folder: str) -> None:
    """Write each text to a file in ``folder``, and bind it over those of its paths that exist."""
    for index, (text, paths) in enumerate(files.items()):
        note = os.path.join(folder, f"note-{index}")
        with open(note, "w") as file:
            file.write(text)
        for path in sorted({os.path.realpath(each) for each in paths if os.path.exists(each)}):
            kernel.bind(note, path)
