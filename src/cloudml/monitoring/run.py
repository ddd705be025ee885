"""One run of a monitor: captured traffic in, a report out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from cloudml.monitoring.captured import traffic_from_records
from cloudml.monitoring.checks import check
from cloudml.monitoring.profile import Baseline
from cloudml.monitoring.report import Report
from cloudml.states import Captured


def run(
    baseline: Mapping[str, Any], captured: Iterable[Captured], thresholds: Mapping[str, float], min_samples: int
) -> Report:
    """Compares captured requests with a stored baseline; see :func:`cloudml.monitoring.check`.

    :raises ConfigError: an unknown statistic, or rows that do not fit the baseline.
    """
    reference = Baseline.from_json(baseline)
    records = [asdict(each) | {"time": datetime.fromisoformat(each.time).timestamp()} for each in captured]
    traffic = traffic_from_records(records)
    profile = reference.window(traffic.rows, traffic.names, traffic.predictions if reference.predicts else None)
    return check(reference, profile, thresholds, min_samples, traffic=traffic)
