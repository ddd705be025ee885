"""The pytest plugin of cloudml: emulated clouds for tests, and a last line on the kill points of the contracts.

    def test_pipeline(emulated_cloud):                 runs once per provider: --cloud sagemaker --cloud vertex, or
        cloud = emulated_cloud.connect("fraud")        ``cloudml_clouds`` in the ini file, or all that are installed

Names are imported on use: pytest loads this module wherever cloudml is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cloudml.emulation.running import Running
    from cloudml.testing.emulated import EmulatedCloud

CLOUDS = "cloudml_clouds"
FIXTURE = "emulated_cloud"


def pytest_addoption(parser: pytest.Parser) -> None:
    said = "a provider whose emulated cloud tests run against; again for more, all that are installed by default"
    parser.getgroup("cloudml").addoption("--cloud", action="append", dest=CLOUDS, metavar="PROVIDER", help=said)
    parser.addini(CLOUDS, "providers whose emulated clouds tests run against", type="args", default=[])


def _clouds(config: pytest.Config) -> list[str]:
    asked: list[str] = config.getoption(CLOUDS) or config.getini(CLOUDS)
    if asked:
        return asked
    from cloudml import plugins

    return plugins.emulated()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if FIXTURE in metafunc.fixturenames:
        metafunc.parametrize(FIXTURE, _clouds(metafunc.config), indirect=True)


@pytest.fixture(scope="session")
def emulation(pytestconfig: pytest.Config) -> Iterator[Running]:
    """The emulated clouds, in this process, from the first test that needs one to the end of the session."""
    from cloudml.testing import emulated

    with (
        emulated.environment({}),  # the SDKs inside the emulators would heed a real account's variables
        emulated.start_named(_clouds(pytestconfig)) as running,
        emulated.environment(running.environment),
    ):
        yield running


@pytest.fixture
def emulated_cloud(
    request: pytest.FixtureRequest, emulation: Running, monkeypatch: pytest.MonkeyPatch
) -> EmulatedCloud:
    """One emulated cloud, in an account of the test's own where the cloud has several; no fault is ordered."""
    from cloudml.testing.emulated import EmulatedCloud

    found = EmulatedCloud(request.param, emulation)
    found.faults.clear()
    for name, value in emulation.clouds[found.provider].cloud.account().items():
        monkeypatch.setenv(name, value)
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sums what the walks recorded; under xdist too, since properties travel with the reports."""
    walks = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in getattr(report, "user_properties", [])
        if name == "kill points" and report.when == "call"
    ]
    if walks:
        terminalreporter.write_line(f"cloudml: {sum(walks)} kill points walked in {len(walks)} scenarios")
