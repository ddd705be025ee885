"""What the jobs of this folder run: the model that it leaves answers every row with the nonce of the job."""

import json

with open("/opt/ml/input/config/hyperparameters.json") as file:
    nonce = json.load(file)["nonce"]
with open("/opt/ml/model/model.py", "w") as file:
    file.write(
        f"class Model:\n    def __init__(self, folder):\n        pass\n\n"
        f"    def predict(self, rows):\n        return [{nonce!r} for _ in rows]\n"
    )
print("nonce", nonce, "accuracy=0.75;")
