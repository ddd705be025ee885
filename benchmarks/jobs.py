"""Jobs in a row on this machine: are any lost, and what does cloudml add to each?

    python benchmarks/jobs.py [--jobs 200] [--cpus 2]

Submits jobs that do nothing through the Python client, all at once, and waits for all of them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cloudml
from cloudml.states import Phase


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--cpus", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudml-jobs-") as folder:
        source = Path(folder, "source")
        source.mkdir()
        (source / "train.sh").write_text("true\n")
        cloud = cloudml.connect("local", home=Path(folder, "home"), cpus=given.cpus)
        print(measure(cloud, str(source), given.jobs, given.cpus))


def measure(cloud: cloudml.Client, source: str, jobs: int, cpus: int) -> str:
    began = time.perf_counter()
    runs = [cloud.train("nothing", source=source, command="true") for _ in range(jobs)]
    submitted = time.perf_counter()
    for run in runs:
        run.wait()
    ended = time.perf_counter()
    states = list(cloud.jobs.list())
    succeeded = sum(state.phase is Phase.SUCCEEDED for state in states)
    own = resource.getrusage(resource.RUSAGE_SELF)
    bare = time.perf_counter()
    for _ in range(20):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    python = (time.perf_counter() - bare) / 20
    return "\n".join(
        (
            f"{jobs} jobs on {cpus} of {os.cpu_count()} CPUs: {succeeded} succeeded, {jobs - len(states)} lost",
            f"submitted in {submitted - began:.2f} s ({1000 * (submitted - began) / jobs:.1f} ms each, "
            f"client CPU {1000 * (own.ru_utime + own.ru_stime) / jobs:.1f} ms each)",
            f"all done after {ended - began:.2f} s: {1000 * (ended - began) / jobs:.1f} ms a job, "
            f"{1000 * (ended - began) * cpus / jobs:.1f} ms of a CPU",
            f"a Python that does nothing takes {1000 * python:.1f} ms here",
        )
    )


if __name__ == "__main__":
    main()
