"""What is known of a model version besides its files: its signature, a sample, its baseline profile, its metrics.

The sidecar is a document of its own, so that an artifact is never packed again. Its ``inputs`` are the signature that
the server enforces: ``[{"name", "dtype": "float" | "int" | "str" | "bool"}]``, its ``digest`` what a server that
reads it trusts: the model's files as they were registered. Its ``lineage`` says what the version
was made from: ``job``, ``source`` and ``data`` by their digests, ``params``, and ``requirements``, the exact pins of
the libraries that were there.
"""

from __future__ import annotations

import csv
import difflib
import itertools
import json
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudml import content
from cloudml.artifacts import read_document
from cloudml.content import MANIFEST
from cloudml.errors import ConfigError, GateFailed, NotFound, RunFailed
from cloudml.specs import Baseline, Model, TrainingJob
from cloudml.spi import Artifacts
from cloudml.states import State

LOOKED_AT = 1000  # rows of the baseline that decide a column's type
COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}


def folder(stack: str, family: str) -> str:
    """Where the sidecars of a family lie."""
    return f"{stack}/models/{family}"


def key(stack: str, family: str, digest: str) -> str:
    """Where the sidecar of a version lies."""
    return f"{folder(stack, family)}/{digest}.json"


def image_key(stack: str, family: str, digest: str) -> str:
    """Where it is kept which image was built with a version and pushed last."""
    return f"{folder(stack, family)}/{digest}.image.json"


def read(store: Artifacts, stack: str, family: str, digest: str) -> Mapping[str, Any]:
    """The sidecar of a version; empty if there is none."""
    return read_document(store, key(stack, family, digest)) or {}


def build(family: str, digest: str, spec: Model, planned: Model, facts: Mapping[str, Any]) -> bytes:
    """The sidecar, the same bytes whoever makes it and when; reads the baseline, so it is made only to be stored."""
    rows = sample(planned)
    value = {
        "schema_version": 1,
        "family": family,
        "hash": digest,
        "origin": planned.from_ or planned.path,
        "inputs": signature(spec.baseline, rows),
        "sample": rows,
        "baseline": profile(spec.baseline),
        "data": planned.baseline.data if planned.baseline else None,
        "digest": facts.get("digest") or _digest(spec.path),
        "metrics": dict(facts.get("metrics", {})),
        "lineage": dict(facts.get("lineage", {})),
    }
    return json.dumps(value, sort_keys=True).encode()


def facts(store: Artifacts, state: State, job: TrainingJob | None) -> dict[str, Any]:
    """What a run is recorded with: its metrics, and what it was made from; ``job`` is its planned spec."""
    lineage: dict[str, Any] = {"job": state.key.name}
    if job is not None:
        lineage |= {"source": job.source, "data": dict(job.inputs), "params": dict(job.params)}
        lineage["command"] = job.command if isinstance(job.command, str) else list(job.command)
    manifest = _manifest(store, f"{model}/{MANIFEST}") if (model := state.facts.get("model")) else {}
    lineage |= {name: manifest[name] for name in ("requirements", "python", "flavor") if name in manifest}
    known = {name: state.facts[name] for name in ("model", "metrics") if name in state.facts}
    return {**known, "digest": manifest.get("digest"), "lineage": lineage}


def _manifest(store: Artifacts, uri: str) -> dict[str, Any]:
    """A model folder's manifest; empty if it has none that can be read here."""
    try:
        with store.open(uri) as file:
            found: dict[str, Any] = json.load(file)
    except (NotFound, ValueError):
        return {}
    return found


def _digest(path: str | None) -> str | None:
    """What a server compares the model's files with before it loads a pickle; None for what is not a folder here."""
    return content.digest(Path(path), (MANIFEST,)) if path and Path(path).is_dir() else None


def sample(spec: Model) -> list[Any] | None:
    """The sample input as rows; a path is read as JSON."""
    if not isinstance(spec.sample_input, str):
        return spec.sample_input
    try:
        rows = json.loads(Path(spec.sample_input).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"sample_input {spec.sample_input}: {error}") from error
    if not isinstance(rows, list):
        raise ConfigError(f"sample_input {spec.sample_input}: a list of rows is needed")
    return rows


