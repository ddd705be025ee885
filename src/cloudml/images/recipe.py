"""What goes into an image: its build context, named by its content. Nothing here needs Docker.

The layers are ordered by how often they change: the base, the Python packages, cloudml itself, the model. The
Dockerfile keeps to what the classic builder knows.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

from cloudml.content import MANIFEST, file_digest, files
from cloudml.errors import ConfigError
from cloudml.runtime.manifest import Manifest, describe, read_manifest

NAME = "cloudml-serve"
HOME = "/opt/cloudml"
LABEL = "cloudml-recipe"
PORT = 8080
DISTRIBUTION = "cloudml-sdk"
# The rooms of cloudml that run inside the image; the layers' contracts let them import nothing else.
ROOMS = (
    *("__init__.py", "bundle.py", "content.py", "errors.py", "payloads.py", "states.py", "py.typed"),
    *("runtime/", "monitoring/"),
)
CACHES = {  # whoever runs the image, /tmp is all that can be written
    "HOME": "/tmp",
    "XDG_CACHE_HOME": "/tmp/.cache",
    "HF_HOME": "/tmp/.cache/huggingface",
    "MPLCONFIGDIR": "/tmp/.cache/matplotlib",
    "NUMBA_CACHE_DIR": "/tmp/.cache/numba",
}
ENTRYPOINT = """#!/usr/bin/env python3
import sys

sys.path.insert(0, "/opt/cloudml/lib")
from cloudml.runtime.entrypoint import main

sys.exit(main(sys.argv[1:]))
"""
REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*\s*(\[[\w., -]+\])?\s*([=<>!~][^@/\\]*)?(;[^@/\\]*)?")
SECRET_FILES = frozenset({".env", ".netrc", ".pypirc", ".git-credentials", "id_rsa", "id_ecdsa", "id_ed25519"})
EPOCH = 315532800  # 1980, in seconds: the same contents are the same context, whenever they were written
Content = bytes | Path


@dataclass(frozen=True)
class Recipe:
    """An image to build: ``files`` is the whole build context, ``name`` its tag, made of that content's digest."""

    name: str
    base: str
    files: Mapping[str, Content]
    model_digest: str | None = None

    @property
    def digest(self) -> str:
        """What the label ``cloudml-recipe`` says of an image that was built from this."""
        return self.name.rpartition(":")[2]

    @property
    def dockerfile(self) -> str:
        text = self.files["Dockerfile"]
        assert isinstance(text, bytes)
        return text.decode()

    def write_context(self, target: IO[bytes]) -> None:
        """The build context as a tar file, the same bytes for the same contents; readable for every user."""
        with tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT) as archive:
            for name, content in sorted(self.files.items()):
                about = tarfile.TarInfo(name)
                about.mtime = EPOCH
                about.mode = 0o755 if name == "lib/cloudml-entrypoint" else 0o644
                if isinstance(content, bytes):
                    about.size = len(content)
                    archive.addfile(about, io.BytesIO(content))
                else:
                    about.size = content.stat().st_size
                    with open(content, "rb") as file:
                        archive.addfile(about, file)


def recipe(
    base: str | None = None,
    requirements: Sequence[str] = (),
    extras: Sequence[str] = ("serve",),
    source: Path | None = None,
    model: Path | None = None,
    name: str = NAME,
) -> Recipe:
    """What an image holds: packages, cloudml from ``source`` (this installation if None), and a model folder, if any.

    The model's manifest adds its own pins; a folder without a manifest is described as it is here. ``base`` is
    ``python:X.Y-slim`` of the model's Python if None; it needs Python 3.11 or newer and pip.
    Raises ConfigError for a model folder that cannot be one, with a link or with what looks like a secret, and for a
    requirement that is more than a name with its version.
    """
    manifest = None if model is None else _manifest(model)
    lines = _requirements([*requirements, *(manifest.requirements if manifest else ())], extras)
    base = base or f"python:{manifest.python if manifest else '3.11'}-slim"
    if not re.fullmatch(r"[\w.:/@-]+", base):
        raise ConfigError(f"{base!r} is not the name of an image")
    found: dict[str, Content] = {"requirements.txt": "".join(f"{line}\n" for line in lines).encode()}
    found |= _library(source or Path(__file__).parent.parent)
    if model is not None and manifest is not None:
        found |= _model(model, manifest)
    baked = {"model_digest": manifest.digest if manifest else None}
    found["baked/image.json"] = json.dumps(baked, sort_keys=True).encode() + b"\n"
    text = _dockerfile(base)
    digest = _digest({**found, "Dockerfile": text.encode()})[:12]
    found["Dockerfile"] = f'{text}LABEL {LABEL}="{digest}"\n'.encode()
    return Recipe(f"{name}:{digest}", base, found, baked["model_digest"])


