"""``cloudml emulate``: a command, or a shell, against clouds that run on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudml.cli import options
from cloudml.cli.options import Run
from cloudml.errors import AlreadyExists, ConfigError, Unavailable

if TYPE_CHECKING:
    from cloudml.emulation.admin import Client
    from cloudml.emulation.running import Running

COMMAND = "cloudml.emulate.command"  # what follows ``--``, in the meta of a context
TO_END = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
LAST_WORDS = 2000  # characters
KEPT = "_cloudml_before"  # a function of the shell that was led here, and variables with what it had before


class Emulate(click.Group):
    """A group whose first word may be a provider: that is its command ``run``."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        first = arguments[0] if arguments else ""
        if first not in self.commands and first not in context.help_option_names:
            arguments = ["run", *arguments]
        return super().parse_args(context, arguments)

    def collect_usage_pieces(self, context: click.Context) -> list[str]:
        return ["[OPTIONS]", "[PROVIDERS]...", "[-- COMMAND]"]

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Those of ``run``, then the other commands."""
        run.format_options(context, formatter)
        self.format_commands(context, formatter)


class WithCommand(click.Command):
    """A command whose own arguments end at ``--``."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        if "--" in arguments:
            at = arguments.index("--")
            context.meta[COMMAND] = arguments[at + 1 :]
            arguments = arguments[:at]
        return super().parse_args(context, arguments)


@click.group(cls=Emulate)
def emulate() -> None:
    """Run a command against clouds on this machine: cloudml emulate sagemaker -- pytest

    The vendors' own tools and libraries work unchanged: real host names lead to the emulated clouds, in which training
    jobs train and endpoints answer. Without a command it runs until Ctrl-C and prints what to set;
    eval "$(cloudml emulate sagemaker --background)" does both for a shell, and 'cloudml emulate stop' ends that.
    """


@emulate.command(cls=WithCommand, hidden=True, options_metavar="[OPTIONS]")
@click.argument("providers", nargs=-1)
@click.option("--engine", default="process", help="What containers run on: process (default), docker.")
@click.option("--network", type=click.Choice(["isolated", "proxy"]), help="The strongest that this machine has.")
@click.option("--image", "images", multiple=True, metavar="NAME=LOCAL", help="An image that stands for another.")
@click.option("--lifecycle", default="instant", help="How long states last: instant (default), slow.")
@click.option("--allow", "allowed", multiple=True, metavar="HOST", help="A real host; pip and npm: those of indexes.")
@click.option("--background", is_flag=True, help="Go on after this command; it prints what to set.")
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
@click.pass_context
def run(
    context: click.Context,
    providers: tuple[str, ...],
    engine: str,
    network: str | None,
    images: tuple[str, ...],
    lifecycle: str,
    allowed: tuple[str, ...],
    background: bool,
    folder: Path | None,
) -> None:
    """Emulate PROVIDERS, all that are installed by default, for the command after --."""
    command: Sequence[str] = context.meta.get(COMMAND, ())
    if background:
        if command or network == "isolated":
            raise click.UsageError("--background is for a shell: it takes no command, and reaches it by proxy")
        return _in_background(context, providers)
    isolated = network != "proxy"
    given = _cleaned()
    running = _start(providers, engine, images, lifecycle, allowed, folder, isolated)
    with contextlib.closing(running):
        code = _run(running, command, network, given) if command else _serve(running, given, folder is not None)
    for line in running.reports:
        click.echo(f"cloudml: {line}", err=True)
    context.exit(code)


def _start(
    providers: Sequence[str],
    engine: str,
    images: tuple[str, ...],
    lifecycle: str,
    allowed: Sequence[str],
    folder: Path | None,
    isolated: bool,
) -> Running:
    """Raises ConfigError and MissingExtra, and whatever an emulator raises that does not start."""
    from cloudml import plugins
    from cloudml.emulation import running
    from cloudml.emulation.lifecycle import LIFECYCLES
    from cloudml.emulation.network import indexes

    if lifecycle not in LIFECYCLES:
        raise ConfigError(f"there is no lifecycle {lifecycle!r}", hint=f"one of: {', '.join(LIFECYCLES)}")
    emulators = [plugins.emulator(name) for name in providers or plugins.emulated()]
    if not emulators:
        raise ConfigError("no provider that is installed can be emulated", hint='pip install "cloudml-sdk[emulators]"')
    stands_for = options.pairs(images, "--image")
    return running.start(emulators, folder, LIFECYCLES[lifecycle], engine, indexes.hosts(allowed), stands_for, isolated)


