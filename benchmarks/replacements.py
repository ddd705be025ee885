"""A deployment that is replaced again and again under load: requests sent, answered, captured and dropped.

    python benchmarks/replacements.py [--provider local|docker] [--replacements 100] [--connections 8]

In a folder of its own; ``docker`` starts from the image that CLOUDML_IMAGE_BASE names. Two versions of a small python
model take turns. Every request that is sent must be answered 200, and be found among the captured ones.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = """
class Model:
    def __init__(self, folder): pass
    def predict(self, rows): return [sum(row) for row in rows]
"""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--provider", choices=("local", "docker"), default="local")
    options.add_argument("--replacements", type=int, default=100)
    options.add_argument("--connections", type=int, default=8)
    options.add_argument("--pause", type=float, default=0.02, help="seconds between an answer and the next request")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return replace(Path(folder), chosen.provider, chosen.replacements, chosen.connections, chosen.pause)


def replace(folder: Path, provider: str, replacements: int, connections: int, pause: float) -> int:
    from load import Load

    import cloudml as cm

    cloud = cm.connect(provider, home=str(folder / "home"))
    versions = []
    for number in range(2):
        place = folder / f"model{number}"
        place.mkdir()
        (place / "model.py").write_text(MODEL + f"# version {number}\n")
        versions.append(cloud.models.register("sums", str(place)))
    endpoint = cloud.deploy("sums", versions[0], capture=1.0)
    url, took, began = str(endpoint.state.facts["url"]), [], time.monotonic()
    try:
        with Load(url, connections, pause).running() as load:
            for number in range(replacements):
                start = time.monotonic()
                cloud.deploy("sums", versions[(number + 1) % 2], capture=1.0)
                took.append(time.monotonic() - start)
    finally:
        endpoint.delete()  # its servers write what they have captured before they end
    captures = (folder / "home" / "store").glob("*/captures/sums/*.jsonl")
    captured = sum(path.read_bytes().count(b"\n") for path in captures)
    seconds = time.monotonic() - began
    lost = load.sent - load.statuses[200]
    print(f"{replacements} replacements in {seconds:.0f} s, {connections} connections, {load.sent / seconds:.0f} req/s")
    print(f"sent {load.sent}  answered 200: {load.statuses[200]}  lost {lost}  captured {captured}")
    print(f"not captured: {load.statuses[200] - captured}  slowest answer {1000 * load.slowest:.0f} ms")
    print(f"one replacement: median {statistics.median(took):.2f} s, longest {max(took):.2f} s")
    if lost:
        print(f"other answers {dict(load.statuses)}  broken {load.broken}  hung {load.hung}  refused {load.refused}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "providers/local"), str(ROOT / "tests/providers/local")]
    sys.exit(main())
