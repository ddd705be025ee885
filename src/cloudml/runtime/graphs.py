"""ONNX graphs by ONNX Runtime: what they take and give, read off the graph itself.

A graph takes either one tensor, whose rows are the features, or one tensor of shape [rows] or [rows, 1] for each
feature, named after it, as sklearn-onnx writes them for a data frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudml.errors import ConfigError
from cloudml.runtime.rows import Features, Refused

# (ONNX's name of a tensor's type, NumPy's of the same)
DTYPES: Mapping[str, str] = {
    f"tensor({name})": dtype
    for name, dtype in (
        ("float", "float32"),
        ("double", "float64"),
        ("float16", "float16"),
        ("bool", "bool"),
        ("string", "object"),
        *((kind, kind) for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")),
    )
}


class Graph:
    """A loaded graph. One thread computes a batch: further cores are for further workers."""

    def __init__(self, file: Path) -> None:
        """Raises ConfigError for a file that is no graph, and for a graph whose inputs are not rows."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else its import writes a file and it calls home
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        raised = onnxruntime.capi.onnxruntime_pybind11_state
        try:
            self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except (raised.InvalidProtobuf, raised.InvalidGraph, raised.NotImplemented, raised.Fail) as error:
            raise ConfigError(f"{file.name} is no graph that ONNX Runtime can load: {error}") from error
        self.inputs = self._session.get_inputs()
        self._outputs = self._session.get_outputs()
        for tensor in self.inputs:
            if tensor.type not in DTYPES:
                raise ConfigError(f"{file.name}: input {tensor.name!r} is {tensor.type}, which no request can hold")
        self.separate = len(self.inputs) > 1 or _is_column(self.inputs[0])
        for tensor in self.inputs if len(self.inputs) > 1 else ():
            if not _is_column(tensor):
                raise ConfigError(f"{file.name}: input {tensor.name!r} has shape {tensor.shape}, not [rows, 1]")
        batch = self.inputs[0].shape[:1] or [0]
        if type(batch[0]) is int and batch[0] != 1:
            raise ConfigError(
                f"{file.name} takes batches of exactly {batch[0]} rows; export it with a dynamic first axis"
            )
        self._one_by_one = batch[0] == 1
        self.refusals = (raised.InvalidArgument, raised.Fail, raised.RuntimeException)

    def features(self) -> Features:
        """What one row holds; ``width`` None where the graph leaves it open, or a row is more than a list of values."""
        kinds = [tensor.type for tensor in self.inputs]
        texts = frozenset(index for index, kind in enumerate(kinds) if kind == "tensor(string)")
        if self.separate:
            return Features(len(self.inputs), tuple(tensor.name for tensor in self.inputs), texts)
        shape = self.inputs[0].shape
        if len(shape) != 2 or type(shape[1]) is not int:
            return Features(None)
        return Features(shape[1], None, frozenset(range(shape[1])) if texts else frozenset())

    def methods(self) -> Mapping[str, Callable[[Any], Any]]:
        """``predict`` is the first output; ``predict_proba`` is the one that sklearn-onnx names after probabilities."""
        found = {"predict": self._method(self._outputs[0].name)}
        for output in self._outputs[1:]:
            if "probabilit" in output.name:
                found["predict_proba"] = self._method(output.name)
        return found

    def _method(self, name: str) -> Callable[[Any], Any]:
        run, wanted = self._session.run, [name]
        if not self._one_by_one:
            return lambda feed: _flat(run(wanted, feed)[0])

        def each(feed: dict[str, Any]) -> list[Any]:
            answers: list[Any] = []
            for row in range(len(next(iter(feed.values())))):
                found = _flat(run(wanted, {key: table[row : row + 1] for key, table in feed.items()})[0])
                answers += found if isinstance(found, list) else found.tolist()
            return answers

        return each


class Tensors:
    """Rows as the tensors that a graph takes."""

    def __init__(self, graph: Graph, features: Features) -> None:
        import numpy as np

        self._np = np
        self._features = features
        self._separate = graph.separate
        self._inputs = [(tensor.name, np.dtype(DTYPES[tensor.type]), len(tensor.shape)) for tensor in graph.inputs]

    def __call__(self, rows: list[Any], plain: bool) -> dict[str, Any]:
        """``plain`` says that no value can be a string, which NumPy would read as a number. Raises Refused."""
        if self._separate:
            self._features.check(rows)
            columns = zip(*rows, strict=True)
            return {
                name: self._tensor(values, dtype, f"feature {name!r}").reshape((-1, 1)[:rank])
                for (name, dtype, rank), values in zip(self._inputs, columns, strict=True)
            }
        name, dtype, _ = self._inputs[0]
        if plain and dtype.kind == "f" and self._features.width is not None:
            try:
                table = self._np.array(rows, dtype=dtype)
            except (TypeError, ValueError, OverflowError):
                table = None
            if table is not None and table.ndim == 2 and table.shape[1] == self._features.width:
                return {name: table}
        self._features.check(rows)
        return {name: self._tensor(rows, dtype, "a value")}

    def _tensor(self, values: Any, dtype: Any, what: str) -> Any:
        """Raises Refused for what the type cannot hold: no number, a fraction or nothing where integers are taken."""
        np = self._np
        try:
            found = np.array(values, dtype=object if dtype.kind == "O" else None)
        except ValueError:
            raise Refused("the rows have different lengths") from None
        if dtype.kind == "O":
            return np.where(np.equal(found, None), "", found)
        if found.dtype.kind == "O":  # a null among numbers
            try:
                found = found.astype(np.float64)
            except (TypeError, ValueError):
                raise Refused(f"{what} is not a number") from None
        if found.dtype.kind not in "biuf":
            raise Refused(f"{what} is not a number")
        if dtype.kind in "iub" and found.size:
            least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if not bool(((found >= least) & (found <= most) & (found == np.floor(found))).all()):
                raise Refused(
                    f"{what} must be {'true or false' if dtype.kind == 'b' else 'an integer of ' + dtype.name}"
                )
        with np.errstate(over="ignore"):
            return found.astype(dtype)


def _is_column(tensor: Any) -> bool:
    return len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] == 1)


def _flat(found: Any) -> Any:
    """One value a row as such, not as a list of one; sklearn-onnx's maps from class to probability as lists."""
    if isinstance(found, list):
        return [list(row.values()) if isinstance(row, dict) else row for row in found]
    return found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found
