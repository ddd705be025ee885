"""``cloudml init``: a file and a script to begin with."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import click

from cloudml.cli import options
from cloudml.cli.options import Run
from cloudml.errors import ConfigError

FILES = {"cloudml.yaml": "cloudml.yaml", "src/train.py": "train.txt", "data/train.csv": "train.csv"}
LONGEST = 32
UNNAMED = "my-project"  # as it stands in the templates


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--project", help="The project's name; DIR's by default.")
@options.command
def init(run: Run, folder: Path, project: str | None) -> None:
    """Write a commented cloudml.yaml, a training script and a little data, which work at once: 'cloudml apply'."""
    taken = [name for name in FILES if (folder / name).exists()]
    if taken:
        raise ConfigError(
            f"{folder / taken[0]} is there already",
            hint="nothing is overwritten: 'cloudml init DIR' names a new folder",
        )
    name = project or _name(folder) or UNNAMED
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or not 3 <= len(name) <= LONGEST:
        raise ConfigError(
            f"{name!r} cannot be a project's name", hint="3 to 32 small letters, digits and single hyphens: 'fraud-api'"
        )
    templates = files("cloudml.cli").joinpath("templates")
    for place, template in FILES.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        text = templates.joinpath(template).read_text("utf-8").replace(UNNAMED, name)
        with open(target, "x", encoding="utf-8") as file:
            file.write(text)
    why = "" if project or _name(folder) else f"\nthe project is {name!r}: no name could be made of the folder's"
    into = "" if folder == Path(".") else f"cd {folder} && "
    written = [str(folder / place) for place in FILES]
    said = f"wrote {', '.join(written)}\nnext: {into}cloudml plan, then cloudml apply{why}"
    run.out.item(name, {"project": name, "files": written}, said)


def _name(folder: Path) -> str | None:
    """The folder's name as a project's; None where too little is left of it."""
    letters = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).lstrip("-0123456789")[:LONGEST].strip("-")
    return letters if len(letters) >= 3 else None
