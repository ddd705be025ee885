"""What goes into an image, named by its content."""

from __future__ import annotations

import ast
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloudml
from cloudml.content import files
from cloudml.errors import ConfigError
from cloudml.images.recipe import ROOMS, Recipe, recipe

BASE = "python:3.11-slim"
DOCKERFILE = """\
FROM python:3.11-slim
ENV HOME=/tmp XDG_CACHE_HOME=/tmp/.cache HF_HOME=/tmp/.cache/huggingface MPLCONFIGDIR=/tmp/.cache/matplotlib \
NUMBA_CACHE_DIR=/tmp/.cache/numba PYTHONUNBUFFERED=1 CLOUDML_HOST=0.0.0.0
EXPOSE 8080
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
ENTRYPOINT ["cloudml-entrypoint"]
CMD ["serve"]
COPY requirements.txt /opt/cloudml/requirements.txt
RUN python3 -c "import sys; sys.version_info >= (3, 11) or sys.exit('cloudml: the base image has Python %d.%d, \
and 3.11 or newer is needed' % sys.version_info[:2])" \\
 && python3 -m pip install --no-cache-dir --no-input --disable-pip-version-check --root-user-action=ignore \
-r /opt/cloudml/requirements.txt
COPY lib/ /opt/cloudml/lib/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/cloudml/lib \\
 && python3 -c "import pathlib, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), 'cloudml.pth')\
.write_text('/opt/cloudml/lib')" \\
 && ln -sf /opt/cloudml/lib/cloudml-entrypoint /usr/local/bin/cloudml-entrypoint
COPY baked/ /opt/cloudml/
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.py").write_text("class Model: ...\n")
    return folder


def context(made: Recipe) -> bytes:
    target = io.BytesIO()
    made.write_context(target)
    return target.getvalue()


def test_the_dockerfile_is_classic_syntax_with_the_model_last() -> None:
    made = recipe(BASE)
    assert made.dockerfile == f'{DOCKERFILE}LABEL cloudml-recipe="{made.digest}"\n'


def test_the_same_contents_are_the_same_context_byte_for_byte(model: Path, tmp_path: Path) -> None:
    first = recipe(BASE, model=model)
    shutil.copytree(model, tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere/model.py", (1, 1))
    (tmp_path / "elsewhere/model.py").chmod(0o600)
    second = recipe(BASE, model=tmp_path / "elsewhere")
    assert first.name == second.name
    assert context(first) == context(second)


def test_everything_that_changes_the_image_changes_its_name(model: Path, tmp_path: Path) -> None:
    source = tmp_path / "cloudml"
    shutil.copytree(Path(cloudml.__file__).parent, source, ignore=shutil.ignore_patterns("__pycache__"))
    names = {recipe(BASE, source=source).name, recipe("python:3.12-slim", source=source).name}
    names |= {recipe(BASE, source=source, model=model).name, recipe(BASE, ["numpy==2.4.6"], source=source).name}
    with open(source / "errors.py", "a") as file:
        file.write("# one line more\n")
    names.add(recipe(BASE, source=source).name)
    assert len(names) == 5


def test_a_change_of_cloudml_that_does_not_run_in_the_image_leaves_it_alone(tmp_path: Path) -> None:
    source = tmp_path / "cloudml"
    shutil.copytree(Path(cloudml.__file__).parent, source, ignore=shutil.ignore_patterns("__pycache__"))
    before = recipe(BASE, source=source).name
    with open(source / "cli/serve.py", "a") as file:
        file.write("# one line more\n")
    assert recipe(BASE, source=source).name == before


def test_the_requirements_are_the_manifests_pins_and_what_serving_needs(model: Path) -> None:
    (model / "cloudml-model.json").write_text(
        '{"schema_version": 1, "flavor": "python", "entry": "model.py", "digest": "sha256:0", "python": "3.12",'
        ' "requirements": ["scikit-learn==1.9.1"]}'
    )
    made = recipe(model=model)
    lines = made.files["requirements.txt"]
    assert isinstance(lines, bytes)
    assert "scikit-learn==1.9.1" in lines.decode().splitlines()
    assert any(line.startswith("orjson") for line in lines.decode().splitlines())
    assert made.base == "python:3.12-slim"
    assert made.model_digest == "sha256:0"


def test_every_user_can_read_what_the_context_holds(model: Path) -> None:
    (model / "model.py").chmod(0o600)
    with tarfile.open(fileobj=io.BytesIO(context(recipe(BASE, model=model)))) as archive:
        modes = {member.name: member.mode for member in archive}
    assert modes["baked/model/model.py"] == 0o644
    assert modes["lib/cloudml-entrypoint"] == 0o755
    assert "baked/model/cloudml-model.json" in modes
    assert not {name for name in modes if name.startswith("lib/cloudml/cli")}


@pytest.mark.parametrize("target", ["/etc/passwd", "model.py"])
def test_a_link_in_the_model_is_refused(model: Path, target: str) -> None:
    (model / "link").symlink_to(target)
    with pytest.raises(ConfigError, match="is a symbolic link"):
        recipe(BASE, model=model)


def test_what_looks_like_a_secret_is_refused(model: Path) -> None:
    (model / "deep").mkdir()
    (model / "deep/.netrc").write_text("machine x login y password z")
    with pytest.raises(ConfigError, match=r"deep/\.netrc looks like a secret"):
        recipe(BASE, model=model)


@pytest.mark.parametrize(
    "line", ["--index-url https://me:secret@pypi.example/simple", "x @ https://me:secret@host/x.whl", "a\nb", "-e ."]
)
def test_a_requirement_that_could_hold_a_secret_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="is more than a name with its version"):
        recipe(BASE, [line])


@pytest.mark.parametrize("base", ["python:3.11\nRUN rm -rf /", "a b", ""])
def test_a_base_that_is_no_name_is_refused_or_the_default(base: str) -> None:
    if not base:
        assert recipe(base).base == BASE
        return
    with pytest.raises(ConfigError, match="is not the name of an image"):
        recipe(base)


def test_a_model_that_is_no_folder_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        recipe(BASE, model=model / "model.py")


def test_the_image_s_library_imports_nothing_that_is_not_in_it() -> None:
    package = Path(cloudml.__file__).parent
    there = {name for name, _ in files(package) if any(name == room or name.startswith(room) for room in ROOMS)}
    for name in sorted(each for each in there if each.endswith(".py") and each != "__init__.py"):
        for module in imported(ast.parse((package / name).read_text())):
            place = module.replace(".", "/")
            assert {f"{place}.py", f"{place}/__init__.py", f"{place.rpartition('/')[0]}.py"} & there, (name, module)


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules of cloudml that a file imports when it runs, below the package; a name of a module counts as one."""
    checked = {each for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
               for each in ast.walk(node)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in checked:
            if node.module == "cloudml":
                yield from (each.name for each in node.names)
            elif node.module and node.module.startswith("cloudml."):
                yield node.module.removeprefix("cloudml.")
