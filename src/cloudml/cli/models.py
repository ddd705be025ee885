"""``cloudml models``: families and their versions."""

from __future__ import annotations

from typing import Any

import click

from cloudml.cli import options
from cloudml.cli.names import families, references
from cloudml.cli.options import Run


@click.group()
def models() -> None:
    """Registered models."""


@models.command("list")
@click.argument("family", required=False, shell_complete=families)
@click.option("--all-stacks", is_flag=True, help="Of every project and environment.")
@options.command
def listing(run: Run, family: str | None, all_stacks: bool) -> None:
    """List the families, or every version of FAMILY."""
    client = run.client()
    if family is None:
        run.out.states("models", client.models.list(all_stacks))
    else:
        run.out.versions(client.models.versions(family))


@models.command()
@click.argument("model", shell_complete=references)
@options.command
def approve(run: Run, model: str) -> None:
    """Let a version be used: family:version or family@alias."""
    run.out.version(run.client().models.approve(model))


@models.command()
@click.argument("model", shell_complete=references)
@options.command
def reject(run: Run, model: str) -> None:
    """Say that a version must not be used."""
    run.out.version(run.client().models.reject(model))


@models.command()
@click.argument("model", shell_complete=references)
@options.command
def pending(run: Run, model: str) -> None:
    """Say that a version waits for a judgement."""
    run.out.version(run.client().models.suspend(model))


@models.command()
@click.argument("model", shell_complete=references)
@options.command
def archive(run: Run, model: str) -> None:
    """Put a version away: kept, but neither the newest nor deployed."""
    run.out.version(run.client().models.get(model).archive())


@models.command()
@click.argument("model", shell_complete=references)
@options.command
def unarchive(run: Run, model: str) -> None:
    """Bring an archived version back."""
    run.out.version(run.client().models.get(model).unarchive())


@models.command()
@click.argument("model", shell_complete=references)
@options.command
def get(run: Run, model: str) -> None:
    """Show one version: family, family:version or family@alias."""
    run.out.version(run.client().models.get(model))


@models.command()
@click.argument("family", shell_complete=families)
@click.argument("path", type=click.Path(exists=True))
@click.option("--alias", help="Let this alias name the version.")
@click.option("--sample-input", type=click.Path(exists=True), help="A JSON file with rows as the model takes them.")
@click.option("--baseline", type=click.Path(exists=True), help="The data that traffic is compared with.")
@click.option("--target", help="The column of the baseline that is predicted.")
@options.command
def register(run: Run, family: str, path: str, **fields: str | None) -> None:
    """Register the folder PATH as a version of FAMILY."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    run.out.version(run.client().models.register(family, path, **given))


@models.command()
@click.argument("family", shell_complete=families)
@click.argument("alias")
@click.option("--version", required=True, help="The version that the alias is to name.")
@options.command
def alias(run: Run, family: str, alias: str, version: str) -> None:
    """Let ALIAS name another version of FAMILY."""
    run.out.version(run.client().models.alias(family, alias, version=version))


@models.command()
@click.argument("model", shell_complete=references)
@options.yes
@options.command
def delete(run: Run, model: str, yes: bool) -> None:
    """Remove one version (family:3), or a family with all its versions."""
    from cloudml.states import Key

    client = run.client()
    if any(mark in model for mark in ":@"):
        version = client.models.get(model)
        if yes or run.agree(f"Remove model {version} for good?"):
            version.delete()
            run.out.removed([Key("model", str(version), client.stack)])
        return
    versions = len(client.models.versions(model))  # a family that is not there is an error, one without versions none
    if yes or run.agree(f"Remove model {model} with its {versions} version(s) for good?"):
        client.models.delete(model)
        run.out.removed([Key("model", model, client.stack)])
