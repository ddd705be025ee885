"""A linear scikit-learn model's ``predict`` without its checks, which the endpoint has made: the same arithmetic.

For one row the checks cost thirty times the arithmetic. What is read off a model is compared with the model itself on
probe rows; a difference, or a step that is not known here, leaves the model as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PROBES = 64
Predict = Callable[[Any], Any]


def shortcut(model: Any) -> Predict | None:
    """A faster ``predict`` of a float64 array of shape (rows, features), or None.

    Values that are not finite go to the model's own ``predict``, which says what it thinks of them.
    """
    *before, last = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
    scaling = _scaling(before)
    if scaling is None or not hasattr(last, "coef_") or (before and not _is_pipeline(model)):
        return None
    classes = _classes(last)
    if classes is None and not _is_linear_regressor(last):
        return None
    found = _make(model.predict, scaling, last, classes)
    return found if _agrees(model, found) else None


def _make(original: Predict, scaling: list[tuple[Any, Any]], last: Any, classes: Any) -> Predict:
    from numpy import isfinite

    weights, bias = last.coef_.T, last.intercept_
    binary = classes is not None and len(classes) == 2

    def predict(table: Any) -> Any:
        if not isfinite(table).all():
            return original(table)
        scaled = table
        for mean, scale in scaling:
            scaled = (scaled - mean) / scale
        scores = scaled @ weights + bias
        if classes is None:
            return scores
        return classes[(scores.ravel() > 0).astype(int)] if binary else classes[scores.argmax(axis=1)]

    return predict


def _is_pipeline(model: Any) -> bool:
    from sklearn.pipeline import Pipeline

    return type(model) is Pipeline


def _classes(last: Any) -> Any:
    """The classes of a classifier that decides as all linear classifiers of scikit-learn do, else None."""
    known = _shared(last, "predict") and _shared(last, "decision_function") and hasattr(last, "classes_")
    return last.classes_ if known and last.coef_.ndim == 2 and last.classes_.ndim == 1 else None


def _is_linear_regressor(last: Any) -> bool:
    return _shared(last, "predict") and not hasattr(last, "classes_")


def _shared(last: Any, method: str) -> bool:
    """Whether the method is the one that scikit-learn's linear models share, and not an estimator's own."""
    return getattr(getattr(type(last), method, None), "__module__", "") == "sklearn.linear_model._base"


def _scaling(steps: list[Any]) -> list[tuple[Any, Any]] | None:
    """Mean and scale of each step, or None when a step is another one than a StandardScaler."""
    from sklearn.preprocessing import StandardScaler

    if not all(type(step) is StandardScaler for step in steps):
        return None
    return [(0.0 if step.mean_ is None else step.mean_, 1.0 if step.scale_ is None else step.scale_) for step in steps]


def _agrees(model: Any, found: Predict) -> bool:
    """Whether both give the same for probe rows of several magnitudes, together and one by one."""
    import numpy as np

    random = np.random.default_rng(0)
    scales = 10.0 ** random.integers(-3, 4, (PROBES, 1))
    rows = random.standard_normal((PROBES, model.n_features_in_)) * scales
    rows[0] = 0.0
    tables = [rows, *(rows[index : index + 1] for index in range(8))]
    return all(_same(np, model.predict(table), found(table)) for table in tables)


def _same(np: Any, left: Any, right: Any) -> bool:
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.dtype.kind != "f":
        return bool(np.array_equal(left, right))
    return bool(np.allclose(left, right, rtol=1e-12, atol=1e-12 * np.abs(left).max()))  # sums in another order
