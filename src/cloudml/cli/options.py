"""The flags that every command takes, and what they open: the project, the client, the printer."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloudml.cli.lazy import PROGRESS
from cloudml.cli.output import Printer

if TYPE_CHECKING:
    from cloudml.client import Client
    from cloudml.config import Project

FILE = Path("cloudml.yaml")
Flag = Callable[[Callable[..., None]], Callable[..., None]]
FLAGS: tuple[Flag, ...] = (
    click.option("-f", "--file", type=click.Path(path_type=Path), help="The file; cloudml.yaml by default."),
    click.option("-e", "--env", help="An environment of the file."),
    click.option("-p", "--provider", help="A provider, or a profile's name."),
    click.option("--var", "vars", multiple=True, metavar="NAME=VALUE", help="A variable of the file."),
    click.option("-o", "--output", type=click.Choice(["table", "json", "yaml", "name"]), default="table"),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    click.option("-v", "--verbose", count=True, help="Each call and its document; a traceback for errors."),
)


def duration(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A callback of options: ``90``, ``90s``, ``30m``, ``2h`` as seconds."""
    if value is None:
        return None
    from cloudml.specs import seconds

    try:
        found = float(seconds(value))
    except ValueError:
        found = 0
    if found <= 0:
        raise click.BadParameter(f"{value!r} is not a duration: 90, 90s, 30m, 2h", context, parameter)
    return found


def moment(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A callback of options: ``2026-11-22T20:00:00Z``, or seconds since the epoch, as the latter."""
    from datetime import datetime

    if value is None:
        return None
    try:
        return float(value) if value.replace(".", "", 1).isdigit() else datetime.fromisoformat(value).timestamp()
    except ValueError as error:
        message = f"{value!r} is not a time: 2026-11-22T20:00:00Z, or seconds since 1970"
        raise click.BadParameter(message, context, parameter) from error


timeout = click.option("--timeout", callback=duration, metavar="DURATION", help="How long to wait: 90s, 30m, 2h.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
wait = click.option("--wait/--no-wait", default=True, help="Whether to wait until it is done.")


@dataclass(frozen=True)
class Run:
    """One command with its flags."""

    file: Path | None
    env: str | None
    provider: str | None
    vars: Mapping[str, str]
    verbose: bool
    quiet: bool
    out: Printer

    @functools.cached_property
    def project(self) -> Project:
        """The file's project. ConfigError if there is no file, or one with errors."""
        from cloudml.config import load

        return load(self.file or FILE, self.env, self.provider, self.vars)

    @property
    def has_file(self) -> bool:
        return self.file is not None or FILE.exists()

    def client(self) -> Client:
        """A client for the file's environment, else for the provider and environment that flags or a profile name."""
        from cloudml import plugins
        from cloudml.client import connect_plugin
        from cloudml.config import DEFAULT_PROJECT, without_file
        from cloudml.goals import stack_name

        if self.has_file:
            provider, settings = self.project.provider, self.project.settings
            stack = stack_name(self.project.name, self.project.env)
        else:
            choice = without_file(self.env, self.provider)
            provider, settings, stack = choice.provider, choice.profile, stack_name(DEFAULT_PROJECT, choice.env)
        clock = click.get_current_context().obj  # tests give one that nobody waits for
        return connect_plugin(plugins.load(provider), stack, self._listeners(), settings, clock)

    def _listeners(self) -> list[Any]:
        from cloudml.cli.progress import Progress

        listener = Progress(verbose=self.verbose, quiet=self.quiet)
        click.get_current_context().meta[PROGRESS] = listener
        return [listener]

    @staticmethod
    def agree(question: str) -> bool:
        """Whether a person at a terminal says yes; UsageError without a terminal."""
        if not _at_a_terminal():
            raise click.UsageError("there is no terminal to ask on: -y is needed")
        try:
            return click.confirm(question, err=True)
        except click.Abort:  # Ctrl-C or the end of the input, at the question
            click.echo(err=True)
            return False


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def command(function: Callable[..., None], flags: Sequence[Flag] = FLAGS) -> Callable[..., None]:
    """Adds the flags; the function gets a Run in their place."""

    @functools.wraps(function)
    def wrapped(**given: Any) -> None:
        output, verbose = given.pop("output"), given.pop("verbose")
        shared = {name: given.pop(name) for name in ("file", "env", "provider", "quiet")}
        color = sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        printer = Printer(output, documents=verbose > 0, color=color)
        function(Run(**shared, vars=pairs(given.pop("vars"), "--var"), verbose=verbose > 0, out=printer), **given)

    for flag in reversed(flags):
        flag(wrapped)
    return wrapped


def follow_command(function: Callable[..., None]) -> Callable[..., None]:
    """The same for a command whose ``-f`` follows; the file is ``--file`` there."""
    file = click.option("--file", type=click.Path(path_type=Path), help="The file; cloudml.yaml by default.")
    return command(function, (file, *FLAGS[1:]))


def pairs(given: tuple[str, ...], flag: str) -> dict[str, str]:
    """``("a=1",)`` as ``{"a": "1"}``; UsageError for anything else."""
    for each in given:
        if not each.partition("=")[0] or "=" not in each:
            raise click.UsageError(f"{flag} takes NAME=VALUE, not {each!r}")
    return {each.partition("=")[0]: each.partition("=")[2] for each in given}
