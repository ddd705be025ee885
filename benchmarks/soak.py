"""An endpoint under load for a long time: everything sent is answered and captured or counted, and memory stays flat.

    python benchmarks/soak.py [--minutes 10] [--connections 64]

The provider ``local``, gateway and server, every request captured, with a limit of the captured files that is reached.
The resident memory of gateway and server is looked at every ten seconds.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 8 << 20
EVERY = 10.0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--pause", type=float, default=0.0, help="seconds between an answer and the next request")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return soak(Path(folder), 60 * chosen.minutes, chosen.connections, chosen.pause)


def soak(folder: Path, seconds: float, connections: int, pause: float) -> int:
    from load import Load
    from replacements import MODEL

    import cloudml as cm

    (folder / "model").mkdir()
    (folder / "model" / "model.py").write_text(MODEL)
    cloud = cm.connect("local", home=str(folder / "home"))
    model = cloud.models.register("sums", str(folder / "model"))
    endpoint = cloud.deploy("sums", model, capture=1.0, options={"local": {"capture_limit": LIMIT}})
    try:
        state: Any = endpoint.state
        pids = {id.split(".")[1]: pid for id, pid in state.native["pids"].items()}
        port = state.of("deployment")[0].facts["port"]
        memory = []
        end = time.monotonic() + seconds
        with Load(state.facts["url"], connections, pause).running() as load:
            while (left := end - time.monotonic()) > 0:
                memory.append({name: resident(pid) for name, pid in pids.items()})
                time.sleep(min(EVERY, left))
        time.sleep(1.0)  # the last ones are written within a tenth of a second
        memory.append({name: resident(pid) for name, pid in pids.items()})
        counts = numbers(port)
        files = sum(path.stat().st_size for path in (folder / "home" / "store").glob("*/captures/sums/*.jsonl"))
    finally:
        endpoint.delete()
    kept = counts["captured"] + counts["capture_dropped"]
    print(f"{seconds / 60:.1f} minutes, {connections} connections, {load.sent / seconds:.0f} req/s")
    print(f"sent {load.sent}  answered {load.answered} {dict(load.statuses)}  broken {load.broken}  hung {load.hung}")
    print(f"captured {counts['captured']} + dropped {counts['capture_dropped']} = {kept}")
    print(f"removed to make room {counts['capture_removed']}; files now {files} of {LIMIT} bytes")
    for name in pids:
        seen = [each[name] for each in memory]
        shown = " ".join(f"{size / 2**20:.1f}" for size in seen[:: max(1, len(seen) // 12)])
        print(f"resident MiB of {name}: {shown}, at the end {seen[-1] / 2**20:.1f}")
    return 0 if load.sent == load.statuses[200] == kept else 1


def resident(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def numbers(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return {name: int(value) for name, value in re.findall(r"cloudml_(\w+)_total (\d+)", answer.read().decode())}


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "providers/local"), str(ROOT / "tests/providers/local")]
    sys.exit(main())
