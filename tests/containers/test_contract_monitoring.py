"""A scheduled run of a monitor as Azure ML starts it: a shell, one command line, and the data collector's folders."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE

pytest.importorskip("numpy")

from cloudml.images import Built
from cloudml.monitoring.profile import Baseline

INSIDE = "/mnt/azureml/cr/j/0f9d/cap/data-capability/wd"


def rows(shift: float) -> list[list[float]]:
    chance = random.Random(3)
    return [[chance.gauss(shift, 1)] for _ in range(300)]


def test_azure_starts_a_monitor(start: Callable[..., Any], plain: Built, tmp_path: Path, nonce: str) -> None:
    (tmp_path / "given").mkdir()
    baseline = Baseline.from_rows(rows(0), ["size"]).to_json()
    (tmp_path / "given" / "fraud.json").write_text(json.dumps({"baseline": baseline}))
    kept = tmp_path / "captured" / "blue-1a2b3c4d" / "request" / "2026" / "11" / "20"
    kept.mkdir(parents=True)
    about = {"specversion": "1.0", "type": "azureml.inference.request", "time": "2026-11-20T10:00:00+00:00"}
    lines = [{**about, "correlationid": str(n), "data": {"instances": [row]}} for n, row in enumerate(rows(3))]
    (kept / "10.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "runs").mkdir(mode=0o777)
    (tmp_path / "runs").chmod(0o777)
    line = (
        f"cloudml-entrypoint monitor --baseline {INSIDE}/INPUT_baseline/fraud.json --captured {INSIDE}/INPUT_captured"
    )
    line += f" --output {INSIDE}/runs --endpoint fraud-api --model fraud:{nonce[:8]} --limit psi=0.2 --min-samples 50"
    ran = start(
        plain.name,
        line,
        entrypoint=["/bin/bash", "-c"],
        volumes={
            str(tmp_path / "given"): {"bind": f"{INSIDE}/INPUT_baseline", "mode": "ro"},
            str(tmp_path / "captured"): {"bind": f"{INSIDE}/INPUT_captured", "mode": "ro"},
            str(tmp_path / "runs"): {"bind": f"{INSIDE}/runs", "mode": "rw"},
        },
        environment={"AZUREML_RUN_ID": "fraud-api-1", "CLOUDML_PLATFORM": "azureml"},
    )
    assert ran.wait(timeout=DEADLINE)["StatusCode"] == 0, ran.logs().decode()
    (path,) = (tmp_path / "runs").iterdir()
    found = json.loads(path.read_text())
    assert (found["model"], found["report"]["verdict"]) == (f"fraud:{nonce[:8]}", "drift")
    assert found["report"]["samples"] == 300
