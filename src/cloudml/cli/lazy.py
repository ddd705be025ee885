"""Command groups that import a command when it runs, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cloudml.errors import CloudmlError, RunFailed, Timeout

if TYPE_CHECKING:
    from cloudml.states import Key

INTERRUPTED = 130
LOGGED = {"job": "jobs", "endpoint": "endpoints"}  # kinds that have logs, and their commands
PROGRESS = "cloudml.progress"  # where a context holds the listener that writes to stderr
# A group without a command shows its help; younger versions of click say so by an exception.
NO_ARGUMENTS: tuple[type[Exception], ...] = tuple(filter(None, [getattr(click.exceptions, "NoArgsIsHelpError", None)]))
PASSED: tuple[type[BaseException], ...] = (click.exceptions.Exit, click.Abort, BrokenPipeError, *NO_ARGUMENTS)
OUTPUT = re.compile(r"-[qvy]*o|--output")
JOINED = re.compile(r"(?:-[qvy]*o|--output=)(json|yaml)")


@dataclass(frozen=True)
class Lazy:
    """Where a command is, and its line in the help."""

    module: str
    name: str
    help: str


class Group(click.Group):
    """A group whose commands are known by name and imported on use."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, Lazy] | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._lazy = lazy or {}

    def list_commands(self, context: click.Context) -> list[str]:
        return [*self._lazy, *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self._lazy:
            return super().get_command(context, name)
        found: click.Command = getattr(import_module(self._lazy[name].module), self._lazy[name].name)
        return found

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        if not self._lazy:
            return super().format_commands(context, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self._lazy.items()])

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if self.get_command(context, name) is None and not name.startswith("-"):
            close = get_close_matches(name, self.list_commands(context), n=1)
            raise click.UsageError(
                f"there is no command {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""), context
            )
        return super().resolve_command(context, arguments)


class Cli(Group):
    """The outermost group: whatever goes wrong below becomes a message and an exit code here."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return super().make_context("cloudml", args, parent, **extra)  # also where Python was told to run the module

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        context.meta["cloudml.form"] = wanted_form(arguments)
        context.meta["cloudml.debug"] = wants_traceback(arguments)
        try:
            return super().parse_args(context, arguments)
        except NO_ARGUMENTS:
            raise
        except click.UsageError as error:
            hint = "flags stand after the command: 'cloudml plan -e prod'"
            self._fail(context, error.format_message(), hint, error.exit_code, error)

    def invoke(self, context: click.Context) -> Any:
        try:
            with _ended_line(context):
                return super().invoke(context)
        except PASSED:
            raise
        except KeyboardInterrupt:
            self._interrupted(context)
        except click.ClickException as error:
            where = getattr(error, "ctx", None) or context
            self._fail(
                context, error.format_message(), f"'{where.command_path} --help' shows how", error.exit_code, error
            )
        except CloudmlError as error:
            hint = next_step(context, error) or error.hint
            self._fail(context, str(error), hint, error.exit_code, error)
        except Exception as error:  # noqa: BLE001 - a defect or the system's refusal: a line, not a traceback
            kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
            hint = None if isinstance(error, OSError) else "this is a defect of cloudml; -v shows where"
            self._fail(context, f"{kind}{error}", hint, CloudmlError.exit_code, error)

    @staticmethod
    def _interrupted(context: click.Context) -> NoReturn:
        from cloudml.cli import output

        said = interrupted(context)
        if form := context.meta["cloudml.form"]:
            click.echo(output.error(form, KeyboardInterrupt(), said, None, INTERRUPTED))
        else:
            click.echo(said, err=True)
        context.exit(INTERRUPTED)

    @staticmethod
    def _fail(context: click.Context, message: str, hint: str | None, code: int, error: Exception) -> NoReturn:
        from cloudml.cli import output

        if context.meta["cloudml.debug"]:
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        if form := context.meta["cloudml.form"]:
            click.echo(output.error(form, error, message, hint, code))
        else:
            click.echo(output.error_text(message, hint), err=True)
        context.exit(code)


@contextmanager
def _ended_line(context: click.Context) -> Iterator[None]:
    """Whatever comes after progress begins on a line of its own."""
    try:
        yield
    finally:
        if progress := context.meta.get(PROGRESS):
            progress.close()


def wanted_form(arguments: Sequence[str]) -> str | None:
    """``json`` or ``yaml`` if errors are to be that, also those of arguments that cannot be parsed; else None."""
    ours = list(arguments[: arguments.index("--")]) if "--" in arguments else list(arguments)
    apart = [value for flag, value in pairwise(ours) if OUTPUT.fullmatch(flag) and value in ("json", "yaml")]
    return next(iter([*apart, *(match[1] for each in ours if (match := JOINED.fullmatch(each)))]), None)


def wants_traceback(arguments: Sequence[str]) -> bool:
    ours = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    return bool(os.environ.get("CLOUDML_DEBUG")) or any(re.fullmatch(r"-v+|--verbose", each) for each in ours)


def interrupted(context: click.Context) -> str:
    """What Ctrl-C left running, and how to end that."""
    busy = _busy(context)
    if busy and busy.kind == "job":
        return f"interrupted: {busy} goes on; {_ways(busy.name)}"
    return "interrupted: what was started goes on; the same command again goes on from there"


def next_step(context: click.Context, error: CloudmlError) -> str | None:
    """What to do about the run or the endpoint that an error is about."""
    busy = _busy(context)
    if busy and busy.kind in LOGGED and isinstance(error, RunFailed):
        return f"'cloudml {LOGGED[busy.kind]} logs {busy.name}' shows why"
    return _ways(busy.name) if busy and busy.kind == "job" and isinstance(error, Timeout) else None


def _ways(job: str) -> str:
    return f"'cloudml jobs logs -f {job}' follows it, 'cloudml jobs cancel {job}' ends it"


def _busy(context: click.Context) -> Key | None:
    """What was being waited for."""
    progress = context.meta.get(PROGRESS)
    busy: Key | None = progress.busy if progress else None
    return busy
