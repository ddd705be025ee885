"""How the command line starts: quick, because it imports little; the same as a module and as a script."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cloudml import __version__

pytestmark = pytest.mark.minimal
HEAVY = ("pydantic", "yaml", "tenacity", "numpy", "importlib.metadata", "sqlite3", "asyncio", "ssl", "cloudml.spi")
LOADED = """
import json, sys
from cloudml.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert end.code == 0, end.code
print(json.dumps(sorted(sys.modules)))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_nothing_heavy(argument: str) -> None:
    result = python("-c", LOADED.format(arguments=[argument]))
    assert result.returncode == 0, result.stderr
    modules = json.loads(result.stdout.splitlines()[-1])
    assert "click" in modules
    assert [name for name in HEAVY if name in modules] == []


def test_the_module_is_the_command() -> None:
    assert python("-m", "cloudml", "--version").stdout == f"cloudml {__version__}\n"
    assert python("-m", "cloudml", "plan", "--help").stdout.startswith("Usage: cloudml plan [OPTIONS]\n")


def test_an_interrupt_while_the_command_line_is_loaded_ends_without_a_traceback() -> None:
    interrupted = "import sys; sys.modules['cloudml.cli'] = type('M', (), {'__getattr__': property(stop)})()"
    line = f"def stop(self): raise KeyboardInterrupt\n{interrupted}\nfrom cloudml.__main__ import run; run()"
    done = python("-c", line)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plann"], "error: there is no command 'plann'; did you mean 'plan'?\n  hint: 'cloudml --help' shows how\n"),
        (["-e", "prod", "plan"], "  hint: flags stand after the command: 'cloudml plan -e prod'\n"),
        (["jobs"], "Usage: cloudml jobs [OPTIONS] COMMAND [ARGS]..."),
        ([], "Usage: cloudml [OPTIONS] COMMAND [ARGS]..."),
    ],
)
def test_what_is_no_command_ends_with_2(arguments: list[str], says: str) -> None:
    result = python("-m", "cloudml", *arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stdout == ""
