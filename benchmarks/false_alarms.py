"""How often a drift-free window is called drifted: 30 features, reference and windows from one distribution.

Run: ``python benchmarks/false_alarms.py [repetitions]``. Two settings: the default thresholds, and every threshold
at zero, where only the guard against chance decides (the stated rate is 1 %).
"""

from __future__ import annotations

import sys

import numpy as np

from cloudml.monitoring import Baseline, check
from cloudml.monitoring.checks import DRIFT_STATISTICS, QUALITY_STATISTICS

ZERO = dict.fromkeys((*DRIFT_STATISTICS, *QUALITY_STATISTICS), 0.0)
REFERENCE = (500, 10_000)
WINDOWS = (200, 500, 1000, 5000)


def rows(random: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Normal, heavy-tailed, integer, zero-inflated with missing values, and categories with a long tail."""
    found: dict[str, np.ndarray] = {}
    for at in range(6):
        found[f"normal{at}"] = random.normal(at, at + 1, count)
        found[f"lognormal{at}"] = random.lognormal(0, 1.5, count)
        found[f"integer{at}"] = random.poisson(3 + 5 * at, count)
        sparse = np.where(random.random(count) < 0.7, 0.0, random.exponential(size=count))
        found[f"sparse{at}"] = np.where(random.random(count) < 0.1, np.nan, sparse)
        shares = 1 / np.arange(1, 5 + 20 * at + 1)
        found[f"category{at}"] = random.choice([f"c{i}" for i in range(len(shares))], count, p=shares / shares.sum())
    return found


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    random = np.random.default_rng(7)
    for size in REFERENCE:
        for window in WINDOWS:
            alarms = {"default": 0, "zero": 0}
            blame: dict[str, int] = {}
            for _ in range(repetitions):
                baseline = Baseline.from_rows(rows(random, size))
                profile = baseline.window(rows(random, window))
                alarms["default"] += check(baseline, profile).drifted
                report = check(baseline, profile, ZERO)
                alarms["zero"] += report.drifted
                for finding in report.findings[:1]:
                    key = f"{finding.statistic} of {str(finding.feature).rstrip('0123456789')}"
                    blame[key] = blame.get(key, 0) + 1
            rates = "  ".join(f"{name} thresholds {count / repetitions:.2%}" for name, count in alarms.items())
            print(f"reference {size:6}  window {window:5}  {rates}  {blame or ''}", flush=True)


if __name__ == "__main__":
    main()
