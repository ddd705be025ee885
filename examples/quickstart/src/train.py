"""Trains a classifier of tumours. A plain script: it knows nothing of cloudml and runs by hand just as well."""

import argparse
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--strength", type=float, default=1.0)
parser.add_argument("--model-dir", type=Path, default=Path("model"))
args = parser.parse_args()

rows = np.loadtxt(args.data, delimiter=",", skiprows=1)
features, malignant = rows[:, :-1], rows[:, -1].astype(int)
print(f"{len(rows)} tumours, {features.shape[1]} features, {malignant.mean():.0%} malignant")

model = make_pipeline(StandardScaler(), LogisticRegression(C=args.strength, max_iter=1000))
held_out = cross_val_predict(model, features, malignant, cv=5, method="predict_proba")[:, 1]
print(f"#cloudml.metric name=auc value={roc_auc_score(malignant, held_out):.6f}")

model.fit(features, malignant)
args.model_dir.mkdir(parents=True, exist_ok=True)
joblib.dump(model, args.model_dir / "model.joblib")
