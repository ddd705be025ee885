"""Drift of 1 M against 1 M rows, 20 numeric and 5 categorical columns: ours beside its peers, in one run.

Run: ``python benchmarks/drift.py [rows] [--evidently PYTHON]``. Each contender gets a process of its own, which makes
the same data and prints CPU seconds (user and system, all threads) and how far its peak memory rose above the data
(Linux: VmHWM, set back before the run). Needs scipy and pandas, which are development dependencies. PYTHON is that of
an environment of its own with ``evidently`` and ``"pandas<3"`` (0.7.23 cannot be imported with pandas 3); each of
Evidently's runs then ends with how many times our CPU seconds it took.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

PATHS = ("ours", "ours, stored baseline", "ours, text as objects", "scipy by hand")
EVIDENTLY = {
    "evidently, its defaults": {},  # Wasserstein and Jensen-Shannon
    "evidently, psi": {"num_method": "psi", "cat_method": "psi"},
}


def frame(rows: int, seed: int, shift: float, text: bool) -> pd.DataFrame:
    """Normal, lognormal, integer and exponential columns, and categories of 5 to 500 values."""
    random = np.random.default_rng(seed)
    makers = (
        lambda: random.normal(50 + shift, 10, rows),
        lambda: random.lognormal(shift / 20, 1, rows),
        lambda: random.poisson(40 + shift, rows).astype(np.float64),
        lambda: random.exponential(3 + shift / 5, rows),
    )
    found: dict[str, object] = {f"n{at}": makers[at % 4]() for at in range(20)}
    for at, size in enumerate((5, 10, 50, 100, 500)):
        categories = pd.Categorical.from_codes(random.integers(0, size, rows), [f"value-{i}" for i in range(size)])
        found[f"c{at}"] = np.asarray(categories, dtype=object) if text else categories
    return pd.DataFrame(found)


def ours(reference: pd.DataFrame, window: pd.DataFrame, stored: object) -> dict[str, float]:
    from cloudml.monitoring import Baseline, check

    baseline = stored if isinstance(stored, Baseline) else Baseline.from_rows(reference)
    report = check(baseline, baseline.window(window), {"psi": 0.2, "ks": 0.1, "wasserstein_normalized": 0.1})
    first = report.features[0].statistics
    return {"psi": first["psi"], "ks": first["ks"], "wasserstein": first["wasserstein_normalized"]}


def by_hand(reference: pd.DataFrame, window: pd.DataFrame, stored: object) -> dict[str, float]:
    """The same statistics as people write them: ks_2samp, wasserstein_distance, chi2_contingency, digitised PSI."""
    from scipy import stats

    found: dict[str, dict[str, float]] = {}
    for name in reference.columns:
        a, b = reference[name], window[name]
        if a.dtype == np.float64:
            x, y = a.to_numpy(), b.to_numpy()
            edges = np.unique(np.quantile(x, np.linspace(0.1, 0.9, 9)))
            p = np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1) / len(x)
            q = np.bincount(np.searchsorted(edges, y), minlength=len(edges) + 1) / len(y)
            found[name] = {
                "psi": float(((q - p) * np.log(q / p)).sum()),
                "ks": float(stats.ks_2samp(x, y, method="asymp").statistic),
                "wasserstein": float(stats.wasserstein_distance(x, y) / x.std()),
            }
        else:
            table = pd.concat([a.value_counts(), b.value_counts()], axis=1).fillna(0).to_numpy()
            table = table[table.sum(axis=1) > 0]
            found[name] = {"chi_squared": float(stats.chi2_contingency(table).statistic)}
    return found["n0"]


def evidently(reference: pd.DataFrame, window: pd.DataFrame, options: dict[str, str]) -> dict[str, float]:
    """Its drift preset, read as a dict, as ours is read as a report; no HTML is made by either."""
    from evidently import DataDefinition, Dataset  # type: ignore[import-not-found, unused-ignore]
    from evidently import Report as EvidentlyReport
    from evidently.presets import DataDriftPreset  # type: ignore[import-not-found, unused-ignore]

    names = list(reference.columns)
    definition = DataDefinition(
        numerical_columns=[name for name in names if name.startswith("n")],
        categorical_columns=[name for name in names if name.startswith("c")],
    )
    both = [Dataset.from_pandas(frame, data_definition=definition) for frame in (window, reference)]
    metrics = EvidentlyReport([DataDriftPreset(**options)]).run(*both).dict()["metrics"]
    first = next(each for each in metrics if each["config"].get("column") == "n0")
    return {options.get("num_method", "wasserstein"): float(first["value"])}


def contender(path: str, rows: int) -> None:
    text = path == "ours, text as objects"
    reference, window = frame(rows, 1, 0.0, text), frame(rows, 2, 3.0, text)
    stored: object = None
    if path == "ours, stored baseline":
        from cloudml.monitoring import Baseline

        stored = Baseline.from_rows(reference)
    if path in EVIDENTLY:
        stored = EVIDENTLY[path]
    run: Callable[..., dict[str, float]] = (
        evidently if path in EVIDENTLY else by_hand if path == "scipy by hand" else ours
    )
    run(reference[:1000], window[:1000], stored if path in EVIDENTLY else None)  # imports are not what is measured
    ctypes.CDLL(None).malloc_trim(0)  # what making the data left free must not hide what the run takes
    Path("/proc/self/clear_refs").write_text("5")
    base = memory_mb("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    result = run(reference, window, stored)
    seconds = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    print(json.dumps({"path": path, **seconds, "peak_above_data_mb": memory_mb("VmHWM") - base, **result}))


def memory_mb(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def measured(python: str, path: str, rows: int) -> dict[str, object]:
    command = [python, __file__, str(rows), "--contender", path]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, object] = json.loads(lines[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--evidently", metavar="PYTHON", help="the Python of an environment that has it")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        return contender(given.contender, given.rows)
    cpu = 0.0
    for path in (*PATHS, *(EVIDENTLY if given.evidently else ())):
        found = measured(given.evidently if path in EVIDENTLY else sys.executable, path, given.rows)
        seconds = float(str(found["cpu_s"]))
        cpu = cpu or seconds  # the first is ours
        print(json.dumps(found | {"times_our_cpu": round(seconds / cpu, 1)}), flush=True)
    return None


if __name__ == "__main__":
    main()
