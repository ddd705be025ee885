"""The program around every command of an emulated cloud: its private place, its signals, and its end.

Run as ``python -I -S program.py SPEC``, by path and with little imported, because every command waits for it. SPEC is
the JSON document of `cloudml.emulation.box.Box`.

    launcher --forks--> init, PID 1 of the box --forks--> command
       |
       +- without a box it starts the command itself, and ends whatever that leaves behind

Whoever starts the command also waits for the lock of its owner: once that is dead, everything here ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import signal
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if TYPE_CHECKING or __package__:
    from cloudml.emulation.box import kernel, listening, tree
else:  # run by path and isolated: only its own folder is known
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import kernel
    import listening
    import tree

REFUSED = 125  # exit code: the box could not be made, and the command was not started
NOT_FOUND = 127
PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
ASKED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)  # to end
OF_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # a terminal sends these to the command as well
SWEEP = 2.0  # seconds
HOSTS, RESOLVER, SWITCH = "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"
CACHE = ("/run/nscd/socket", "/var/run/nscd/socket")  # of names, by a daemon of this machine


def main(path: str) -> int:
    with open(path) as file:
        spec: dict[str, Any] = json.load(file)
    os.unlink(path)  # it may hold secrets, and nobody reads it again
    # Until somebody handles them: PID 1 would lose what comes before.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*PASSED_ON, *OF_TERMINAL))
    if not spec["boxed"]:
        kernel.adopt_orphans()
        return _watch(_start(lambda: _execute(spec)), spec, spec["owner"], sweep=True)
    try:
        kernel.separate(_namespaces(spec))
        connection = listening.open_network(spec["network"]) if spec["network"] else None
    except OSError as error:
        return _refuse(error)
    code = _watch(_start(lambda: _inside(spec)), spec)  # no threads here: a new pid namespace forbids them
    if connection:
        connection.close()
    return code


def _namespaces(spec: dict[str, Any]) -> int:
    wanted = kernel.NEWNS | kernel.NEWPID | kernel.NEWIPC
    return wanted | (kernel.NEWNET if spec["network"] else 0) | (kernel.NEWUTS if spec["host_name"] else 0)


def _refuse(error: BaseException) -> int:
    sys.stderr.write(f"cloudml: the box could not be made: {error}\n")
    return REFUSED


def _start(body: Any) -> int:
    """Fork a process that does that and nothing else; it dies with this one."""
    pid = os.fork()
    if not pid:
        code = REFUSED
        try:
            kernel.die_with_parent(signal.SIGKILL)
            code = body()
        except BaseException as error:  # noqa: BLE001  # whatever it is: nobody else comes out of here
            code = _refuse(error)
        finally:
            os._exit(code)
    return pid


def _watch(pid: int, spec: dict[str, Any], owner: str | None = None, *, sweep: bool = False) -> int:
    """Pass signals on to the child until it has ended; its exit code as shells count it. Then nothing is left of it."""
    grace = spec["grace"]
    if owner:  # while signals are blocked: that thread is never to be given one
        threading.Thread(target=_outlive, args=(owner, pid, sweep), daemon=True).start()
    for number in PASSED_ON if spec["terminal"] else (*PASSED_ON, *OF_TERMINAL):
        signal.signal(number, lambda received, _: _pass_on(pid, received, grace))
    for number in OF_TERMINAL if spec["terminal"] else ():
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the command would inherit
    signal.signal(signal.SIGALRM, lambda *_: _send(pid, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*PASSED_ON, *OF_TERMINAL))
    code = _wait(pid)
    if sweep:
        _sweep(pid)
    return code


def _wait(pid: int) -> int:
    """Reap until that child has ended: PID 1 and a subreaper get the orphans of others too."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            number = os.waitstatus_to_exitcode(status)
            return 128 - number if number < 0 else number


def _outlive(owner: str, pid: int, sweep: bool) -> None:
    """Wait until nobody holds the owner's lock any more, then end everything here."""
    try:
        lock = os.open(owner, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        pass  # it is gone altogether
    _send(pid, signal.SIGKILL)
    if sweep:
        _sweep(pid)
    os._exit(128 + signal.SIGKILL)


def _pass_on(pid: int, number: int, grace: float | None) -> None:
    _send(pid, number)
    if number in ASKED and grace is not None:
        signal.setitimer(signal.ITIMER_REAL, max(grace, 0.001))


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _sweep(group: int) -> None:
    """End what the command left behind: its group, and on Linux every orphan, which becomes a child of this process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it is none, or nobody is left in it
        os.killpg(group, signal.SIGKILL)
    over = time.monotonic() + SWEEP
    while (left := _children()) and time.monotonic() < over:
        for pid in left:
            _send(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.001)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as listed:
            return [int(pid) for pid in listed.read().split()]
    except OSError:
        return []


def _inside(spec: dict[str, Any]) -> int:
    """PID 1 of the box: makes the place, starts the command, and takes everybody along when that has ended."""
    if not spec["terminal"]:
        os.setsid()  # a signal to the launcher's group comes once, from the launcher
    kernel.mount(None, "/", None, kernel.RECURSIVE | kernel.PRIVATE)
    folder = spec["folder"]
    if spec["mounts"]:
        root = os.path.join(folder, "root")
        os.makedirs(root, exist_ok=True)
        tree.build(root, spec["mounts"])
        tree.new_proc(root)
        kernel.change_root(root)
        folder = tree.NOTES
    else:
        tree.new_proc("")
    if spec["host_name"]:
        kernel.set_host_name(spec["host_name"])
    tree.cover(_notes(spec), folder)
    return _watch(_start(lambda: _execute(spec)), spec, spec["owner"])


def _notes(spec: dict[str, Any]) -> dict[str, list[str]]:
    """The texts that lie over files of this machine, with the places of each."""
    network, notes = spec["network"] or {}, {}
    if spec["hosts"]:
        with contextlib.suppress(FileNotFoundError), open(HOSTS) as file:
            known = [line for line in file.read().splitlines() if not set(line.split()[1:]) & set(spec["hosts"])]
            added = [f"{address} {name}" for name, address in spec["hosts"].items()]
            notes["\n".join([*known, *added, ""])] = [HOSTS]
    if network:
        notes[network["resolver"]] = [RESOLVER]
        notes[_switch()] = [SWITCH]
        notes[""] = [*CACHE]
    for path, places in spec["covers"].items():
        with open(path) as file:
            notes[file.read()] = places
    return notes


def _switch() -> str:
    """Where names are looked for: not with daemons, which this machine's network reaches by unix sockets."""
    try:
        with open(SWITCH) as file:
            lines = [line for line in file.read().splitlines() if not line.startswith("hosts:")]
    except FileNotFoundError:
        lines = []
    return "\n".join([*lines, "hosts: files dns", ""])


def _execute(spec: dict[str, Any]) -> int:
    """Become the command. Returns only where that fails."""
    for number in (*PASSED_ON, *OF_TERMINAL, signal.SIGALRM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if not spec["terminal"]:
        os.setsid()
    if spec["memory"]:
        resource.setrlimit(resource.RLIMIT_DATA, (spec["memory"], spec["memory"]))
    os.chdir(spec["cwd"])
    try:
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        sys.stderr.write(f"cloudml: {error.strerror}: {spec['argv'][0]}\n")
        return NOT_FOUND


if __name__ == "__main__":
    exit_code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(exit_code)
