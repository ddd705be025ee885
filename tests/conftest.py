"""What holds for every test: nothing is skipped in CI, and nothing stays behind.

A session gets a folder of its own for HOME and for temporary files, and a mark in its environment. When it ends, no
process may carry the mark or work in that folder, no file may lie outside the tests' own temporary folders, and no
process of pytest may still listen. Processes and files are looked at by the controller, after xdist's workers ended.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
CI = bool(os.environ.get("CI"))
LINUX = sys.platform == "linux"
MARK = "CLOUDML_TESTS"
CACHES = {".git", ".nox", ".venv", "__pycache__", ".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
FOLDER, BEFORE, PORTS = pytest.StashKey[Path](), pytest.StashKey[set[str]](), pytest.StashKey[set[int]]()


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI a test that does not run is a failure, unless it needs a real cloud account and says so: ``live: ...``."""
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith("live:"):
            report.outcome, report.longrepr = "failed", f"skipped in CI: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _listening() -> set[int]:
    """The ports on which this process listens."""
    if not LINUX:
        return set()
    held = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            held.add(os.readlink(descriptor))
        except OSError:
            continue  # closed since it was listed
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            _, address, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in held:
                found.add(int(address.rpartition(":")[2], 16))
    return found


def _marked(mark: str, folder: Path) -> set[str]:
    """The other processes of this session: those that inherited its mark, or that work in its folder."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark.encode() in (process / "environ").read_bytes() or Path(
                os.readlink(process / "cwd")
            ).is_relative_to(folder)
            if ours and int(process.name) != os.getpid():
                found.add(f"{process.name}: {(process / 'cmdline').read_bytes().decode(errors='replace')!r}")
        except OSError:
            continue  # ended, or somebody else's
    return found


def _files() -> set[str]:
    """The files of the checkout, without caches."""
    found = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in CACHES]
        found.update(os.path.relpath(os.path.join(folder, name), ROOT) for name in names)
    return found


def _settled(look: Callable[[], set[T]], seconds: float = 5) -> set[T]:
    """What is still there after a grace period; ends as soon as nothing is."""
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def pytest_configure(config: pytest.Config) -> None:
    config.stash[PORTS] = _listening()
    if hasattr(config, "workerinput"):
        return  # a worker of xdist, which inherits all this
    for kept in Path(tempfile.gettempdir()).glob("cloudml-tests-*"):  # kept by failed sessions, to be read
        with contextlib.suppress(FileNotFoundError):  # another session has just ended
            if time.time() - kept.stat().st_mtime > 3600:
                shutil.rmtree(kept, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="cloudml-tests-"))
    (folder / "home").mkdir()
    os.environ |= {MARK: uuid.uuid4().hex, "HOME": str(folder / "home"), "TMPDIR": str(folder)}
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    tempfile.tempdir = None  # forget the cached one
    config.stash[FOLDER], config.stash[BEFORE] = folder, _files()


def _left_behind(config: pytest.Config) -> Iterator[str]:
    folder, mark = config.stash[FOLDER], f"{MARK}={os.environ[MARK]}"
    if LINUX:
        yield from (f"process {left}" for left in _settled(lambda: _marked(mark, folder)))
    files = [path for path in folder.iterdir() if path.name != "home" and not path.name.startswith("pytest-of-")]
    yield from (f"file {left}" for left in [*files, *(folder / "home").iterdir()])
    if CI:  # elsewhere an editor or a colleague may have written it
        yield from (f"file {left}" for left in sorted(_files() - config.stash[BEFORE]))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    yield
    gc.collect()
    for port in _settled(
        lambda: _listening() - session.config.stash[PORTS], 2
    ):  # a worker tells by a file that it leaves
        Path(os.environ["TMPDIR"], f"process-{os.getpid()}-still-listens-on-port-{port}").touch()
    if FOLDER not in session.config.stash:
        return
    left = list(_left_behind(session.config))
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        report = pytest.CollectReport("what the tests left behind", "failed", "\n".join(left), [])
        if reporter:
            reporter.stats.setdefault("error", []).append(report)
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(session.config.stash[FOLDER], ignore_errors=True)
    elif reporter:
        reporter.write_line(f"\nthe tests' files are kept in {session.config.stash[FOLDER]}")
