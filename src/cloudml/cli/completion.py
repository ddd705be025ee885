"""``cloudml completion``: what makes a shell complete commands, flags and names."""

from __future__ import annotations

import click

VARIABLE = "_CLOUDML_COMPLETE"
FILES = {
    "bash": 'eval "$(cloudml completion bash)"                       in ~/.bashrc',
    "zsh": 'eval "$(cloudml completion zsh)"                        in ~/.zshrc, after compinit',
    "fish": "cloudml completion fish > ~/.config/fish/completions/cloudml.fish",
}


@click.command(epilog="\b\n" + "\n".join(FILES.values()))
@click.argument("shell", type=click.Choice(list(FILES)))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, flags, and the names of jobs, models and endpoints."""
    from click.shell_completion import get_completion_class

    from cloudml.cli import main

    kind = get_completion_class(shell)
    assert kind is not None, "every choice is one of click's"
    click.echo(kind(main, {}, "cloudml", VARIABLE).source())
