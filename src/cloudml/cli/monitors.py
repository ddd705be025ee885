"""``cloudml monitors``: what is watched on endpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudml.cli import options
from cloudml.cli.names import endpoint_names
from cloudml.cli.options import Run, duration, moment
from cloudml.errors import DriftFound

if TYPE_CHECKING:
    from cloudml.monitors import MonitorRun

page = click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page with plots.")


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
@click.argument("endpoint", shell_complete=endpoint_names)
@click.option("--last", callback=duration, metavar="DURATION", help="Only the requests of that long: 1h, 7d.")
@click.option("--since", callback=moment, metavar="TIME", help="Only the requests since 2026-11-22T20:00:00Z.")
@click.option("--fail-on", type=click.Choice(["drift"]), help="End with 7 if there is drift.")
@click.option("--keep/--no-keep", default=True, help="Whether the report is kept for 'history'.")
@page
@options.command
def check(
    run: Run,
    endpoint: str,
    last: float | None,
    since: float | None,
    fail_on: str | None,
    keep: bool,
    html: Path | None,
) -> None:
    """Compare what ENDPOINT was asked with its model's baseline, and print a report."""
    import time

    from cloudml.spi import Window

    start = time.time() - last if last is not None else since
    window = Window(start=start) if start is not None else None
    made = run.client().monitors.get(endpoint).check(window, keep)
    _show(run, made, html)
    if fail_on and made.report.drifted:
        click.get_current_context().exit(DriftFound.exit_code)


@monitors.command()
@click.argument("endpoint", shell_complete=endpoint_names)
@click.argument("time", required=False)
@page
@options.command
def get(run: Run, endpoint: str, time: str | None, html: Path | None) -> None:
    """Show the last run on ENDPOINT again, or that of TIME as 'history' writes it."""
    _show(run, run.client().monitors.get(endpoint).get(time), html)


@monitors.command()
@click.argument("endpoint", shell_complete=endpoint_names)
@options.command
def history(run: Run, endpoint: str) -> None:
    """List the runs on ENDPOINT that were kept, oldest first."""
    found = [(each, each.report) for each in run.client().monitors.get(endpoint).history()]
    rows = [
        [
            each.time,
            str(report.verdict),
            str(sum(one.drifted for one in report.features)),
            str(report.samples),
            each.model,
        ]
        for each, report in found
    ]
    documents = [
        {"time": each.time, "verdict": str(report.verdict), "samples": report.samples, "model": each.model,
         "reasons": list(report.reasons)}
        for each, report in found
    ]  # fmt: skip
    run.out.listing("runs", ("TIME", "VERDICT", "DRIFTED", "ROWS", "MODEL"), rows, documents)


def _show(run: Run, made: MonitorRun, html: Path | None) -> None:
    """The table or the document, and the page where one was asked for."""
    if html is not None:
        html.write_text(made.html(), encoding="utf-8")
        click.echo(f"the report is in {html}", err=True)
    run.out.report(made.endpoint, made.report, time=made.time, model=made.model)


@monitors.command()
@click.argument("endpoint", shell_complete=endpoint_names)
@options.yes
@options.command
def delete(run: Run, endpoint: str, yes: bool) -> None:
    """Watch ENDPOINT no longer; the endpoint stays."""
    monitor = run.client().monitors.get(endpoint)
    if yes or run.agree(f"Watch {endpoint} no longer? Its reports go too."):
        monitor.delete()
        run.out.item(endpoint, {"removed": [{"kind": "monitor", "name": endpoint}]}, f"removed monitor {endpoint}")
