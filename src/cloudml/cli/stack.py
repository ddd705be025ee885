"""The whole file at once: validate, plan, apply, destroy."""

from __future__ import annotations

import click

from cloudml.cli import options
from cloudml.cli.options import Run

CHANGES = 10
REFUSED = 1

rerun = click.option("--rerun", multiple=True, metavar="JOB", help="Run this job again, whatever its last run was.")
prune = click.option("--prune", is_flag=True, help="Also delete what is no longer in the file.")
adopt = click.option("--adopt", is_flag=True, help="Take over what carries another label, or none.")
everything = click.option("--all", "everything", is_flag=True, help="Also jobs, models and artifacts.")


@click.command()
@options.command
def validate(run: Run) -> None:
    """Check the file for one environment: every error with its place."""
    from cloudml import sidecars

    project = run.project
    for name, model in project.models.items():
        sidecars.check_files(name, model)
    found = {"jobs": project.jobs, "models": project.models, "endpoints": project.endpoints}
    document = {
        "valid": True,
        "project": project.name,
        "env": project.env,
        "provider": project.provider,
        **{section: list(names) for section, names in found.items()},
    }
    what = (
        ", ".join(
            f"{len(names)} {section if len(names) > 1 else section[:-1]}" for section, names in found.items() if names
        )
        or "nothing"
    )
    text = f"{project.path} is valid: {what}, for environment {project.env} at provider {project.provider}"
    run.out.item(project.name, document, text)


@click.command()
@rerun
@prune
@adopt
@click.option("--detailed-exitcode", is_flag=True, help="End with 10 if there is something to do.")
@options.command
def plan(run: Run, rerun: tuple[str, ...], prune: bool, adopt: bool, detailed_exitcode: bool) -> None:
    """Show the native calls that apply would send; nothing is sent. -v shows their documents."""
    from cloudml import plan as planning

    found = planning.plan(run.client(), run.project, rerun=rerun, prune=prune, adopt=adopt)
    run.out.plan(found)
    if detailed_exitcode and found.changes:
        click.get_current_context().exit(CHANGES)


@click.command()
@rerun
@prune
@adopt
@options.wait
@options.timeout
@options.command
def apply(run: Run, rerun: tuple[str, ...], prune: bool, adopt: bool, wait: bool, timeout: float | None) -> None:
    """Make what is there be what the file says, and verify it."""
    from cloudml import plan as planning

    outcome = planning.apply(
        run.client(), run.project, rerun=rerun, prune=prune, adopt=adopt, wait=wait, timeout=timeout
    )
    run.out.outcome(outcome)


@click.command()
@everything
@options.yes
@options.command
def destroy(run: Run, everything: bool, yes: bool) -> None:
    """Remove the monitors and endpoints of the stack; with --all also its jobs, models and artifacts."""
    from cloudml import plan as planning

    client = run.client()
    if not yes:
        run.out.question(planning.destroy_plan(client, everything=everything))
        if not run.agree(f"Delete this from stack {client.stack} at provider {client.provider}?"):
            click.echo("nothing was deleted", err=True)
            click.get_current_context().exit(REFUSED)
    run.out.removed(planning.destroy(client, everything=everything))
