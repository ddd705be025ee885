"""``cloudml permissions``: the least that whoever applies the file needs, in the provider's own words."""

from __future__ import annotations

import json

import click

from cloudml.cli import options
from cloudml.cli.options import Run
from cloudml.errors import Unsupported


@click.command()
@options.command
def permissions(run: Run) -> None:
    """Print the policy that allows the file's stack and nothing else; the provider is not asked.

    Without -o it is the provider's own document, ready to be sent; with -o json it stands under 'policy'.
    """
    from cloudml import plugins
    from cloudml.goals import stack_name
    from cloudml.specs import make
    from cloudml.spi import Scope

    project = run.project
    plugin = plugins.load(project.provider)
    if plugin.permissions is None:
        raise Unsupported(f"provider {plugin.name!r} writes no policy")
    jobs = [f"{project.name}-{name}" for name in project.jobs]
    endpoints = [*project.endpoints]
    scope = Scope(
        stack_name(project.name, project.env), {"job": jobs, "model": [*project.models], "endpoint": endpoints}
    )
    found = plugin.permissions(make(plugin.config, plugin.name, project.settings), scope)
    document = {"provider": plugin.name, "stack": scope.stack, "policy": found}
    run.out.item(scope.stack, document, json.dumps(found, indent=2))  # as text it is the policy alone, to be piped
