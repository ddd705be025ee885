"""The command line. A command's module is imported when the command runs, so that ``--help`` is quick."""

from __future__ import annotations

import click

from cloudml import __version__
from cloudml.cli.lazy import Cli, Lazy

_STACK, _RUN = "cloudml.cli.stack", "cloudml.cli.running"

COMMANDS = {
    "init": Lazy("cloudml.cli.start", "init", "Write a cloudml.yaml and a script that work at once."),
    "validate": Lazy(_STACK, "validate", "Check the file: every error with its place."),
    "plan": Lazy(_STACK, "plan", "Show the native calls that apply would send."),
    "apply": Lazy(_STACK, "apply", "Make what is there be what the file says."),
    "destroy": Lazy(_STACK, "destroy", "Remove monitors and endpoints; with --all everything."),
    "eject": Lazy("cloudml.cli.eject", "eject", "Write the native documents of the plan to files."),
    "status": Lazy("cloudml.cli.status", "status", "Everything that the stack has, in one table."),
    "train": Lazy(_RUN, "train", "Start a new run of a job."),
    "deploy": Lazy(_RUN, "deploy", "Put a model behind an endpoint, or share its traffic out."),
    "predict": Lazy(_RUN, "predict", "Ask an endpoint for predictions."),
    "rollback": Lazy(_RUN, "rollback", "Go back to what an endpoint was before its last change."),
    "serve": Lazy("cloudml.cli.serve", "serve", "Answer requests with a model, here and now."),
    "image": Lazy("cloudml.cli.image", "image", "The image that answers every platform: build, push."),
    "jobs": Lazy("cloudml.cli.jobs", "jobs", "Runs: list, get, logs, cancel, delete."),
    "models": Lazy("cloudml.cli.models", "models", "Versions: list, get, register, alias, approve, delete."),
    "endpoints": Lazy("cloudml.cli.endpoints", "endpoints", "Endpoints: list, get, logs, metrics, delete."),
    "monitors": Lazy("cloudml.cli.monitors", "monitors", "What is watched: list, run, get, history, delete."),
    "providers": Lazy(
        "cloudml.cli.providers", "providers", "What each installed provider can do, and on what evidence."
    ),
    "permissions": Lazy(
        "cloudml.cli.permissions", "permissions", "The least that the file's stack needs, as a policy."
    ),
    "emulate": Lazy("cloudml.cli.emulate", "emulate", "Run a command against clouds on this machine."),
    "doctor": Lazy("cloudml.cli.doctor", "doctor", "Look at this machine: what is missing, and what to do about it."),
    "completion": Lazy("cloudml.cli.completion", "completion", "Print what makes a shell complete commands and names."),
}


@click.group(cls=Cli, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cloudml", message="%(prog)s %(version)s")
def main() -> None:
    """Describe an ML deployment once; prove it on your own machine; run it on any cloud."""


__all__ = ["COMMANDS", "main"]
