"""The quickstart by cloudml beside the same life written by hand with the vendor's SDK, on one emulator in one run.

    python benchmarks/by_hand/compare.py azureml [--rounds 3]     (or vertex; Azure ML needs Azurite)

Train, register, deploy, predict, delete: seconds and native calls of each step, as the emulation's log counts them.
Medians of rounds that take turns, each in an account of its own; both ways must predict the same. What Azure's storage
account answers is not among the calls. Besides: the emulator's start-up, its calls a second, and what the provider
costs cloudml before its first call.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
QUICKSTART = HERE.parents[1] / "examples" / "quickstart"
BY_HAND = {"azureml": "with_azure_ai_ml.py", "vertex": "with_google_cloud_aiplatform.py"}
STEPS = ("train", "register", "deploy", "predict", "delete")
READS = 500
VENDOR = {"azureml": "azure", "vertex": "google"}
COST = """
import sys, time
import cloudml
began = time.perf_counter()
cloud = cloudml.connect({provider!r}, project="costs")
seconds = time.perf_counter() - began
print(seconds, sum(name.split(".")[0] == {vendor!r} for name in sys.modules))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("provider", choices=BY_HAND)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.inside:
        compare(given.provider, given.rounds)
        return
    emulated = [sys.executable, "-m", "cloudml", "emulate", given.provider, "--"]
    subprocess.run([*emulated, "true"], check=True)  # bytecode and file cache
    starts = [timed([*emulated, "true"]) for _ in range(5)]
    print(f"start-up and end of the emulator, warm: {statistics.median(starts):.2f} s ({min(starts):.2f} at best)")
    inside = [sys.executable, __file__, given.provider, "--rounds", str(given.rounds), "--inside"]
    sys.exit(subprocess.run([*emulated, *inside]).returncode)


def timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def compare(provider: str, rounds: int) -> None:
    program = [sys.executable, "-c", COST.format(provider=provider, vendor=VENDOR[provider])]
    told = [subprocess.run(program, check=True, capture_output=True, text=True).stdout.split() for _ in range(5)]
    seconds, modules = statistics.median(float(each[0]) for each in told), told[0][1]
    print(f"cloudml.connect({provider!r}), before any call: {seconds:.2f} s, {modules} modules of the vendor's")
    print(f"calls a second, one after the other: {rate(provider):.0f}")
    ways = {"cloudml": [str(HERE / "with_cloudml.py"), provider], "by hand": [str(HERE / BY_HAND[provider])]}
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="cloudml-by-hand-") as folder:
        place = Path(folder, "quickstart")
        shutil.copytree(QUICKSTART, place, ignore=shutil.ignore_patterns("data", "__pycache__"))
        subprocess.run([sys.executable, "data.py"], cwd=place, check=True)
        for _ in range(rounds):
            for way, arguments in ways.items():
                found[way].append(life(provider, arguments, place))
    answers = {json.dumps(each["answer"]) for runs in found.values() for each in runs}
    if len(answers) != 1:
        sys.exit("the two ways do not predict the same")
    show(found)


def rate(provider: str) -> float:
    """Reads that one client sends in a row over one connection, through the emulated network."""
    import requests

    told, session = os.environ, requests.Session()
    if provider == "azureml":
        from azure.identity import DefaultAzureCredential

        place = f"subscriptions/{told['AZURE_SUBSCRIPTION_ID']}/resourceGroups/cloudml/providers"
        url = f"https://management.azure.com/{place}/Microsoft.MachineLearningServices/workspaces/cloudml"
        url += "?api-version=2024-10-01-preview"
        token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    else:
        import google.auth
        import google.auth.transport.requests

        place = f"projects/{told['GOOGLE_CLOUD_PROJECT']}/locations/us-central1/endpoints"
        url = f"https://us-central1-aiplatform.googleapis.com/v1/{place}"
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(google.auth.transport.requests.Request())
        token = credentials.token
    session.headers["Authorization"] = f"Bearer {token}"
    session.get(url).raise_for_status()
    began = time.perf_counter()
    for _ in range(READS):
        session.get(url).raise_for_status()
    return READS / (time.perf_counter() - began)


def life(provider: str, arguments: list[str], place: Path) -> dict[str, Any]:
    began = time.perf_counter()
    command = [sys.executable, "-W", "ignore", *arguments]
    environment = {**os.environ, **account(provider)}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"steps"')))
    steps = said["steps"]
    steps["all"] = [sum(each[index] for each in steps.values()) for index in range(3)]
    steps["the program, imports among it"] = [time.perf_counter() - began, 0, 0]
    return said


def account(provider: str) -> dict[str, str]:
    """An account that nobody has used."""
    if provider == "azureml":
        subscription = str(uuid.uuid4())
        return {"AZURE_SUBSCRIPTION_ID": subscription, "CLOUDML_AZUREML_SUBSCRIPTION": subscription}
    from google.cloud import storage

    name = f"by-hand-{uuid.uuid4().hex[:12]}"
    storage.Client(project=name).create_bucket(name)
    return {"GOOGLE_CLOUD_PROJECT": name, "CLOUDML_VERTEX_PROJECT": name, "CLOUDML_VERTEX_BUCKET": name}


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    print(f"{'':32}" + "".join(f"{way:>30}" for way in found))
    print(f"{'':32}" + f"{'seconds':>12}{'calls':>8}{'writes':>10}" * len(found))
    for step in (*STEPS, "all", "the program, imports among it"):
        line = f"{step:32}"
        for runs in found.values():
            seconds, calls, writes = (
                statistics.median(each["steps"][step][index] for each in runs) for index in range(3)
            )
            line += f"{seconds:12.2f}{calls:8.0f}{writes:10.0f}" if calls else f"{seconds:12.2f}{'':18}"
        print(line)


if __name__ == "__main__":
    main()
