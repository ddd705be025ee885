"""``cloudml monitors``: what is watched on endpoints."""

from __future__ import annotations

import click

from cloudml.cli import options
from cloudml.cli.options import Run, duration, moment
from cloudml.errors import DriftFound


@click.group()
def monitors() -> None:
    """Drift and the quality of a service."""


@monitors.command("list")
@options.command
def listing(run: Run) -> None:
    """List the endpoints that are watched."""
    names = run.client().monitors.list()
    run.out.listing("monitors", ("ENDPOINT",), [[name] for name in names], [{"endpoint": name} for name in names])


@monitors.command("run")
@click.argument("endpoint")
@click.option("--last", callback=duration, metavar="DURATION", help="Only the requests of that long: 1h, 7d.")
@click.option("--since", callback=moment, metavar="TIME", help="Only the requests since 2026-11-22T20:00:00Z.")
@click.option("--fail-on", type=click.Choice(["drift"]), help="End with 7 if there is drift.")
@options.command
def check(run: Run, endpoint: str, last: float | None, since: float | None, fail_on: str | None) -> None:
    """Compare what ENDPOINT was asked with its model's baseline, and print a report."""
    import time

    from cloudml.spi import Window

    start = time.time() - last if last is not None else since
    report = run.client().monitors.get(endpoint).run(Window(start=start))
    run.out.report(endpoint, report)
    if fail_on and report.drifted:
        click.get_current_context().exit(DriftFound.exit_code)


@monitors.command()
@click.argument("endpoint")
@options.command
def delete(run: Run, endpoint: str) -> None:
    """Watch ENDPOINT no longer; the endpoint stays."""
    run.client().monitors.get(endpoint).delete()
    run.out.item(endpoint, {"removed": [{"kind": "monitor", "name": endpoint}]}, f"removed monitor {endpoint}")
