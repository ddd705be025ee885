"""The program beside every task of the process engine: starts the command, watches it, and writes down how it ended.

Run as ``python -I -S supervisor.py FOLDER ID REPORT``: FOLDER holds ``task.json``, and is renamed to ID once it is
watched; REPORT is a file descriptor that is told ``taken`` (the id exists), or ``ready`` (``status.json`` says how it
went). stdin is the command's; stdout and stderr are the log, for the last words of this program itself. Every task
waits for it, so it is started by path and imports little, never cloudml.

    launcher --forks--> supervisor --forks--> guard      holds the lock too, ends the session if the supervisor dies
       ends at once         |
                            +------forks--> command      a session and process group of its own
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from cloudml.engines import bell, groups, life, records
else:  # run by path and isolated: only its own folder is known
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import bell
    import groups
    import life
    import records


def guard() -> tuple[int, int]:
    """Fork the process that ends the command if the supervisor dies; returns its pid, and the pipe that it reads.

    A command writes its pid to that pipe before it is executed, the supervisor ``-`` when that has ended, and ``done``
    when it is through.
    """
    read_end, write_end = os.pipe()
    if pid := os.fork():
        os.close(read_end)
        return pid, write_end
    os.setsid()  # a signal to the supervisor's group must not reach it
    os.close(write_end)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    said = b"".join(iter(lambda: os.read(read_end, 4096), b"")).split()
    if b"done" not in said:
        if said and said[-1] != b"-":
            groups.end_session(int(said[-1]))
        records.write_orphan()
    os._exit(0)


def main(folder: str, id: str, report: int) -> None:
    if os.fork():
        os._exit(0)  # the starter reaps this one at once; the supervisor is nobody's child
    os.set_inheritable(report, False)
    os.chdir(folder)
    alive = os.open("alive", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    os.write(alive, f"{os.getpid()} {groups.birth(os.getpid())}".encode())
    with open("task.json") as file:
        work = records.Work(json.load(file))
    doorbell = bell.Bell()
    records.keep_room()
    try:
        os.rename(folder, os.path.join(os.path.dirname(folder), id))
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        return life.tell(report, b"taken")
    groups.adopt_orphans()
    pid, guarded = guard()
    life.Life(work, doorbell, (pid, guarded), report).run()
    os.write(guarded, b"done\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
