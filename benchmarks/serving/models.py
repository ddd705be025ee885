"""Makes the models and sources of the comparison in a folder; runs in the peers' environment: models.py FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
import mlflow.sklearn
import peers
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

folder = Path(sys.argv[1])
rows, target = load_breast_cancer(return_X_y=True)
model = LogisticRegression(max_iter=10_000).fit(rows, target)
for name in ("onnx-model", "sklearn-model"):
    (folder / name).mkdir()
joblib.dump(model, folder / "model.joblib")
joblib.dump(model, folder / "sklearn-model" / "model.joblib")
graph = to_onnx(model, rows[:1].astype("float32"), options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3})
(folder / "onnx-model" / "model.onnx").write_bytes(graph.SerializeToString())
mlflow.sklearn.save_model(model, folder / "mlflow-model", serialization_format="cloudpickle")
for peer in peers.PEERS:
    if peer.source:
        (folder / peer.file).write_text(peer.source)
(folder / "rows.json").write_text(json.dumps(rows[:100].tolist()))
