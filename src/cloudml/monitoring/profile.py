"""The baseline, frozen from reference rows, and the profile of any window counted on its scale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cloudml.errors import ConfigError
from cloudml.monitoring.arrays import np
from cloudml.monitoring.columns import (
    Column,
    Rows,
    categories,
    columns,
    finite,
    length,
    looks_numeric,
    nearest,
    numbers,
)
from cloudml.monitoring.counts import Counts, count, count_categories, count_numbers, counts_from_json, merged
from cloudml.monitoring.csv_file import read_csv
from cloudml.monitoring.features import Feature, feature_from_json, freeze_categories, freeze_numbers
from cloudml.monitoring.predictions import PREDICTION, are_classes, is_prediction, prediction_columns

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Profile:
    """Counts of one window, per feature in the baseline's order; ``baseline`` is the digest of what froze the scale."""

    baseline: str
    samples: int
    counts: Mapping[str, Counts]

    def merge(self, other: Profile) -> Profile:
        """The profile of both windows' rows: exactly what counting them together gives.

        :raises ConfigError: the two were counted on different baselines.
        """
        if self.baseline != other.baseline:
            raise ConfigError("these profiles were counted on different baselines and do not merge")
        both = {name: merged(counts, other.counts[name]) for name, counts in self.counts.items()}
        return Profile(self.baseline, self.samples + other.samples, both)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value without NaN or infinity."""
        return {
            "schema_version": SCHEMA_VERSION,
            "baseline": self.baseline,
            "samples": self.samples,
            "counts": {name: counts.to_json() for name, counts in self.counts.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        _require_schema(data, "profile")
        counts = {name: counts_from_json(entry) for name, entry in data["counts"].items()}
        return cls(data["baseline"], data["samples"], counts)


@dataclass(frozen=True)
class Baseline:
    """The reference: what is frozen of each feature, and the reference's own profile on that scale."""

    features: tuple[Feature, ...]
    profile: Profile

    @classmethod
    def from_rows(
        cls,
        rows: Rows,
        names: Sequence[str] | None = None,
        categorical: Iterable[str] = (),
        target: str | None = None,
        predictions: Sequence[Any] | None = None,
    ) -> Baseline:
        """Freeze the reference.

        ``rows``: sequence of sequences or of mappings, 2-D array, mapping of columns, or DataFrame. Text and boolean
        columns, and those named in ``categorical``, are categorical; ``target`` is left out; ``predictions`` (one per
        row, or one row of several) become the pseudo features ``prediction`` or ``prediction[0], prediction[1], …``,
        categorical where they are text or few distinct whole numbers.
        :raises ConfigError: no rows, ragged rows, or a name that is no column.
        """
        found = columns(rows, names)
        asked = set(categorical)
        for name in sorted(asked | ({target} if target is not None else set())):
            if name not in found and not name.startswith(PREDICTION):
                raise ConfigError(f"there is no column {name!r}", hint=nearest(name, found))
        found = {name: column for name, column in found.items() if name != target}
        samples = max(map(length, found.values()), default=0)
        if samples == 0:
            raise ConfigError("a baseline needs at least one row and one feature")
        answers = prediction_columns(predictions, samples)
        if clash := answers.keys() & found.keys():
            raise ConfigError(f"a column is named {clash.pop()!r}, which is kept for the model's predictions")
        asked |= {name for name, column in answers.items() if are_classes(column, len(answers) == 1)}
        found |= answers
        frozen = [_freeze(name, column, name in asked) for name, column in found.items()]
        features = tuple(feature for feature, _ in frozen)
        counts = {feature.name: counted for feature, counted in frozen}
        return cls(features, Profile(_digest(features), samples, counts))

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        target: str | None = None,
        categorical: Iterable[str] = (),
        predictions: Sequence[Any] | None = None,
    ) -> Baseline:
        """Freeze the reference from a CSV file with a header; see :meth:`from_rows`."""
        return cls.from_rows(read_csv(path), None, categorical, target, predictions)

    @property
    def samples(self) -> int:
        return self.profile.samples

    @property
    def names(self) -> tuple[str, ...]:
        """The input features, without predictions."""
        return tuple(feature.name for feature in self.features if not is_prediction(feature.name))

    @property
    def _all_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def predicts(self) -> bool:
        """Whether predictions are part of the baseline."""
        return len(self.names) < len(self.features)

    def window(
        self, rows: Rows, names: Sequence[str] | None = None, predictions: Sequence[Any] | None = None
    ) -> Profile:
        """Count a window's rows on this baseline's scale.

        Columns are matched by name where they have names and by position else; one that is left out is missing in
        every row, one that the baseline does not know is ignored.
        :raises ConfigError: rows without names whose width is not the baseline's.
        """
        found = columns(rows, names)
        if names is None and not _has_names(rows) and found:
            if len(found) != len(self.names):
                raise ConfigError(f"rows have {len(found)} values, the baseline has {len(self.names)} features")
            found = dict(zip(self.names, found.values(), strict=True))
        samples = max(map(length, found.values()), default=0)
        if self.predicts and predictions is not None:
            found |= prediction_columns(predictions, samples, [name for name in self._all_names if is_prediction(name)])
        absent = [None] * samples
        counts = {feature.name: count(feature, found.get(feature.name, absent)) for feature in self.features}
        return Profile(self.profile.baseline, samples, counts)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value without NaN or infinity."""
        return {
            "schema_version": SCHEMA_VERSION,
            "features": [feature.to_json() for feature in self.features],
            "profile": self.profile.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Baseline:
        _require_schema(data, "baseline")
        features = tuple(feature_from_json(entry) for entry in data["features"])
        profile = Profile.from_json(data["profile"])
        if profile.baseline != _digest(features):
            raise ConfigError("this baseline was changed after it was made: its digest is another")
        return cls(features, profile)


def _freeze(name: str, column: Column, categorical: bool) -> tuple[Feature, Counts]:
    if categorical or not looks_numeric(column):
        tallied = categories(column)
        ranked = freeze_categories(name, tallied)
        return ranked, count_categories(ranked, tallied, length(column))
    parsed = numbers(column)
    scaled = freeze_numbers(name, finite(parsed.values))
    return scaled, count_numbers(scaled, parsed, length(column))


def _has_names(rows: Any) -> bool:
    if isinstance(rows, Mapping) or hasattr(rows, "iloc"):
        return True
    return not isinstance(rows, np.ndarray) and bool(len(rows)) and isinstance(rows[0], Mapping)


def _digest(features: tuple[Feature, ...]) -> str:
    text = json.dumps([feature.to_json() for feature in features], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _require_schema(data: Mapping[str, Any], noun: str) -> None:
    if data.get("schema_version") != SCHEMA_VERSION:
        version = data.get("schema_version")
        raise ConfigError(f"this {noun} has schema_version {version!r}, this cloudml reads {SCHEMA_VERSION}")
