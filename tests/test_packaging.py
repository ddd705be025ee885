"""The package as others meet it: quick to import, complete, typed, and installed from pins that hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest

import cloudml

pytestmark = pytest.mark.minimal

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("asyncio", "click", "httptools", "numpy", "orjson", "pydantic", "tenacity", "typing", "uvloop", "yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = sorted((ROOT / "requirements").glob("*.txt"))


def test_importing_cloudml_loads_nothing_heavy() -> None:
    program = f"import sys, json, cloudml; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("name", cloudml.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(cloudml, name) is not None
    assert name in dir(cloudml)


def test_public_names_are_those_that_type_checkers_see() -> None:
    seen = re.findall(r"^    from \S+ import \w+ as (\w+)$", Path(cloudml.__file__).read_text(), re.MULTILINE)
    assert sorted([*seen, "__version__"]) == sorted(cloudml.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'cloudml' has no attribute 'conect'"):
        cloudml.conect  # noqa: B018


def test_a_library_that_nobody_configured_logs_nowhere() -> None:
    program = "import cloudml, logging; logging.getLogger('cloudml.somewhere').warning('not for stderr')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_package_is_marked_as_typed() -> None:
    assert Path(cloudml.__file__).with_name("py.typed").is_file()


def test_the_local_provider_is_reached_by_its_entry_point() -> None:
    (entry,) = entry_points(group="cloudml.providers", name="local")
    assert entry.load().name == "local"


def test_all_is_serve_and_every_sdk() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.removeprefix("cloudml-sdk[").removesuffix("]").split(","))
    assert named == set(extras) - {"all", "emulators"}


def test_what_is_installed_declares_what_pyproject_says() -> None:
    names = {re.split(r"\W", line)[0].lower() for line in requires("cloudml-sdk") or () if "extra ==" not in line}
    assert names == {re.split(r"\W", line)[0].lower() for line in PROJECT["project"]["dependencies"]}


@pytest.mark.parametrize("file", PINS, ids=lambda file: file.stem)
def test_pins_are_exact_hashed_and_without_an_address(file: Path) -> None:
    text = re.sub(r"^\s*#.*$", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line.strip()]
    assert requirements
    for line in requirements:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+( ; .+?)?(\s+--hash=sha256:[0-9a-f]{64})+$", line), line
    assert "://" not in file.read_text()
    assert "--index" not in file.read_text()


def test_every_pins_file_has_its_source() -> None:
    assert {file.stem for file in PINS} == {file.stem for file in (ROOT / "requirements").glob("*.in")}
