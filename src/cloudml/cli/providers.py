"""``cloudml providers``: the matrix of what each installed provider can do."""

from __future__ import annotations

import click

from cloudml.cli import options
from cloudml.cli.options import Run


@click.command()
@click.argument("names", nargs=-1)
@options.command
def providers(run: Run, names: tuple[str, ...]) -> None:
    """Show what each installed provider, or each of NAMES, can do: by what evidence, or why not."""
    from cloudml import plugins

    run.out.matrix([plugins.load(name) for name in names or plugins.names()])
