"""What ModelTrainer runs: hyperparameters come as arguments; its model is the nonce and what it found in its image."""

import argparse
import os
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("--nonce")
parser.add_argument("--depth", type=int)
given = parser.parse_args()
rows = sorted(path.name for path in pathlib.Path(os.environ["SM_CHANNEL_ROWS"]).iterdir())
system = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
in_container = pathlib.Path("/.dockerenv").exists()
text = f"{given.nonce} {given.depth} {rows} {system['VERSION_CODENAME']} {in_container} {os.environ['SM_CURRENT_HOST']}"
pathlib.Path(os.environ["SM_MODEL_DIR"], "nonce").write_text(text)
