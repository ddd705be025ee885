"""The whole way on this machine, in the commands that a person would type; leaves nothing behind.

Trains a real model on real data, registers it behind a gate, deploys it, predicts through HTTP, lets typical and then
shifted traffic through it, and shows what the monitor says of each.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from data import write

HERE = Path(__file__).resolve().parent


def run(line: str, expect: int = 0, quiet: bool = False) -> str:
    """Runs a command line as it is printed; its standard output. Ends the demo if the exit code is another."""
    print(f"\n$ {line}", flush=True)
    words = shlex.split(line)
    command = [sys.executable, "-m", *words] if words[0] == "cloudml" else words
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if not quiet:
        print(done.stdout, end="", flush=True)
    if done.returncode != expect:
        sys.exit(f"'{line}' ended with exit code {done.returncode}, not {expect}")
    return done.stdout


def post(url: str, file: Path) -> int:
    """Sends rows as any HTTP client would, ten to a request; how many rows were answered."""
    rows = json.loads(file.read_text())
    answered = 0
    for start in range(0, len(rows), 10):
        body = json.dumps({"instances": rows[start : start + 10]}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answered += len(json.load(answer)["predictions"])
    print(f"\n# {answered} rows of {file.name} sent to {url}")
    return answered


def main() -> None:
    """The story, in order; the stack is removed however it ends."""
    began = time.monotonic()
    os.chdir(HERE)
    write(HERE / "data")
    with tempfile.TemporaryDirectory(prefix="cloudml-demo-") as home:
        os.environ["CLOUDML_HOME"] = home
        try:
            story()
        finally:
            run("cloudml destroy --all -y")
    print(f"\nDone in {time.monotonic() - began:.1f} s; nothing is left.")


def story() -> None:
    """What there is to see."""
    run("cloudml plan")
    run("cloudml apply")
    run("cloudml models list")
    run("cloudml predict tumor-api -d @data/sample.json")
    endpoint = json.loads(run("cloudml endpoints get tumor-api -o json", quiet=True))
    url = endpoint["facts"]["url"] + "/invocations"
    post(url, HERE / "data/typical.json")
    run("cloudml monitors run tumor-api --fail-on drift")
    since = time.time()
    post(url, HERE / "data/shifted.json")
    run(f"cloudml monitors run tumor-api --since {since:.3f} --fail-on drift", expect=7)
    run("cloudml plan --detailed-exitcode")


if __name__ == "__main__":
    main()
