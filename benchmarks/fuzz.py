"""Any bytes and requests, for minutes, at a gateway and the server behind it: no 5xx, no hang, memory flat.

python benchmarks/fuzz.py [--minutes 10]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), 60 * chosen.minutes, chosen.seed)


def run(folder: Path, seconds: float, first: int) -> int:
    import wire_fuzz as fuzz
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from replacements import MODEL
    from soak import resident

    import cloudml as cm

    (folder / "model").mkdir()
    (folder / "model" / "model.py").write_text(MODEL.replace("sum(row)", "1"))
    (folder / "sample.json").write_text(json.dumps([{"age": 1.0, "pay": 2.5}]))
    cloud = cm.connect("local", home=str(folder / "home"))
    model = cloud.models.register("m", str(folder / "model"), sample_input=str(folder / "sample.json"))
    endpoint = cloud.deploy("m", model, capture=1.0)
    state: Any = endpoint.state
    pids = {id.split(".")[1]: pid for id, pid in state.native["pids"].items()}
    ports = [int(state.facts["url"].rpartition(":")[2]), state.of("deployment")[0].facts["port"]]
    seen: Counter[int] = Counter()
    memory, number, end = [], first, time.monotonic() + seconds
    settled = settings(
        max_examples=500,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )

    def one(pieces: list[bytes]) -> None:
        for port in ports:
            found = fuzz.statuses(fuzz.say(port, pieces))
            seen.update(found or [0])
            assert all(status < 500 and status != 408 for status in found), (port, pieces, found)

    try:
        while time.monotonic() < end:
            seed(number)(settled(given(fuzz.anything)(one)))()
            number += 1
            memory.append({name: resident(pid) for name, pid in pids.items()})
        assert endpoint.state.native["pids"] == state.native["pids"], "a process ended"
        assert endpoint.predict([[1, 2]]) == [1]
    finally:
        endpoint.delete()
    print(f"{seconds / 60:.1f} minutes, {number - first} rounds of 500 connections to each of gateway and server")
    print(f"answers by status (0: an end without one): {dict(sorted(seen.items()))}")
    for name in pids:
        shown = " ".join(f"{each[name] / 2**20:.1f}" for each in memory[:: max(1, len(memory) // 12)])
        print(f"resident MiB of {name}: {shown}, at the end {memory[-1][name] / 2**20:.1f}")
    return 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "providers/local"), str(ROOT / "tests/providers/local")]
    sys.exit(main())
