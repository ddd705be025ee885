"""SageMaker's figures, each beside what people do without cloudml, in one run against the emulated AWS.

    python benchmarks/sagemaker.py [start calls watch overhead files quickstart] [--jobs 200] [--files 10000]

With the extras ``serve``, ``sagemaker`` and ``emulators``; some minutes. The emulator is a process of its own, and what
is measured runs inside it, on real host names. Counts are the emulator's own; times are of this machine: quote ratios.

*start*: the emulation from nothing to the first command. *calls*: the emulator itself, call by call. *watch*: native
calls while many jobs run to their ends, beside a loop that describes each job that runs. *overhead*: a call of cloudml
beside the boto3 call below it. *files*: small files uploaded, beside loops over boto3. *quickstart*: calls and seconds.
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
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("start", "calls", "watch", "overhead", "files", "quickstart")
EMULATE = (sys.executable, "-m", "cloudml", "emulate", "sagemaker", "--")
SECONDS = 2.0  # that each call is repeated for
TYPICAL = 1000  # bytes of a small file
LATENCY = 0.02
MODEL = """
class Model:
    def predict(self, rows):
        return [1 for _ in rows]

def load(folder):
    return Model()
"""


def admin(method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
    """One request to the emulation around this process."""
    from cloudml.emulation import admin

    return admin.Client(admin.folder(os.environ), os.environ).call(method, path, document)


def counted() -> Counter[str]:
    """The calls that the emulator has answered, by operation."""
    inside = admin("GET", "/log")["sagemaker"]
    return sum((Counter(each) for each in inside["calls"].values()), Counter())


def during(act: Callable[[], object]) -> tuple[Counter[str], float]:
    """The calls that something makes, and its seconds."""
    before, began = counted(), time.perf_counter()
    act()
    return counted() - before, time.perf_counter() - began


def said(calls: Counter[str], most: int = 6) -> str:
    named = ", ".join(f"{name} {count}" for name, count in calls.most_common(most))
    return f"{calls.total()} calls ({named}{', …' if len(calls) > most else ''})"


def timed(act: Callable[[], object]) -> list[float]:
    """Milliseconds of each of many calls, one after the other."""
    act()
    taken, end = [], time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < end:
        act()
        taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)


def row(name: str, taken: list[float]) -> None:
    middle, high = statistics.median(taken), taken[int(0.95 * (len(taken) - 1))]
    print(
        f"  {name:34}{middle:8.2f} ms  95 % {high:8.2f} ms  {1000 / statistics.mean(taken):7.0f} a second", flush=True
    )


# -- the emulator ----------------------------------------------------------------------------------------------------


def start() -> None:
    """Outside: whole commands, interleaved with those that a start is made of."""
    commands = {
        "python -c 'import boto3, moto.s3'": [
            sys.executable,
            "-c",
            "import boto3, moto.s3, moto.iam, botocore.session",
        ],
        "cloudml emulate sagemaker -- true": [*EMULATE, "true"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(5):
        for name, command in commands.items():
            began, before = time.perf_counter(), cpu()
            subprocess.run(command, check=True)
            found[name].append(time.perf_counter() - began)
            spent[name].append(cpu() - before)
    for name, taken in found.items():
        print(f"  {name:36}{statistics.median(taken):6.2f} s, CPU {statistics.median(spent[name]):5.2f} s")


def calls(jobs: int) -> None:
    import boto3

    sm, s3, bucket = boto3.client("sagemaker"), boto3.client("s3"), os.environ["CLOUDML_SAGEMAKER_BUCKET"]
    made = [boto3_job(sm, f"bench-{number}", "true") for number in range(2)]
    asked = {
        "sts GetCallerIdentity": boto3.client("sts").get_caller_identity,
        "s3 PutObject of 1 KB": partial(s3.put_object, Bucket=bucket, Key="one", Body=b"x" * 1000),
        "s3 GetObject of 1 KB": lambda: s3.get_object(Bucket=bucket, Key="one")["Body"].read(),
        "DescribeTrainingJob": partial(sm.describe_training_job, TrainingJobName=made[0]),
        "ListTrainingJobs": sm.list_training_jobs,
        "ListTags": partial(
            sm.list_tags, ResourceArn=sm.describe_training_job(TrainingJobName=made[0])["TrainingJobArn"]
        ),
    }
    for name, act in asked.items():
        row(name, timed(act))
    taken = []
    for number in range(min(jobs, 40)):
        began = time.perf_counter()
        made.append(boto3_job(sm, f"create-{number}", "true"))
        taken.append(1000 * (time.perf_counter() - began))
        time.sleep(0.5)
    row("CreateTrainingJob, one by one", sorted(taken))
    began = time.perf_counter()
    taken = []
    for number in range(min(jobs, 40)):
        one = time.perf_counter()
        made.append(boto3_job(sm, f"burst-{number}", "true"))
        taken.append(1000 * (time.perf_counter() - one))
    row("CreateTrainingJob, while others train", sorted(taken))
    for name in made:
        sm.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name, WaiterConfig={"Delay": 1})


def boto3_job(sm: Any, name: str, command: str) -> str:
    sm.create_training_job(
        TrainingJobName=name,
        RoleArn=os.environ["CLOUDML_SAGEMAKER_ROLE"],
        AlgorithmSpecification={
            "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sh", "-c", command],
        },
        OutputDataConfig={"S3OutputPath": f"s3://{os.environ['CLOUDML_SAGEMAKER_BUCKET']}/bench"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )
    return name


# -- many jobs -------------------------------------------------------------------------------------------------------


def watch(jobs: int) -> None:
    """Both look as often: after 1 s, then 1.5 times as long after each look, at most every 30 s."""
    import boto3

    from cloudml import connect
    from cloudml.waiting import Clock, Wait

    sm, cloud = boto3.client("sagemaker"), connect("sagemaker", project="bench")

    def described(left: list[str]) -> None:
        wait = Wait(Clock(), 3600)
        while left := [name for name in left if running(name)]:
            wait.pause("jobs")

    def running(name: str) -> bool:
        return str(sm.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]) in ("InProgress", "Stopping")

    command = f"sleep $(({jobs} / 8 + 20))"  # so long that all run when the last is started
    plain = [boto3_job(sm, f"plain-{number}", command) for number in range(jobs)]
    found, seconds = during(partial(described, plain))
    print(f"  boto3, a description of each job   {found.total():6} calls in {seconds:4.0f} s: {said(found)}")
    runs: list[Any] = []

    def train() -> None:
        runs.extend(cloud.train(f"bench-{number}", command=["sh", "-c", command]) for number in range(jobs))

    submitted, took = during(train)
    found, seconds = during(lambda: cloud.jobs.wait(runs))
    print(f"  cloud.jobs.wait(runs)              {found.total():6} calls in {seconds:4.0f} s: {said(found)}")
    print(f"  (starting them: {took:.0f} s, {said(submitted)})")


# -- what cloudml adds -----------------------------------------------------------------------------------------------


def overhead() -> None:
    import boto3

    from cloudml import connect

    cloud = connect("sagemaker", project="bench")
    sm, runtime, s3 = (boto3.client(name) for name in ("sagemaker", "sagemaker-runtime", "s3"))
    bucket = os.environ["CLOUDML_SAGEMAKER_BUCKET"]
    job = cloud.train("idle", command="sleep 600")
    _ = job.state
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.py").write_text(MODEL)
        cloud.models.register("fraud", folder)
    endpoint, body = cloud.deploy("bench-api", "fraud"), b'{"instances": [[1, 2]]}'
    store = cloud.session.provider.artifacts
    paired("a job's state", partial(sm.describe_training_job, TrainingJobName=job.id), lambda: job.state)
    asked = {"EndpointName": "bench-api", "Body": body, "ContentType": "application/json"}

    def plain() -> object:
        return json.loads(runtime.invoke_endpoint(**asked)["Body"].read())

    paired("a prediction", plain, lambda: endpoint.predict([[1, 2]]))
    put = partial(s3.put_object, Bucket=bucket, Key="bench", Body=b"{}")
    paired("a document stored", put, partial(store.put, "bench/one", b"{}"))
    job.cancel()
    endpoint.delete()


def paired(name: str, theirs: Callable[[], object], ours: Callable[[], object]) -> None:
    """Both in turns: their time until the answer, and the CPU that the caller takes."""
    acts = {"boto3": theirs, "cloudml": ours}
    counts = {who: during(act)[0].total() for who, act in acts.items()}
    found: dict[str, list[tuple[float, float]]] = {who: [] for who in acts}
    end = time.perf_counter() + 2 * SECONDS
    while time.perf_counter() < end:
        for who, act in acts.items():
            began, spent = time.perf_counter(), time.thread_time()
            act()
            found[who].append((time.perf_counter() - began, time.thread_time() - spent))
    for who, taken in found.items():
        wall, cpu = (1000 * statistics.median(each) for each in zip(*taken, strict=True))
        print(
            f"  {name:20}{who:8}{wall:8.2f} ms, CPU {cpu:6.2f} ms  {counts[who]} calls  (of {len(taken)})", flush=True
        )


def files(count: int) -> None:
    """Each contender stores the same folder under a prefix of its own; the emulator's own time is in all of them."""
    compared(count)
    print(f"  the same with {1000 * LATENCY:.0f} ms until an answer, as over a network:")
    slow = {"cloud": "sagemaker", "trouble": "slow", "operation": "PutObject", "seconds": LATENCY, "times": 1_000_000}
    admin("POST", "/faults", slow)
    compared(count // 10)
    admin("DELETE", "/faults")


def compared(count: int) -> None:
    import boto3
    from botocore.config import Config

    from cloudml import connect

    bucket, cloud = os.environ["CLOUDML_SAGEMAKER_BUCKET"], connect("sagemaker", project="bench")
    s3 = boto3.client("s3", config=Config(max_pool_connections=32))
    with tempfile.TemporaryDirectory() as folder:
        found = made(Path(folder), count)

        def put(prefix: str, path: Path) -> None:
            s3.put_object(Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())

        def upload(prefix: str, path: Path) -> None:
            s3.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")

        def loop(act: Callable[[str, Path], None], prefix: str) -> None:
            for path in found:
                act(prefix, path)

        def threads(act: Callable[[str, Path], None], prefix: str) -> None:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(partial(act, prefix), found))

        contenders: dict[str, Callable[[], object]] = {
            "boto3, put_object in a loop": partial(loop, put, "loop"),
            "boto3, upload_file in a loop": partial(loop, upload, "upload"),
            "boto3, put_object on 16 threads": partial(threads, put, "threads"),
            "cloudml": partial(cloud.session.provider.artifacts.put, f"bench/content/{count}", Path(folder)),
        }
        if aws := shutil.which("aws"):
            words = (aws, "s3", "cp", "--recursive", "--only-show-errors", folder, f"s3://{bucket}/cli")
            contenders["aws s3 cp --recursive"] = partial(subprocess.run, words, check=True)
        base = 0.0
        for name, act in contenders.items():
            spent = cpu()
            calls, seconds = during(act)
            base, spent = base or seconds, cpu() - spent
            figures = f"{seconds:7.1f} s, CPU {spent:5.1f} s  {count / seconds:6.0f} files/s  {calls.total()} calls"
            print(f"  {name:34}{figures}  {base / seconds:5.2f} times as fast as the loop", flush=True)


