"""``cloudml endpoints``: the addresses that models answer at."""

from __future__ import annotations

import click

from cloudml.cli import options
from cloudml.cli.names import endpoint_names
from cloudml.cli.options import Run, duration


@click.group()
def endpoints() -> None:
    """Endpoints."""


@endpoints.command("list")
@click.option("--all-stacks", is_flag=True, help="Of every project and environment.")
@options.command
def listing(run: Run, all_stacks: bool) -> None:
    """List endpoints, oldest first."""
    run.out.states("endpoints", run.client().endpoints.list(all_stacks))


@endpoints.command()
@click.argument("name", shell_complete=endpoint_names)
@options.command
def get(run: Run, name: str) -> None:
    """Show one endpoint with its deployments and the models that they serve."""
    endpoint = run.client().endpoints.get(name)
    state = endpoint.state
    run.out.state("endpoints", state, endpoint.session.serving(state))


@endpoints.command()
@click.argument("name", shell_complete=endpoint_names)
@options.command
def logs(run: Run, name: str) -> None:
    """Print the lines that an endpoint's servers wrote."""
    run.out.lines(run.client().endpoints.get(name).logs())


@endpoints.command()
@click.argument("name", shell_complete=endpoint_names)
@click.option("--last", callback=duration, metavar="DURATION", help="Only those of that long: 15m, 1h, 7d.")
@options.command
def metrics(run: Run, name: str, last: float | None) -> None:
    """Print how many requests and errors an endpoint had, and its mean latency in milliseconds."""
    import time

    from cloudml.spi import Window

    window = Window(start=time.time() - last) if last is not None else None
    run.out.samples(run.client().endpoints.get(name).metrics(window))


@endpoints.command()
@click.argument("name", shell_complete=endpoint_names)
@options.yes
@options.command
def delete(run: Run, name: str, yes: bool) -> None:
    """Remove an endpoint with its deployments and its monitor; models stay."""
    endpoint = run.client().endpoints.get(name)
    if yes or run.agree(f"Remove {endpoint.key}? Nobody can ask it any more."):
        endpoint.delete()
        run.out.removed([endpoint.key])
