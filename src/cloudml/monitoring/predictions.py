"""What a model answered as columns: one per output, named so that they stand beside the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloudml.errors import ConfigError
from cloudml.monitoring.arrays import np
from cloudml.monitoring.columns import Column, columns, finite, length, looks_numeric, numbers

PREDICTION = "prediction"
FEW_CLASSES = 20


def is_prediction(name: str) -> bool:
    return name == PREDICTION or name.startswith(PREDICTION + "[")


def prediction_columns(predictions: Any, samples: int, wanted: Sequence[str] = ()) -> dict[str, Column]:
    """One column named ``prediction``, or ``prediction[0], …`` (of objects: ``prediction[key]``) if there are several.

    ``predictions``: one per row: a class, a number, a list of numbers or an object. ``wanted``: the names that a
    baseline has; an answer of another shape is then missing, where a reference with such answers is refused.
    :raises ConfigError: not one prediction per row, or, without ``wanted``, answers of different lengths.
    """
    if predictions is None:
        return {}
    found = _columns(predictions, wanted)
    for column in found.values():
        if length(column) != samples:
            raise ConfigError(f"{length(column)} predictions for {samples} rows")
    return found


def _columns(predictions: Any, wanted: Sequence[str]) -> dict[str, Column]:
    if isinstance(predictions, np.ndarray) and predictions.ndim == 1:
        return {PREDICTION: predictions}
    if not isinstance(predictions, np.ndarray):
        predictions = list(predictions)
        if any(isinstance(answer, Mapping) for answer in predictions):
            return _of_objects(predictions)
        if not any(_is_list(answer) for answer in predictions):
            return {PREDICTION: predictions}
        if wanted:
            width = len(wanted)
            predictions = [
                answer if _is_list(answer) and len(answer) == width else [None] * width for answer in predictions
            ]
    outputs = list(columns(predictions).values())
    return {PREDICTION if len(outputs) == 1 else f"{PREDICTION}[{at}]": column for at, column in enumerate(outputs)}


def _of_objects(predictions: Sequence[Any]) -> dict[str, Column]:
    answers = [answer if isinstance(answer, Mapping) else {} for answer in predictions]
    keys = list(dict.fromkeys(key for answer in answers for key in answer))
    return {f"{PREDICTION}[{key}]": [answer.get(key) for answer in answers] for key in keys}


def _is_list(answer: Any) -> bool:
    return isinstance(answer, (list, tuple, np.ndarray))


def are_classes(column: Column, alone: bool) -> bool:
    """Whether numbers are labels: at most 20 distinct whole ones, each twice on average.

    ``alone``: the model has one output; then ``1.0`` is a label too, as it is for a target that was read as float.
    """
    if not looks_numeric(column):
        return False
    if not alone and not _integers(column):
        return False
    values = finite(numbers(column).values)
    distinct = np.unique(values)
    return 0 < 2 * len(distinct) <= len(values) and len(distinct) <= FEW_CLASSES and bool((distinct % 1 == 0).all())


def _integers(column: Any) -> bool:
    if isinstance(column, np.ndarray) and column.dtype.kind != "O":
        return column.dtype.kind in "iu"
    return all(value is None or isinstance(value, (int, np.integer)) for value in column)