def made(folder: Path, count: int) -> list[Path]:
    """Small files in a hundred folders."""
    for number in range(count):
        place = folder / f"part-{number % 100}"
        place.mkdir(exist_ok=True)
        (place / f"{number}.bin").write_bytes(os.urandom(TYPICAL))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def cpu() -> float:
    """Seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def quickstart() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "examples/quickstart", folder, dirs_exist_ok=True)
        run = partial(subprocess.run, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run([sys.executable, "data.py"])
        for words in (
            "validate",
            "plan",
            "apply",
            "apply",
            "predict tumor-api -d @data/typical.json",
            "status",
            "destroy --all -y",
        ):
            command = [sys.executable, "-m", "cloudml", *words.split()]
            command += ["-p", "sagemaker"]
            found, seconds = during(partial(run, command))
            print(f"  cloudml {words:42}{seconds:6.1f} s  {said(found, 4)}", flush=True)


# -- the run ---------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is named")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        acts: dict[str, Callable[[], None]] = {
            "calls": partial(calls, given.jobs),
            "watch": partial(watch, given.jobs),
            "overhead": overhead,
            "files": partial(files, given.files),
            "quickstart": quickstart,
        }
        return acts[given.inside]()
    if wrong := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(wrong))}")
    for part in given.parts or PARTS:
        print(f"{part}:", flush=True)
        more = ("--jobs", str(given.jobs), "--files", str(given.files))
        if part == "start":
            start()
        else:
            subprocess.run([*EMULATE, sys.executable, __file__, "--inside", part, *more], check=True)
    return None


if __name__ == "__main__":
    main()
