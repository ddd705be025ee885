"""``cloudml image``: build the one image that answers every platform, and push it to a registry."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudml.cli import options
from cloudml.cli.names import families
from cloudml.cli.options import Run
from cloudml.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from cloudml.images.daemon import OfEngine
    from cloudml.images.pushing import OfFile, Pushed

BASE = "CLOUDML_IMAGE_BASE"
MODEL, VERSION, HASH = "cloudml-model", "cloudml-version", "cloudml-hash"  # labels of an image
WORTH_TELLING = ("Step ", "Successfully", "ERROR", "layer ", "it is there", "building", "pushing", "pulling")
CLEAR = "\r\x1b[K"


@click.group()
def image() -> None:
    """Images: one that answers SageMaker, Azure ML, Vertex AI, KServe and MLflow clients alike."""


@image.command()
@click.argument("model", required=False, shell_complete=families)
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME:TAG", help="A name besides that of the content.")
@click.option("--base", envvar=BASE, help="The image to start from: Python 3.11 or newer, with pip.")
@click.option("--require", "requirements", multiple=True, metavar="NAME==VERSION", help="A package more.")
@click.option("--again", is_flag=True, help="Even if an image of this content is there.")
@options.command
def build(
    run: Run, model: str | None, tags: tuple[str, ...], base: str | None, requirements: tuple[str, ...], again: bool
) -> None:
    """Build an image with MODEL in it (a folder, or a version: fraud@champion), or with none: then one is mounted."""
    from cloudml import images

    folder, labels = (None, {}) if model is None else _model(run, model)
    made = images.recipe(base, requirements, model=folder)
    with _Shown(run.quiet, run.verbose) as say:
        built = images.build(made, say, tags=tags, labels=labels, again=again)
    document = {"image": built.name, "id": built.id, "bytes": built.size, "built": built.made, "tags": list(tags)}
    run.out.item(built.name, document, built.name)


@image.command()
@click.argument("what", metavar="[IMAGE]", required=False)
@click.argument("place", metavar="REGISTRY/NAME:TAG")
@click.option("--username", help="Who pushes; else the login that 'docker login' kept.")
@click.option("--password-stdin", is_flag=True, help="Read the password, or token, from stdin.")
@click.option("--plain-http", is_flag=True, help="The registry speaks no TLS; loopback addresses need not say so.")
@click.option("--base", envvar=BASE, help="As of 'image build', where the image is built first.")
@options.command
def push(
    run: Run,
    what: str | None,
    place: str,
    username: str | None,
    password_stdin: bool,
    plain_http: bool,
    base: str | None,
) -> None:
    """Push IMAGE to a registry: a name, or a file of 'docker save'. Without IMAGE, the one without a model."""
    from cloudml.images.daemon import of_docker
    from cloudml.images.pushing import push as send
    from cloudml.images.registry import Place

    Place.parse(place)  # what cannot be a place is refused before anything is built
    login = _login(username, password_stdin) or of_docker
    with _Shown(run.quiet, run.verbose) as say:
        found = _found(what, base, say)
        pushed = send(found, place, say, login, time.sleep, plain=plain_http or None)
    _record(run, getattr(found, "labels", {}), pushed)
    _told(run, pushed)


def _record(run: Run, labels: Mapping[str, str], pushed: Pushed) -> None:
    """The version that is in the image learns where the image is; one of another stack, or gone, is left alone."""
    if MODEL not in labels:
        return
    try:
        version = run.client().models.get(f"{labels[MODEL]}:{labels[VERSION]}")
    except NotFound:
        return
    if version.hash == labels[HASH]:
        version.record_image(pushed.reference)


def _told(run: Run, pushed: Pushed) -> None:
    document = {"image": pushed.reference, "digest": pushed.digest, "tag": pushed.place, "uploaded": pushed.uploaded}
    run.out.item(pushed.reference, document, pushed.reference)


def _found(what: str | None, base: str | None, say: Callable[[str], None]) -> OfEngine | OfFile:
    from cloudml import images
    from cloudml.images.daemon import OfEngine, connect
    from cloudml.images.pushing import OfFile

    if what is not None and Path(what).is_file():
        return OfFile.read(Path(what))
    engine = connect()
    name = what or images.build(images.recipe(base), say, client=engine).name
    return OfEngine.get(name, engine)


def _login(username: str | None, password_stdin: bool) -> Callable[[str], tuple[str, str] | None] | None:
    if username is None and not password_stdin:
        return None
    if username is None or not password_stdin:
        raise click.UsageError("--username and --password-stdin are given together")
    password = sys.stdin.readline().rstrip("\r\n")
    return lambda _host: (username, password)


def _model(run: Run, model: str) -> tuple[Path, dict[str, str]]:
    """A model's folder on this machine, and the labels that say which version it is. Raises NotFound, ConfigError."""
    if os.sep in model or Path(model).exists():
        return Path(model).resolve(), {}
    version = run.client().models.get(model)
    place = version.uri.removeprefix("file://")
    if "://" in place:
        raise ConfigError(
            f"the files of {version} are at {version.uri}, not on this machine",
            hint="build from versions of provider 'local' (-p local), or from a folder",
        )
    return Path(place), {MODEL: version.family, VERSION: str(version.version), HASH: version.hash}


class _Shown:
    """Progress on stderr: lines worth telling, on a terminal one line that is rewritten, with ``verbose`` all."""

    def __init__(self, quiet: bool, verbose: bool) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._rewrites = sys.stderr.isatty() and not verbose

    def __enter__(self) -> Callable[[str], None]:
        return self._say

    def _say(self, text: str) -> None:
        if self._quiet:
            return
        if self._rewrites:
            room = shutil.get_terminal_size().columns - 1
            sys.stderr.write(CLEAR + text.splitlines()[0][:room])
        elif self._verbose or text.startswith(WORTH_TELLING):
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._rewrites and not self._quiet:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