def _cleaned() -> dict[str, str]:
    """What the environment was: from now on it is clean, for the SDKs inside the emulators would heed it too."""
    from cloudml.emulation.network import variables

    given = dict(os.environ)
    for name in given.keys() - variables.clean(given).keys():
        del os.environ[name]
    return given


def _run(running: Running, command: Sequence[str], network: str | None, given: Mapping[str, str]) -> int:
    from cloudml.emulation import commands
    from cloudml.emulation.commands import Strength

    strength, note = commands.strength(Strength(network) if network else None)
    if network == Strength.ISOLATED.value and note:
        raise Unavailable(note, hint="--network proxy takes what there is")
    if note:
        running.notes.append(note)
    return commands.run(running, command, strength, given)


def _serve(running: Running, given: Mapping[str, str], quiet_after: bool) -> int:
    """Say what to set, then wait until somebody asks for the end."""
    before = {number: signal.signal(number, lambda *_: running.asked_to_end.set()) for number in TO_END}
    click.echo("\n".join(_exports(running, given)))
    sys.stdout.flush()
    if quiet_after:  # whoever started this reads until the end of its output
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    else:
        click.echo(f"cloudml: emulating {', '.join(running.clouds)} until Ctrl-C", err=True)
    running.asked_to_end.wait()
    for number, handler in before.items():
        signal.signal(number, handler)
    return 0


def _exports(running: Running, given: Mapping[str, str]) -> list[str]:
    """Lines for a shell: nothing of another account or network, and all of this one."""
    from cloudml.emulation.network import variables

    told = running.environment
    foreign = sorted(given.keys() - variables.clean(given).keys() - told.keys())
    unset = [f"unset {' '.join(map(shlex.quote, foreign))}"] if foreign else []
    told_lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(told.items())]
    return [*_kept(sorted({*foreign, *(given.keys() & told.keys())})), *unset, *told_lines]


def _kept(names: Sequence[str]) -> list[str]:
    """Lines that keep what the shell has in these variables, for ``stop``: in the shell itself, so nothing is shown."""
    if not names:
        return []
    keep = [f'{KEPT}_{name}="${name}"' for name in names]
    back = [f'export {name}="${KEPT}_{name}"; unset {KEPT}_{name};' for name in names]
    return [*keep, f"{KEPT}() {{ {' '.join(back)} unset -f {KEPT}; }}"]


def _in_background(context: click.Context, providers: Sequence[str]) -> None:
    """Start the same again, detached from this process, and pass on what it says once it is up."""
    from cloudml.emulation import admin

    folder = admin.folder(os.environ)
    if _is_held(folder / "alive"):
        raise AlreadyExists("an emulation is running already", hint="'cloudml emulate stop' ends it")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    command = [sys.executable, "-m", "cloudml", "emulate", "run", *providers, "--folder", str(folder), *_again(context)]
    with open(folder / "log", "w") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": log}
        started = subprocess.Popen(command, text=True, start_new_session=True, cwd="/", **streams)  # type: ignore[call-overload]
    assert started.stdout
    with started.stdout as said:
        lines = said.read()
    if not lines:
        code, words = started.wait(), (folder / "log").read_text()[-LAST_WORDS:].strip()
        shutil.rmtree(folder, ignore_errors=True)
        raise Unavailable(f"the emulation did not start (exit code {code})", hint=words or None)
    started.returncode = 0  # it is on its own now, and nobody waits for it
    click.echo(lines, nl=False)


def _again(context: click.Context) -> list[str]:
    """The options of this command, for the one in the background."""
    given = context.params
    once = [f"--{name}={given[name]}" for name in ("engine", "lifecycle")]
    images, allowed = given["images"], given["allowed"]
    return [*once, *(f"--image={each}" for each in images), *(f"--allow={each}" for each in allowed)]


