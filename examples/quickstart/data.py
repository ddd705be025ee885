"""Writes the quickstart's data from the breast cancer dataset that scikit-learn bundles (569 tumours, 30 features).

Half of it is for training. The other half is traffic: `typical.json` is a random part of it, `shifted.json` a real
subpopulation, the large tumours, as a clinic would send it that only sees advanced cases.
"""

import csv
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

LARGE = 14.0  # mean radius; the median of all tumours is 13.4


def write(folder: Path) -> None:
    """train.csv, sample.json, typical.json and shifted.json in ``folder``."""
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    malignant = 1 - data.target
    train, traffic, train_target, _ = train_test_split(
        data.data, malignant, test_size=0.5, stratify=malignant, random_state=0
    )
    large = traffic[:, names.index("mean_radius")] > LARGE
    shuffled = np.random.default_rng(0).permutation(len(traffic))

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "train.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*names, "malignant"])
        table.writerows([*row, target] for row, target in zip(train.tolist(), train_target.tolist(), strict=True))
    (folder / "sample.json").write_text(json.dumps(train[:1].tolist()))
    (folder / "typical.json").write_text(json.dumps(traffic[shuffled[:150]].tolist()))
    (folder / "shifted.json").write_text(json.dumps(traffic[large].tolist()))


if __name__ == "__main__":
    write(Path(__file__).parent / "data")
