"""``monitor``: one run of a drift monitor over captured requests, wherever it is scheduled.

    cloudml-entrypoint monitor --baseline sidecar.json --captured folder --output folder --limit psi=0.2

Without options it keeps to SageMaker's contract for monitoring containers: ``dataset_source``, ``output_path``,
``baseline_statistics`` (here a sidecar or a baseline of cloudml), ``start_time``, ``end_time`` and
``publish_cloudwatch_metrics``; limits come as ``CLOUDML_LIMITS={"psi": 0.2}``, ``CLOUDML_ENDPOINT`` and
``CLOUDML_MODEL`` say what the run was of, ``CLOUDML_SINCE`` since when, ``CLOUDML_WITHOUT`` without which deployments'
folders (as ``--without``, names or patterns). On Azure it is a schedule's command.

It writes ``report.json``, ``report.html``, ``statistics.json`` and ``constraint_violations.json``; with ``--endpoint``
and ``--model`` the one document by which ``cloudml monitors history`` knows the run, named by its time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from cloudml.errors import ConfigError
from cloudml.monitoring import constraint_files, kept
from cloudml.monitoring.checks import MIN_SAMPLES
from cloudml.monitoring.report import Report
from cloudml.monitoring.run import Comparison, compare
from cloudml.runtime.captured import Records, seconds

DRIFTED = 7  # as the command line ends with --fail-on drift
OUTPUT = "opt/ml/output"  # SageMaker's: a message that becomes the job's, and metrics for CloudWatch
HINT = "monitor --baseline FILE --captured FOLDER --output FOLDER [--limit psi=0.2]"


@dataclass(frozen=True)
class Asked:
    """One run; ``start`` and ``end`` in seconds since 1970."""

    baseline: Path
    captured: Path
    output: Path
    limits: Mapping[str, float]
    min_samples: int
    start: float | None
    end: float | None
    fail: bool = False
    publish: bool = False
    redacted: tuple[str, ...] = ()
    endpoint: str | None = None
    model: str | None = None
    without: tuple[str, ...] = ()


def monitor(options: Sequence[str], root: Path = Path("/")) -> int:
    """Compare and write. Returns 0, or 7 for drift where ``--fail-on drift`` was given. Raises ConfigError."""
    asked = _from_options(options) if options else from_environment(os.environ)
    records = Records(asked.captured, asked.start, asked.end, asked.without)
    found = compare(_baseline(asked.baseline), records, asked.limits, asked.min_samples, redacted=asked.redacted)
    _write(asked.output, _documents(asked, found))
    if records.unreadable:
        sys.stderr.write(f"cloudml: {records.unreadable} captured lines could not be read\n")
    _tell_sagemaker(found.report, root, asked.publish)
    sys.stdout.write(f"{found.report.verdict}\n" + "".join(f"  {reason}\n" for reason in found.report.reasons))
    return DRIFTED if asked.fail and found.report.drifted else 0


def from_environment(env: Mapping[str, str]) -> Asked:
    """What SageMaker says. Raises ConfigError for what is missing."""
    named = {name: env.get(name, "") for name in ("baseline_statistics", "dataset_source", "output_path")}
    if missing := [name for name, value in named.items() if not value]:
        raise ConfigError(f"neither options nor the variable {missing[0]} say what to compare", hint=HINT)
    try:
        limits = {name: float(value) for name, value in json.loads(env.get("CLOUDML_LIMITS") or "{}").items()}
        samples = int(env.get("CLOUDML_MIN_SAMPLES") or MIN_SAMPLES)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"CLOUDML_LIMITS or CLOUDML_MIN_SAMPLES is not right: {error}") from error
    return Asked(
        baseline=Path(named["baseline_statistics"]),
        captured=Path(named["dataset_source"]),
        output=Path(named["output_path"]),
        limits=limits,
        min_samples=samples,
        start=_later(_moment(env.get("start_time")), _moment(env.get("CLOUDML_SINCE"))),
        end=_moment(env.get("end_time")),
        publish=env.get("publish_cloudwatch_metrics") == "Enabled",
        endpoint=env.get("CLOUDML_ENDPOINT"),
        model=env.get("CLOUDML_MODEL"),
        without=tuple(filter(None, env.get("CLOUDML_WITHOUT", "").split(","))),
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"monitor: {message}", hint=HINT)


def _from_options(options: Sequence[str]) -> Asked:
    parser = _Parser(prog="monitor", add_help=False)
    for name in ("--baseline", "--captured", "--output"):
        parser.add_argument(name, required=True, type=Path)
    parser.add_argument("--limit", action="append", default=[])
    parser.add_argument("--min-samples", type=int, default=MIN_SAMPLES)
    parser.add_argument("--window", type=float)
    parser.add_argument("--redacted", action="append", default=[])
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--endpoint")
    parser.add_argument("--model")
    parser.add_argument("--start")
    parser.add_argument("--end")
    parser.add_argument("--fail-on", choices=["drift"])
    given = parser.parse_args(list(options))
    if (given.endpoint is None) != (given.model is None):
        parser.error("--endpoint and --model, together, say what a run that is kept was of")
    return Asked(
        baseline=given.baseline,
        captured=given.captured,
        output=given.output,
        limits=dict(_limit(text) for text in given.limit),
        min_samples=given.min_samples,
        start=_later(_moment(given.start), time.time() - given.window if given.window else None),
        end=_moment(given.end),
        fail=given.fail_on == "drift",
        redacted=tuple(given.redacted),
        without=tuple(given.without),
        endpoint=given.endpoint,
        model=given.model,
    )


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(f"--limit {text!r} is not NAME=NUMBER", hint=HINT) from None


def _moment(text: str | None) -> float | None:
    try:
        return seconds(text) if text else None
    except ValueError:
        raise ConfigError(f"{text!r} is not a time: 2026-11-22T20:00:00Z") from None


def _baseline(place: Path) -> Mapping[str, Any]:
    """A baseline, or that of a sidecar; of a folder, its only file. Raises ConfigError."""
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    if len(files) != 1:
        raise ConfigError(f"{place} holds {len(files)} files, and one baseline is wanted")
    try:
        found = json.loads(files[0].read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the baseline {files[0]} is not readable: {error}") from error
    baseline = found.get("baseline", found) if isinstance(found, dict) else None
    if not isinstance(baseline, dict) or "profile" not in baseline:
        raise ConfigError(
            f"{files[0]} is no baseline of cloudml, and no sidecar with one",
            hint="register the model with baseline=, and give the version's sidecar here",
        )
    return baseline


def _later(one: float | None, other: float | None) -> float | None:
    found = [moment for moment in (one, other) if moment is not None]
    return max(found, default=None)


def _documents(asked: Asked, found: Comparison) -> dict[str, str]:
    """Texts by the names of their files; where SageMaker shows its own, they are there besides the run."""
    run = {}
    if asked.endpoint and asked.model:
        name, document = kept.of(asked.endpoint, asked.model, found)
        run = {f"{name}.json": json.dumps(document)}
        if not asked.publish:
            return run
    return run | {
        "report.json": json.dumps(found.report.to_json(), indent=2),
        "report.html": found.html(),
        "statistics.json": json.dumps(constraint_files.statistics(found.baseline, found.profile), indent=2),
        "constraint_violations.json": json.dumps(constraint_files.violations(found.report), indent=2),
    }


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        unfinished = folder / f".{name}.{os.getpid()}"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / name)


def _tell_sagemaker(report: Report, root: Path, publish: bool) -> None:
    """The job's message, by which a run counts as completed with violations, and one line a metric."""
    output = root / OUTPUT
    if not output.is_dir():
        return
    if report.findings:
        count = len(report.findings)
        message = f"CompletedWithViolations: Job completed successfully with {count} violations."
        (output / "message").write_text(message, encoding="utf-8")
    if publish:
        folder = output / "metrics/cloudwatch"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cloudwatch_metrics.jsonl").write_text("".join(_metrics(report, root)), encoding="utf-8")


def _metrics(report: Report, root: Path) -> list[str]:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    config = root / "opt/ml/config/processingjobconfig.json"
    env = json.loads(config.read_text()).get("Environment", {}) if config.is_file() else os.environ
    named = {
        "Endpoint": env.get("sagemaker_endpoint_name"),
        "MonitoringSchedule": env.get("sagemaker_monitoring_schedule_name"),
    }
    dimensions = [{"Name": name, "Value": value} for name, value in named.items() if value]
    lines = []
    for feature in report.features:
        value = feature.statistics.get("ks", feature.statistics.get("l_infinity"))
        if value is not None:
            metric = {"MetricName": f"feature_baseline_drift_{feature.name}", "Timestamp": now}
            lines.append(json.dumps({**metric, "Dimensions": dimensions, "Value": value}) + "\n")
    return lines
