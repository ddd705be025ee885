"""``cloudml status``: everything that a stack has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from cloudml.cli import options
from cloudml.cli.options import Run

if TYPE_CHECKING:
    from cloudml.client import Client
    from cloudml.states import State

HEADINGS = ("KIND", "NAME", "PHASE", "AGE", "WHAT")


@click.command()
@options.command
def status(run: Run) -> None:
    """Show everything that the stack has: runs, models, endpoints, and the last verdict of each monitor."""
    client = run.client()
    found = [*_resources(client), *_monitors(client)]
    run.out.stack(client.provider, client.stack, HEADINGS, [row for row, _ in found], [each for _, each in found])


def _resources(client: Client) -> Iterator[tuple[list[str], dict[str, Any]]]:
    from cloudml.cli.columns import age, phase
    from cloudml.cli.documents import state_document

    for states in (client.jobs.list(), client.models.list(), client.endpoints.list()):
        for state in states:
            models = client.session.serving(state) if state.key.kind == "endpoint" else {}
            row = [state.key.kind, state.key.name, phase(state), age(state), _what(state, models)]
            yield row, state_document(state, models)


def _what(state: State, models: Mapping[str, str]) -> str:
    """The metrics of a run, the versions and aliases of a family, the models, traffic and address of an endpoint."""
    from cloudml.cli.columns import aliases, failures, metrics, shares
    from cloudml.cli.documents import unsigned

    if state.failure is not None:
        return state.failure.reason
    match state.key.kind:
        case "model":
            number = len(state.of("version"))
            return f"{number} version{'' if number == 1 else 's'}  {aliases(state)}".rstrip()
        case "endpoint":
            return "  ".join(
                filter(None, (shares(state, models), unsigned(state.facts.get("url") or ""), failures(state)))
            )
    return metrics(state.facts.get("metrics") or {})


def _monitors(client: Client) -> Iterator[tuple[list[str], dict[str, Any]]]:
    for name in client.monitors.list():
        last = client.monitors.get(name).last()
        report = last.report if last else None
        verdict = str(report.verdict) if report else "not run yet"
        said = f"{report.samples:,} row{'' if report.samples == 1 else 's'}, {last.time}" if report and last else ""
        document = {"kind": "monitor", "name": name, "stack": client.stack, "verdict": verdict}
        yield ["monitor", name, verdict, "-", said], {**document, "time": last.time if last else None}
