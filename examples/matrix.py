"""The unchanged quickstart on several providers, one after the other and then all at once, and one table.

    python examples/matrix.py local docker
    cloudml emulate sagemaker azureml vertex -- python examples/matrix.py sagemaker azureml vertex

A row is a whole life: apply, predict, typical traffic and then other traffic past the monitor, destroy. The program
ends with 1 if two rows differ in what was predicted or in what the monitor said.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cloudml as cm
from cloudml import config, plan
from cloudml.events import Event, Happened

QUICKSTART = Path(__file__).resolve().parent / "quickstart"
ENDPOINT = "tumor-api"
PATIENCE = 60.0  # seconds until what was captured can be read: clouds write it some moments after the answer
HEAD = ("", "provider", "seconds of apply", "native calls", "uploads", "prediction", "drift, before and after")


@dataclass(frozen=True)
class Row:
    """One life at one provider; calls and uploads are the writes that apply sent, as ``cloudml plan`` lists them."""

    provider: str
    seconds: float
    calls: int
    uploads: int
    predicted: tuple[int, ...]
    verdicts: tuple[str, ...]

    @property
    def answer(self) -> tuple[str, ...]:
        """What must be the same everywhere: the first predictions and a digest of all, and the monitor's verdicts."""
        first = "".join(map(str, self.predicted[:12]))
        digest = hashlib.sha256(json.dumps(self.predicted).encode()).hexdigest()[:12]
        return f"{first}… {digest}", ", then ".join(self.verdicts)

    def cells(self, how: str) -> tuple[str, ...]:
        return how, self.provider, f"{self.seconds:.1f}", str(self.calls), str(self.uploads), *self.answer


def life(project: config.Project, provider: str) -> Row:
    """Applies the project, asks its endpoint, watches its traffic, and removes everything."""
    sent: Counter[bool] = Counter()  # by whether it was an upload

    def count(event: Event) -> None:
        if event.what is Happened.SENDING and event.key:
            sent[event.key.kind == "artifact"] += 1

    cloud = cm.connect(provider, project=project.name, env=provider, listeners=[count])
    try:
        began = time.monotonic()
        plan.apply(cloud, project)
        seconds, calls, uploads = time.monotonic() - began, sent[False], sent[True]
        if plan.plan(cloud, project).changes:
            raise RuntimeError(f"{provider}: there is still something to do after apply")
        predicted = send(cloud, "typical.json")
        before = verdict(cloud, len(predicted))
        after = verdict(cloud, len(predicted) + len(send(cloud, "shifted.json")))
    finally:
        plan.destroy(cloud, everything=True)
    row = Row(provider, seconds, calls, uploads, predicted, (before, after))
    print(*row.cells("done:"), file=sys.stderr, flush=True)
    return row


def send(cloud: cm.Client, file: str) -> tuple[int, ...]:
    """Sends a file's rows, ten to a request; the predictions."""
    rows, endpoint = json.loads((QUICKSTART / "data" / file).read_text()), cloud.endpoints.get(ENDPOINT)
    return tuple(each for start in range(0, len(rows), 10) for each in endpoint.predict(rows[start : start + 10]))


def verdict(cloud: cm.Client, rows: int) -> str:
    """What the monitor says once it has seen that many rows."""
    monitor, deadline = cloud.monitors.get(ENDPOINT), time.monotonic() + PATIENCE
    while (report := monitor.run(keep=False)).samples < rows and time.monotonic() < deadline:
        time.sleep(0.5)
    return f"{report.verdict} in {report.samples} rows"


def table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def main(providers: list[str]) -> int:
    subprocess.run([sys.executable, "data.py"], cwd=QUICKSTART, check=True)
    live = partial(life, config.load(QUICKSTART / "cloudml.yaml"))  # one object, the same for every provider
    with tempfile.TemporaryDirectory(prefix="cloudml-matrix-") as home, ThreadPoolExecutor(len(providers)) as pool:
        os.environ["CLOUDML_HOME"] = home  # where local and docker keep things
        alone = [live(provider) for provider in providers]
        began = time.monotonic()
        together = [*pool.map(live, providers)]
        seconds = time.monotonic() - began
    rows = [row.cells("alone") for row in alone] + [row.cells("at once") for row in together]
    print(table([HEAD, *rows]))
    print(f"\n{len(providers)} lives at once took {seconds:.1f} s, from apply to destroy.")
    same = len({row.answer for row in (*alone, *together)}) == 1
    print("Every row has the same prediction and the same verdicts." if same else "The providers differ.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["local"]))
