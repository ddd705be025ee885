"""The system calls of a box: namespaces, mounts, limits. Part of the box's program, so it imports little."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 1 << 17, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30
RDONLY, NOSUID, NODEV, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 1 << 12, 1 << 14, 1 << 18
DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MOUNT_SETATTR = 442  # the same everywhere, since Linux 5.12
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
SET_DEATH_SIGNAL, SET_SUBREAPER = 1, 36
GET_FLAGS, SET_FLAGS, SET_ADDRESS, SET_MASK = 0x8913, 0x8914, 0x8916, 0x891C  # of an interface
UP_AND_RUNNING = 0x1 | 0x40

libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """What mount_setattr takes."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Raises OSError where the kernel refuses."""
    _check(libc.unshare(flags), "unshare")


def separate(flags: int) -> None:
    """New namespaces: by right where this process has it, else within a user namespace in which it stays who it is."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        try:
            return unshare(flags)
        except PermissionError:
            pass  # root of a container that was not given the right
    unshare(flags | NEWUSER)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _check(libc.mount(names[0], names[1], names[2], ctypes.c_ulong(flags), names[3]), f"mount {target}")


def bind(source: str, target: str) -> None:
    mount(source, target, None, BIND | RECURSIVE)


def read_only(path: str) -> None:
    """A mount and all below it; before Linux 5.12 the mount alone."""
    wanted = _Attributes(attr_set=1)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    where = ctypes.c_char_p(os.fsencode(path))
    if libc.syscall(MOUNT_SETATTR, AT_FDCWD, where, AT_RECURSIVE, ctypes.byref(wanted), size):
        mount(None, path, None, BIND | REMOUNT | RDONLY)


def change_root(path: str) -> None:
    """Make a mount the root, and forget the old one."""
    os.chdir(path)
    number = PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"pivot_root is not known here for {os.uname().machine}")
    _check(libc.syscall(number, b".", b"."), "pivot_root")
    _check(libc.umount2(b".", DETACH), "umount")


def set_host_name(name: str) -> None:
    _check(libc.sethostname(name.encode(), len(name.encode())), "sethostname")


def die_with_parent(number: int) -> None:
    """The signal that this process gets when the thread that forked it is gone; on Linux only."""
    if sys.platform == "linux":
        libc.prctl(SET_DEATH_SIGNAL, number, 0, 0, 0)


def adopt_orphans() -> None:
    if sys.platform == "linux":
        libc.prctl(SET_SUBREAPER, 1, 0, 0, 0)


def loopback_up(addresses: list[str]) -> None:
    """Start the loopback interface of a new network namespace; ``addresses`` are more of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SET_FLAGS, struct.pack("16sH14s", b"lo", UP_AND_RUNNING, b""))
        for index, address in enumerate(addresses, 1):
            for request, value in ((SET_ADDRESS, socket.inet_aton(address)), (SET_MASK, b"\xff" * 4)):
                fcntl.ioctl(control, request, struct.pack("16sHH4s8s", b"lo:%d" % index, 2, 0, value, b""))
