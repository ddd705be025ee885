"""``cloudml eject``: what cloudml would send, as files that anybody can read and send without it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloudml.cli import options
from cloudml.cli.options import Run
from cloudml.errors import ConfigError

if TYPE_CHECKING:
    from cloudml.plan import Plan
    from cloudml.spi import Plugin

ABOUT = """\
What cloudml would send to provider {provider} for stack {stack}, in order: one native call per file in calls/.
"operation" is the provider's own name of the call, "target" what it writes, "document" the request. <...> is a value
that only the provider can choose; ${{secret:...}} is a secret by reference; *** was left out because it is secret.
specs/ holds what is wanted, as cloudml hashes it. {provider}/, where there is one, holds the same calls in the form of
the provider's own command line, which stands at the top of each file; the files that they name must be stored before.
"""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--all", "whole", is_flag=True, help="As if nothing were there yet; without the uploads.")
@options.command
def eject(run: Run, folder: Path, whole: bool) -> None:
    """Write the native documents of the plan to DIR, one file per call in order, and the specs; nothing is sent."""
    from cloudml import plan as planning

    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty", hint="nothing is overwritten: name a folder that is not there yet")
    client = run.client()
    found = planning.plan(client, run.project, whole=whole)
    files = _files(found)
    calls = sum(name.startswith("calls/") for name in files)
    specs = len(files) - calls
    files |= _of_its_own(client.plugin, found)
    files["README.txt"] = ABOUT.format(provider=client.provider, stack=client.stack)
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    hint = "" if calls else "; nothing is left to send: --all writes what made it"
    said = f"wrote {calls} calls and {specs} specs to {folder}{hint}"
    run.out.item(str(folder), {"folder": str(folder), "files": sorted(files)}, said)


def _files(plan: Plan) -> dict[str, str]:
    """The text of each file by its path under the folder."""
    from cloudml.cli.documents import call_document, key_document, plain
    from cloudml.specs import document

    calls = [(step, call) for step in plan.steps for call in step.calls]
    width = max(3, len(str(len(calls))))
    files: dict[str, str] = {}
    for number, (step, call) in enumerate(calls, 1):
        name = f"calls/{number:0{width}}-{step.key.kind}-{_safe(call.operation)}.json"
        files[name] = _text({"resource": key_document(step.key), "if": step.note or None, **call_document(call)})
    for step in plan.steps:
        if step.spec is not None:
            files[f"specs/{step.key.kind}-{_safe(step.key.name)}.json"] = _text(plain(document(step.spec)))
    return files


def _of_its_own(plugin: Plugin, plan: Plan) -> dict[str, str]:
    """The calls as the provider's own command line takes them, if it says so."""
    if plugin.files is None:
        return {}
    from cloudml.cli.documents import plain

    calls = [call.with_document(plain(call.document)) for step in plan.steps for call in step.calls]
    return {f"{plugin.name}/{name}": text for name, text in plugin.files(calls).items()}


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _safe(name: str) -> str:
    """An operation's name as a part of a file's."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60]