def _dockerfile(base: str) -> str:
    """Classic syntax only: a builder without BuildKit runs it."""
    variables = {**CACHES, "PYTHONUNBUFFERED": "1", "CLOUDML_HOST": "0.0.0.0"}  # a container's own network
    pip = "python3 -m pip install --no-cache-dir --no-input --disable-pip-version-check --root-user-action=ignore"
    old = "cloudml: the base image has Python %d.%d, and 3.11 or newer is needed"
    needed = f"import sys; sys.version_info >= (3, 11) or sys.exit('{old}' % sys.version_info[:2])"
    path = "import pathlib, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), 'cloudml.pth').write_text"
    return f"""FROM {base}
ENV {" ".join(f"{name}={value}" for name, value in variables.items())}
EXPOSE {PORT}
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
ENTRYPOINT ["cloudml-entrypoint"]
CMD ["serve"]
COPY requirements.txt {HOME}/requirements.txt
RUN python3 -c "{needed}" \\
 && {pip} -r {HOME}/requirements.txt
COPY lib/ {HOME}/lib/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash {HOME}/lib \\
 && python3 -c "{path}('{HOME}/lib')" \\
 && ln -sf {HOME}/lib/cloudml-entrypoint /usr/local/bin/cloudml-entrypoint
COPY baked/ {HOME}/
"""


def _requirements(given: Iterable[str], extras: Sequence[str]) -> list[str]:
    lines = {line.strip() for line in given} | set(_of_extras(extras))
    for line in sorted(lines):
        if not REQUIREMENT.fullmatch(line):
            raise ConfigError(
                f"requirement {line!r} is more than a name with its version",
                hint="an address or an option of pip may hold a secret, which would stay in the image",
            )
    return sorted(lines)


def _of_extras(extras: Sequence[str]) -> Iterator[str]:
    """What the installed distribution asks for under these extras, without the marker that says so."""
    for line in metadata.requires(DISTRIBUTION) or () if extras else ():
        for extra in extras:
            plain, times = re.subn(rf"""(\s+and)?\s*\(?extra == ['"]{re.escape(extra)}['"]\)?""", "", line)
            if times:
                yield plain.strip().rstrip(";").strip()


def _library(package: Path) -> dict[str, Content]:
    found: dict[str, Content] = {
        f"lib/cloudml/{name}": path
        for name, path in files(package)
        if any(name == room or (room.endswith("/") and name.startswith(room)) for room in ROOMS)
    }
    if not found:
        raise ConfigError(f"{package} is not the package cloudml: it has no files")
    return {**found, "lib/cloudml-entrypoint": ENTRYPOINT.encode()}


def _manifest(model: Path) -> Manifest:
    if not model.is_dir():
        raise ConfigError(f"{model} is not a folder: an image is built with a model folder")
    return read_manifest(model) if (model / MANIFEST).is_file() else describe(model)


def _model(model: Path, manifest: Manifest) -> dict[str, Content]:
    try:
        found: dict[str, Content] = {f"baked/model/{name}": path for name, path in files(model)}
    except ValueError as error:  # a link may lead out of the folder
        raise ConfigError(str(error)) from error
    for name in found:
        if Path(name).name in SECRET_FILES:
            raise ConfigError(
                f"{model / name.removeprefix('baked/model/')} looks like a secret, and everybody who has "
                "the image could read it",
                hint="move it out of the model folder",
            )
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n"
    found.setdefault(f"baked/model/{MANIFEST}", text.encode())
    return found


def _digest(found: Mapping[str, Content]) -> str:
    total = hashlib.sha256()
    for name, content in sorted(found.items()):
        own = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else file_digest(content)[7:]
        total.update(f"{own} {name}\n".encode())
    return total.hexdigest()
