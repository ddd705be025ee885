"""What a training script may ask about the job that it is, and how it reports a metric. Standard library only."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudml.runtime.metric_lines import Metric, append, render


@dataclass(frozen=True)
class JobContext:
    """One run of a job, as its own process sees it; outside any job, local defaults below ``./output``."""

    id: str
    name: str
    attempt: int
    params: Mapping[str, Any]
    inputs: Mapping[str, Path]
    model_dir: Path
    output_dir: Path
    checkpoint_dir: Path
    node_rank: int
    num_nodes: int

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Report one number; see the function of the same name."""
        log_metric(name, value, step)


def context() -> JobContext:
    """The job that this process belongs to, from the ``CLOUDML_*`` variables; its folders exist when this returns."""
    env = os.environ
    output = Path(env.get("CLOUDML_OUTPUT_DIR", "output")).absolute()
    found = JobContext(
        id=env.get("CLOUDML_JOB_ID", "local"),
        name=env.get("CLOUDML_JOB_NAME", "local"),
        attempt=int(env.get("CLOUDML_ATTEMPT", "1")),
        params=_object(env.get("CLOUDML_PARAMS")),
        inputs={name: Path(path) for name, path in _object(env.get("CLOUDML_INPUTS")).items()},
        model_dir=Path(env.get("CLOUDML_MODEL_DIR", str(output / "model"))),
        output_dir=output,
        checkpoint_dir=Path(env.get("CLOUDML_CHECKPOINT_DIR", str(output / "checkpoints"))),
        node_rank=int(env.get("CLOUDML_NODE_RANK", "0")),
        num_nodes=int(env.get("CLOUDML_NUM_NODES", "1")),
    )
    for folder in (found.output_dir, found.model_dir, found.checkpoint_dir):
        folder.mkdir(parents=True, exist_ok=True)
    return found


def log_metric(name: str, value: float, step: int | None = None) -> None:
    """Report one number, as a line on stdout that the job's runtime records; outside any job it is recorded at once.

    Raises ValueError when the name has other characters than letters, digits and ``_ . / -``.
    """
    metric = Metric(name, float(value), None if step is None else int(step), time.time())
    sys.stdout.write(render(metric) + "\n")
    sys.stdout.flush()
    if "CLOUDML_JOB_ID" not in os.environ:
        append(Path(os.environ.get("CLOUDML_OUTPUT_DIR", "output")) / "metrics.jsonl", [metric])


def _object(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}
