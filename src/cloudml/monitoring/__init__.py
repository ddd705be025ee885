"""Drift: profiles that merge exactly, statistics from two of them, a verdict with reasons.

Importing this package loads nothing heavy; the first name taken from it imports numpy, and a missing numpy
is :class:`cloudml.errors.MissingExtra`. The terminal's table is ``cloudml.monitoring.table.table``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudml.monitoring.captured import Traffic, rows_from_records, traffic_from_records
    from cloudml.monitoring.checks import Thresholds, check
    from cloudml.monitoring.columns import Encoded
    from cloudml.monitoring.csv_file import read_csv
    from cloudml.monitoring.features import Feature, Kind
    from cloudml.monitoring.profile import Baseline, Profile
    from cloudml.monitoring.report import FeatureReport, Finding, Report, Verdict, report_from_json
    from cloudml.monitoring.run import Comparison, compare

_HOME = {
    "Baseline": "profile",
    "Profile": "profile",
    "Feature": "features",
    "Kind": "features",
    "Encoded": "columns",
    "read_csv": "csv_file",
    "Thresholds": "checks",
    "check": "checks",
    "FeatureReport": "report",
    "Finding": "report",
    "Report": "report",
    "Verdict": "report",
    "report_from_json": "report",
    "Comparison": "run",
    "compare": "run",
    "Traffic": "captured",
    "rows_from_records": "captured",
    "traffic_from_records": "captured",
}

__all__ = [
    "Baseline",
    "Comparison",
    "Encoded",
    "Feature",
    "FeatureReport",
    "Finding",
    "Kind",
    "Profile",
    "Report",
    "Thresholds",
    "Traffic",
    "Verdict",
    "check",
    "compare",
    "read_csv",
    "report_from_json",
    "rows_from_records",
    "traffic_from_records",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