def signature(baseline: Baseline | None, rows: Sequence[Any] | None) -> list[dict[str, str]] | None:
    """Names and types of the features: from the baseline's columns, else from the sample's first row."""
    if baseline:
        with open(baseline.data, newline="") as file:
            table = csv.reader(file)
            names = next(table, [])
            columns = list(zip(*itertools.islice(table, LOOKED_AT), strict=False))
        types = map(_dtype, columns)
        return [
            {"name": name, "dtype": dtype} for name, dtype in zip(names, types, strict=False) if name != baseline.target
        ]
    if not rows:
        return None
    first = rows[0]
    cells = first.items() if isinstance(first, Mapping) else ((f"feature_{at}", cell) for at, cell in enumerate(first))
    return [{"name": name, "dtype": _TYPES.get(type(cell), "float")} for name, cell in cells]


def _columns(family: str, path: str) -> list[str]:
    """A baseline's columns. ConfigError if the file has no line of names, or no row below it."""
    where, hint = f"model {family}: the baseline {path}", "a CSV file whose first line names the columns"
    try:
        with open(path, newline="") as file:
            table = csv.reader(file)
            columns, first = next(table, []), next(table, None)
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{where} is not text: {error}", hint=hint) from error
    if not columns or first is None:
        missing = "no rows below its line of names" if columns else "nothing in it"
        raise ConfigError(f"{where} has {missing}", hint=hint)
    return columns


def check_files(family: str, spec: Model) -> None:
    """ConfigError if the baseline's file is no table, lacks the columns that are named, or the sample has others."""
    baseline = spec.baseline
    if baseline is None or not Path(baseline.data).is_file():
        return
    columns = _columns(family, baseline.data)
    for name in (*((baseline.target,) if baseline.target else ()), *baseline.categorical):
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"its columns: {', '.join(columns)}"
            raise ConfigError(f"model {family}: the baseline {baseline.data} has no column {name!r}", hint=hint)
    features = [name for name in columns if name != baseline.target]
    for at, row in enumerate(sample(spec) or ()):
        if isinstance(row, list | dict) and not _fits(row, features):
            raise ConfigError(
                f"model {family}: row {at} of sample_input has {len(row)} values, which are not the {len(features)} "
                f"features of its baseline {baseline.data}",
                hint=f"they are {', '.join(features)}",
            )


def _fits(row: list[Any] | dict[str, Any], features: Sequence[str]) -> bool:
    return set(row) == set(features) if isinstance(row, dict) else len(row) == len(features)


def profile(baseline: Baseline | None) -> dict[str, Any] | None:
    """The profile that live traffic is compared with; needs the extra ``serve``."""
    if baseline is None:
        return None
    from cloudml.monitoring.profile import Baseline as Reference

    made: dict[str, Any] = Reference.from_csv(
        baseline.data, target=baseline.target, categorical=baseline.categorical
    ).to_json()
    return made


def admit(family: str, gates: Iterable[str], facts: Mapping[str, Any]) -> None:
    """RunFailed for a run that left no model; GateFailed unless every gate (``auc >= 0.90``) holds for its metrics."""
    if facts.get("model", "") is None:
        hint = "it must write to the folder that {model_dir} and CLOUDML_MODEL_DIR name"
        raise RunFailed(f"model {family}: the run left no model", hint=hint)
    metrics: Mapping[str, float | None] = facts.get("metrics", {})  # None is what was logged and is no number
    for gate in gates:
        name, comparison, bound = re.fullmatch(r"\s*([\w.-]+)\s*(>=|<=|>|<|==)\s*(\S+)\s*", gate).groups()  # type: ignore[union-attr]
        if name not in metrics:
            known = ", ".join(sorted(metrics)) or "none"
            raise GateFailed(
                f"model {family}: gate '{gate}': the run has no metric {name}", hint=f"its metrics: {known}"
            )
        value = metrics[name]
        if value is None or not COMPARISONS[comparison](value, float(bound)):
            found = "not a number" if value is None else f"{value:g}"
            raise GateFailed(f"model {family}: gate '{gate}' failed: {name} is {found}; it is not registered")


_TYPES = {bool: "bool", int: "float", float: "float", str: "str"}


def _dtype(cells: Sequence[str]) -> str:
    return "float" if all(not cell or _number(cell) for cell in cells) else "str"


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
