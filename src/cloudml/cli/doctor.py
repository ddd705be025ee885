"""``cloudml doctor``: what is right and what is not with this machine and this project, and what to do about it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path

import click

from cloudml.cli import options
from cloudml.cli.options import Run
from cloudml.errors import CloudmlError, MissingExtra

DISTRIBUTION = "cloudml-sdk"
OK, WARN, FAIL = "ok", "warn", "fail"
FAILED = 1
MINIMUM = (3, 11)
LEAST_FREE = 1 << 30  # bytes
OURS = ("CLOUDML_PLATFORM", "CLOUDML_ENV", "CLOUDML_HOME", "CLOUDML_PROFILE", "CLOUDML_DEBUG", "CLOUDML_CPUS")
NATIVE = (
    *("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
    *("AZURE_SUBSCRIPTION_ID", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "MLFLOW_TRACKING_URI"),
    *("DOCKER_HOST", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "NO_COLOR", "CI"),
)
COLORS = {OK: "green", WARN: "yellow", FAIL: "red"}


@dataclass(frozen=True)
class Check:
    """One line: ``level`` is ok, warn or fail; ``advice`` says what to do."""

    level: str
    what: str
    said: str
    advice: str = ""


@click.command()
@options.command
def doctor(run: Run) -> None:
    """Look at Python, packages, providers, the file, profiles, the home folder and variables. Ends with 1 on a fail."""
    found = [check for look in LOOKS for check in look(run)]
    width = max(len(check.what) for check in found)
    lines = []
    for check in found:
        level = click.style(f"{check.level:4}", fg=COLORS[check.level]) if run.out.color else f"{check.level:4}"
        lines.append(f"{level}  {check.what:{width}}  {check.said}")
        lines += [f"{'':{width + 8}}{check.advice}"] if check.advice else []
    worst = max((check.level for check in found), key=(OK, WARN, FAIL).index)
    run.out.item(worst, {"level": worst, "checks": [asdict(check) for check in found]}, "\n".join(lines))
    if worst == FAIL:
        click.get_current_context().exit(FAILED)


def _python(run: Run) -> Iterator[Check]:
    said = f"{platform.python_version()} at {sys.executable}"
    good = sys.version_info >= MINIMUM
    needs = "{}.{}".format(*MINIMUM)
    yield Check(OK if good else FAIL, "Python", said, "" if good else f"cloudml needs {needs} or newer")


def _packages(run: Run) -> Iterator[Check]:
    """The distribution with what it needs, then each extra; an extra that is missing is no fault."""
    from importlib import metadata

    from cloudml import __version__

    try:
        needs = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Check(WARN, "cloudml", f"{__version__}, not installed", f"imported from {Path(__file__).parents[1]}")
        return
    grouped: dict[str, list[str]] = {}
    for need in needs:
        text, _, marker = need.partition(";")
        extra = marker.partition("extra ==")[2].strip(" '\")")
        name = re.split(r"[^\w.-]", text.strip(), maxsplit=1)[0]
        if name != DISTRIBUTION and "win32" not in marker.replace("!= 'win32'", "").replace('!= "win32"', ""):
            grouped.setdefault(extra, []).append(name)
    for extra, names in grouped.items():
        have = {name: _version(name) for name in names}
        missing = [name for name, version in have.items() if version is None]
        said = ", ".join(f"{name} {version}" for name, version in have.items() if version)
        if missing:
            said = f"{said + '; ' if said else ''}not installed: {', '.join(missing)}"
        wanted = f'pip install "{DISTRIBUTION}[{extra}]"' if extra else f"pip install {DISTRIBUTION}"
        level = OK if not missing else WARN if extra else FAIL
        what = f"extra {extra}" if extra else f"cloudml {__version__}"
        yield Check(level, what, said, wanted if missing else "")


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _emulation(run: Run) -> Iterator[Check]:
    """How well 'cloudml emulate' keeps a program from the real network here."""
    from cloudml.emulation import box

    refused = box.refusal(network=True)
    if refused is None:
        yield Check(OK, "emulation", "a network and a file tree of its own for every program")
    else:
        advice = "programs that ignore proxies reach the real network; containers find their folders by variables"
        yield Check(WARN, "emulation", f"by proxy alone: {refused}", advice)


def _providers(run: Run) -> Iterator[Check]:
    from cloudml import plugins
    from cloudml.spi import No

    names = plugins.names()
    if not names:
        yield Check(FAIL, "providers", "none is installed", f"pip install {DISTRIBUTION}")
    for name in names:
        try:
            plugin = plugins.load(name)
        except MissingExtra as error:
            yield Check(WARN, f"provider {name}", str(error), error.hint or "")
        except Exception as error:  # noqa: BLE001 - somebody else's package may fail in any way
            yield Check(FAIL, f"provider {name}", f"does not load: {error}", getattr(error, "hint", None) or "")
        else:
            can = sum(not isinstance(answer, No) for answer in plugin.capabilities.values())
            yield Check(OK, f"provider {name}", f"loads; can {can} of {len(plugin.capabilities)}")


def _file(run: Run) -> Iterator[Check]:
    if not run.has_file:
        yield Check(OK, "file", "no cloudml.yaml here", "'cloudml init' writes one")
        return
    try:
        project = run.project
    except CloudmlError as error:
        yield Check(FAIL, "file", str(error), error.hint or "'cloudml validate' shows every error")
    else:
        yield Check(OK, "file", f"{project.path} is valid for environment {project.env} at {project.provider}")


def _profiles(run: Run) -> Iterator[Check]:
    from cloudml import profiles

    place = profiles.path()
    try:
        names = profiles.profile_names()
        default = profiles.load_profile()
    except CloudmlError as error:
        yield Check(FAIL, "profiles", str(error), error.hint or "")
    else:
        said = f"{', '.join(names) or 'none'}" + (f"; default {default.name}" if default else "")
        yield Check(OK, "profiles", f"{said} (in {place})" if names else f"none ({place})")


def _connection(run: Run) -> Iterator[Check]:
    """The chosen provider with its settings; its store, if that is a folder of this machine."""
    try:
        client = run.client()
        place = client.session.provider.artifacts.uri(client.stack)
    except Exception as error:  # noqa: BLE001 - a provider's own SDK may fail in any way
        yield Check(FAIL, "connection", str(error), getattr(error, "hint", None) or "")
        return
    yield Check(OK, "connection", f"stack {client.stack} at provider {client.provider}")
    if os.path.isabs(place):
        yield from _folder(Path(place).parent)


def _folder(folder: Path) -> Iterator[Check]:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        yield Check(FAIL, "home", f"{there} cannot be written to", "CLOUDML_HOME names another folder")
        return
    free = shutil.disk_usage(there).free
    advice = "" if free >= LEAST_FREE else "remove old runs: 'cloudml jobs delete', or 'cloudml destroy --all'"
    yield Check(OK if not advice else WARN, "home", f"{folder} can be written to, {free / 2**30:.1f} GiB free", advice)


def _variables(run: Run) -> Iterator[Check]:
    """Ours with their values, others' by their names: those may be secret."""
    for name in sorted(name for name in os.environ if name.startswith("CLOUDML_")):
        if name in OURS:
            yield Check(OK, name, os.environ[name])
        else:
            close = get_close_matches(name, OURS, n=1)
            yield Check(WARN, name, "is set, and means nothing", f"did you mean {close[0]}?" if close else "")
    if others := [name for name in NATIVE if os.environ.get(name)]:
        yield Check(OK, "variables", f"set: {', '.join(others)}")


LOOKS: tuple[Callable[[Run], Iterator[Check]], ...] = (
    *(_python, _packages, _providers, _emulation, _file, _profiles, _connection, _variables),
)
