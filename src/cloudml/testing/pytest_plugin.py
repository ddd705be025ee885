"""The pytest plugin of the contracts: says at the end how many kill points were walked."""

from __future__ import annotations

import pytest


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