def _is_held(path: Path) -> bool:
    """Whether a process has that file locked."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _client() -> Client:
    from cloudml.emulation import admin

    return admin.Client(admin.folder(os.environ), os.environ)


@emulate.command()
@options.command
def stop(run: Run) -> None:
    """End the emulation in the background; eval "$(cloudml emulate stop)" also gives the shell back what it had."""
    from cloudml.emulation import admin
    from cloudml.emulation.network import variables

    folder = admin.folder(os.environ)
    client = _client()
    with (folder / "alive").open() as alive:
        names = client.call("POST", "/stop")["variables"]
        fcntl.flock(alive, fcntl.LOCK_SH)  # until it has ended
    shutil.rmtree(folder, ignore_errors=True)
    click.echo(f"unset {' '.join(map(shlex.quote, names or variables.AUTHORITY))}")
    click.echo(f"if command -v {KEPT} >/dev/null; then {KEPT}; fi")


@emulate.command()
@options.command
def reset(run: Run) -> None:
    """Empty every emulated cloud, and forget the faults that are ordered."""
    document = _client().call("POST", "/reset")
    run.out.item("", document, f"empty: {', '.join(document['clouds'])}")


@emulate.command()
@options.command
def log(run: Run) -> None:
    """What each emulated cloud says of itself, and the hosts that were refused."""
    import json

    client = _client()
    document = {"clouds": client.call("GET", "/log"), "refused": client.call("GET", "/")["refused"]}
    run.out.item("", document, json.dumps(document, indent=2))


@emulate.command()
@click.argument("providers", nargs=-1)
@options.command
def evidence(run: Run, providers: tuple[str, ...]) -> None:
    """How it is known that the emulated operations of PROVIDERS behave as the real ones do, each of them."""
    from cloudml import plugins

    found = [
        {"provider": name, "operation": operation, "evidence": known.value}
        for name in providers or plugins.emulated()
        for operation, known in sorted(plugins.emulator(name).evidence().items())
    ]
    run.out.listing("operations", ("PROVIDER", "OPERATION", "EVIDENCE"), [[*each.values()] for each in found], found)


@emulate.group()
def faults() -> None:
    """Order what is to go wrong next: add, list, clear."""


@faults.command()
@click.argument("trouble")
@click.option("--cloud", help="The cloud; that of --provider, or the first, by default.")
@click.option("--operation", help="A pattern of operations; * by default.")
@click.option("--target", help="A pattern of what they are about; * by default.")
@click.option("--times", type=click.IntRange(1), help="How many calls; 1 by default.")
@click.option("--seconds", type=float, help="How long, for slow.")
@options.command
def add(
    run: Run,
    trouble: str,
    cloud: str | None,
    operation: str | None,
    target: str | None,
    times: int | None,
    seconds: float | None,
) -> None:
    """The next calls meet TROUBLE: throttle, unavailable, slow, lose, quota, capacity, preempt, rollback, fail."""
    fault = {"operation": operation, "target": target, "times": times, "seconds": seconds}
    _show(run, _client().call("POST", "/faults", {"cloud": cloud or run.provider, "trouble": trouble, **fault}))


@faults.command("list")
@options.command
def list_faults(run: Run) -> None:
    """The faults that are still ordered."""
    _show(run, _client().call("GET", "/faults"))


@faults.command()
@options.command
def clear(run: Run) -> None:
    """Forget the faults that are ordered."""
    _show(run, _client().call("DELETE", "/faults"))


def _show(run: Run, found: dict[str, list[dict[str, str]]]) -> None:
    rows = [
        [cloud, fault["trouble"], fault["operation"], fault["target"], str(fault["times"])]
        for cloud, faults in found.items()
        for fault in faults
    ]
    documents = [fault | {"cloud": cloud} for cloud, faults in found.items() for fault in faults]
    run.out.listing("faults", ("CLOUD", "TROUBLE", "OPERATION", "TARGET", "TIMES"), rows, documents)
