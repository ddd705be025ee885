"""Small ONNX graphs, written node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import TensorProto, helper, save_model

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]


def save(folder: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], name: str = "model.onnx") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    save_model(helper.make_model(graph, opset_imports=OPSETS, ir_version=8), folder / name)
    return folder


def value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def classifier(folder: Path, batch: Any = None, name: str = "model.onnx") -> Path:
    """As sklearn-onnx writes a LogisticRegression: class 1 where the first of three features is positive."""
    node = helper.make_node(
        "LinearClassifier",
        ["X"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_ints=[0, 1],
        coefficients=[-1.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        intercepts=[0.0, 0.0],
        multi_class=1,
        post_transform="LOGISTIC",
    )
    outputs = [value("label", [batch], TensorProto.INT64), value("probabilities", [batch, 2])]
    return save(folder, [node], [value("X", [batch, 3])], outputs, name)


def by_column(folder: Path) -> Path:
    """One input a column, as sklearn-onnx writes a data frame: a number, an integer and a text; gives the number."""
    nodes = [
        helper.make_node("Cast", ["size"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["age", "as_float"], ["sum"]),
        helper.make_node("Identity", ["job"], ["same"]),
    ]
    inputs = [
        value("age", [None, 1]),
        value("size", [None, 1], TensorProto.INT64),
        value("job", [None, 1], TensorProto.STRING),
    ]
    return save(folder, nodes, inputs, [value("sum", [None, 1]), value("same", [None, 1], TensorProto.STRING)])
