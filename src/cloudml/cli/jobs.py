"""``cloudml jobs``: the runs that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cloudml.cli import options
from cloudml.cli.names import runs
from cloudml.cli.options import Run

if TYPE_CHECKING:
    from cloudml.client import Client


@click.group()
def jobs() -> None:
    """Runs of jobs."""


@jobs.command("list")
@click.option("--all-stacks", is_flag=True, help="Of every project and environment.")
@options.command
def listing(run: Run, all_stacks: bool) -> None:
    """List runs, oldest first."""
    run.out.states("jobs", run.client().jobs.list(all_stacks))


@jobs.command()
@click.argument("id", shell_complete=runs)
@options.command
def get(run: Run, id: str) -> None:
    """Show one run."""
    run.out.state("jobs", run.client().jobs.get(id).state)


@jobs.command()
@click.argument("id", metavar="ID|JOB", shell_complete=runs)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@options.follow_command
def logs(run: Run, id: str, follow: bool) -> None:
    """Print the lines that a run wrote: by its id, or the last run of a job of the file."""
    client = run.client()
    run.out.lines(client.jobs.get(_last(run, client, id)).logs(follow=follow))


def _last(run: Run, client: Client, name: str) -> str:
    """The id of the last run of a job of the file, whatever its parameters were; any other name is an id."""
    from cloudml.errors import NotFound

    if not run.has_file or name not in run.project.jobs:
        return name
    full_name = f"{run.project.name}-{name}"
    found = [state.key.name for state in client.jobs.list() if state.labels.get("cloudml-name") == full_name]
    if not found:
        raise NotFound(f"job {name} has not run in stack {client.stack}", hint=f"'cloudml train {name}' runs it")
    return found[-1]


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=runs)
@options.timeout
@options.command
def wait(run: Run, ids: tuple[str, ...], timeout: float | None) -> None:
    """Wait until runs have ended; an error names those that failed."""
    waited = run.client().jobs.wait(ids, timeout)
    run.out.states("jobs", [job.state for job in waited])


@jobs.command()
@click.argument("id", shell_complete=runs)
@options.command
def cancel(run: Run, id: str) -> None:
    """Stop a run and keep what is there of it."""
    job = run.client().jobs.get(id)
    job.cancel()
    run.out.state("jobs", job.state)


@jobs.command()
@click.argument("id", shell_complete=runs)
@options.yes
@options.command
def delete(run: Run, id: str, yes: bool) -> None:
    """Remove a run with its logs; its registered model stays."""
    job = run.client().jobs.get(id)
    if yes or run.agree(f"Remove {job.key} with its logs and files?"):
        job.delete()
        run.out.removed([job.key])
