"""``cloudml serve``: the endpoint's server in this process, without an endpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudml.cli import options
from cloudml.cli.names import families
from cloudml.cli.options import Run
from cloudml.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from cloudml.runtime.serving import Settings

OF_ANOTHER = frozenset({"CLOUDML_MODEL_DIGEST", "CLOUDML_MODEL_NAME", "CLOUDML_MODEL_VERSION", "CLOUDML_SIGNATURE"})


@click.command()
@click.argument("model", shell_complete=families)
@click.option("--host", help="Where to listen; 127.0.0.1 by default.")
@click.option("--port", type=click.IntRange(0, 65535), help="8080 by default; 0 takes any that is free.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that share the port; 1 by default.")
@click.option("--allow-pickle", is_flag=True, help="Load a pickle that is not registered: it can run any code.")
@options.command
def serve(run: Run, model: str, host: str | None, port: int | None, workers: int | None, allow_pickle: bool) -> None:
    """Serve MODEL until Ctrl-C: a folder, a file such as model.joblib, or a version: fraud@champion, fraud:3."""
    try:
        from cloudml.runtime import serving
    except ModuleNotFoundError as error:
        from cloudml.runtime.__main__ import NEEDS

        if error.name not in NEEDS:
            raise
        raise MissingExtra(f"serving needs {error.name}", hint='pip install "cloudml-sdk[serve]"') from error
    numbers = {"CLOUDML_PORT": port, "CLOUDML_WORKERS": workers}
    asked = {"CLOUDML_HOST": host, **{name: None if given is None else str(given) for name, given in numbers.items()}}
    env = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER}
    env |= {name: value for name, value in asked.items() if value is not None}
    if allow_pickle:
        env["CLOUDML_ALLOW_PICKLE"] = "1"
    chosen = _of_path(model, env) if _is_path(model) else _of_version(run, model, env)
    if code := serving.run(chosen):
        click.get_current_context().exit(code)


def _is_path(model: str) -> bool:
    return os.sep in model or Path(model).exists()


def _of_path(model: str, env: dict[str, str]) -> Settings:
    """Raises ConfigError for what cannot be served, before anything listens."""
    from cloudml.runtime import flavors, serving

    path = Path(model).resolve()
    if not path.exists():
        raise ConfigError(f"there is no file or folder {model}")
    chosen = serving.settings({**env, "CLOUDML_MODEL_DIR": str(path)})
    flavors.examine(path, chosen.trust)
    return chosen


def _of_version(run: Run, model: str, env: dict[str, str]) -> Settings:
    """A registered version whose files are on this machine. Raises NotFound, and ConfigError where they are not."""
    from cloudml.runtime import flavors, serving

    version = run.client().models.get(model)
    place = version.uri.removeprefix("file://")
    if "://" in place:
        raise ConfigError(
            f"the files of {version} are at {version.uri}, not on this machine",
            hint="serve reads versions of provider 'local' (-p local), or a folder",
        )
    named = {"CLOUDML_MODEL_NAME": version.family, "CLOUDML_MODEL_VERSION": version.version}
    chosen = serving.settings({**env, **named, "CLOUDML_MODEL_DIR": place})
    sidecar = version.sidecar
    registered = flavors.Trust(pickles=True)  # it is the registry that names these files
    return replace(chosen, signature=sidecar if sidecar.get("inputs") else None, trust=registered)
