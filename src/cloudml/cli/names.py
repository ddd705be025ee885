"""What a shell may complete an argument to: the names that are there, looked up when the key is pressed.

Nothing is said and nothing fails here: where the names cannot be had, there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cloudml.cli.options import Run

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completed(names: Callable[[Run], Iterable[str]]) -> Complete:
    def complete(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
        try:
            with context.scope(cleanup=False):
                return [name for name in names(_run(context)) if name.startswith(beginning)]
        except Exception:  # noqa: BLE001 - a shell that completes shows no errors
            return []

    return complete


def _run(context: click.Context) -> Run:
    from cloudml.cli.options import Run, pairs
    from cloudml.cli.output import Printer

    given: dict[str, Any] = context.params
    return Run(
        file=given.get("file"),
        env=given.get("env"),
        provider=given.get("provider"),
        vars=pairs(tuple(given.get("vars") or ()), "--var"),
        verbose=False,
        quiet=True,
        out=Printer(),
    )


def _references(run: Run) -> Iterable[str]:
    """Every way to name a version: family, family:version, family@alias."""
    for state in run.client().models.list():
        name = state.key.name
        yield name
        for part in state.of("version"):
            yield f"{name}:{part.name}"
            yield from (f"{name}@{alias}" for alias in part.facts.get("aliases", ()))


def _file_jobs(run: Run) -> Iterable[str]:
    return run.project.jobs if run.has_file else ()


runs = _completed(lambda run: [state.key.name for state in run.client().jobs.list()])
endpoint_names = _completed(lambda run: [state.key.name for state in run.client().endpoints.list()])
families = _completed(lambda run: [state.key.name for state in run.client().models.list()])
references = _completed(_references)
file_jobs = _completed(_file_jobs)
