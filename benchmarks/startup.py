"""What starting costs: `import cloudml` and `cloudml --help` beside Python itself, interleaved in one run."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import logging": ["-c", "import logging"],
    "import click": ["-c", "import click"],
    "import pydantic": ["-c", "import pydantic"],
    "import cloudml": ["-c", "import cloudml"],
    "cloudml --help": ["-m", "cloudml", "--help"],
    "cloudml --version": ["-m", "cloudml", "--version"],
    "import cloudml; connect": ["-c", "import cloudml; cloudml.connect"],
}


def seconds(arguments: list[str]) -> float:
    """The wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():  # bytecode and file cache
        seconds(arguments)
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    base = statistics.median(times["python -c pass"])
    print(f"{'':26}{'median ms':>10}{'more than python':>18}   ({rounds} interleaved rounds)")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:26}{median * 1000:10.1f}{(median - base) * 1000:18.1f}")


if __name__ == "__main__":
    main()
