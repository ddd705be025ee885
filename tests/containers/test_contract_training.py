"""Jobs, container by container: the image started with the command, files and variables that each platform gives it.

Facts: SageMaker's "your own training algorithms", Azure ML's command jobs and PyTorch distribution, Vertex AI's custom
containers and CLUSTER_SPEC, Kubeflow Trainer's PET variables on a restricted pod.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, until

from cloudml.images import Built

SCRIPT = """
import os, signal, socket, sys, time
what, nonce = sys.argv[1:]
rank, nodes = int(os.environ["CLOUDML_NODE_RANK"]), os.environ["CLOUDML_NUM_NODES"]
master = os.environ["CLOUDML_MASTER_ADDR"], int(os.environ["CLOUDML_MASTER_PORT"])

def keep(text):
    with open(os.environ["CLOUDML_MODEL_DIR"] + "/model.py", "w") as file:
        file.write("# " + text)

def stopped(*_):
    with open(os.environ["CLOUDML_CHECKPOINT_DIR"] + "/last", "w") as file:
        file.write(nonce)
    sys.exit(0)

def connected():
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(master, 5)
        except OSError:  # its name may not be known yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)

if what == "learn":
    keep(nonce)
elif what == "fail":
    raise ValueError("it went wrong " + nonce)
elif what == "wait":
    signal.signal(signal.SIGTERM, stopped)
    print("waiting", flush=True)
    time.sleep(120)
elif rank == 0:
    with socket.create_server(("0.0.0.0", master[1])) as server:
        server.settimeout(60)
        peer = server.accept()[0]
        keep(f"{peer.makefile().readline().strip()} heard by {rank}")
        peer.sendall(b"heard")
else:
    with connected() as peer:
        peer.sendall(f"{nonce} from {rank} of {nodes}\\n".encode())
        assert peer.recv(5) == b"heard"
"""
NAMES = ("node-0", "node-1")


@dataclass(frozen=True)
class Node:
    """What is asked of one machine of a job, and a folder of its own on this one."""

    place: Path
    words: tuple[str, ...]
    rank: int = 0
    hosts: tuple[str, ...] = NAMES[:1]

    def folder(self, name: str) -> Path:
        found = self.place / name
        found.mkdir(parents=True, exist_ok=True)
        return found

    def source(self, name: str) -> Path:
        found = self.folder(name)
        (found / "train.py").write_text(SCRIPT)
        return found


@dataclass(frozen=True)
class Started:
    """How a platform starts the container, and where it looks afterwards; for a reason, in the log if nowhere else."""

    options: dict[str, Any]
    command: tuple[str, ...]
    model: Path
    checkpoints: Path
    failure: Path | None


def mounted(*places: tuple[Path, str, str]) -> dict[str, Any]:
    return {str(path): {"bind": inside, "mode": mode} for path, inside, mode in places}


def sagemaker(node: Node) -> Started:
    """``docker run IMAGE train``; all that there is to know is below /opt/ml, and its inputs may only be read."""
    config, channel = node.folder("input/config"), node.folder("input/data/cloudml")
    for name in ("model", "output/data", "checkpoints"):
        node.folder(name)
    node.source("input/data/cloudml/source")
    spec = {"command": ["python3", "train.py", "{params.what}", "{params.nonce}"]}
    (channel / "spec.json").write_text(json.dumps({"kind": "job", "spec": spec}))
    what, nonce = node.words
    (config / "hyperparameters.json").write_text(json.dumps({"what": json.dumps(what), "nonce": nonce}))
    (config / "inputdataconfig.json").write_text(json.dumps({"cloudml": {"TrainingInputMode": "File"}}))
    hosts = {"current_host": node.hosts[node.rank], "hosts": list(node.hosts), "network_interface_name": "eth0"}
    (config / "resourceconfig.json").write_text(json.dumps(hosts))
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/fraud-1a2b3c4d-1"
    env = {"TRAINING_JOB_NAME": "fraud-1a2b3c4d-1", "TRAINING_JOB_ARN": arn, "AWS_REGION": "eu-west-1"}
    volumes = mounted((node.place, "/opt/ml", "rw"), (node.place / "input", "/opt/ml/input", "ro"))
    place = node.place
    return Started(
        {"volumes": volumes, "environment": env},
        ("train",),
        place / "model",
        place / "checkpoints",
        place / "output/failure",
    )


def azureml(node: Node) -> Started:
    """A shell runs one command line beside the code's snapshot; the image's own entrypoint counts for nothing."""
    code, given, output = node.source("code"), node.folder("given"), node.folder("output")
    spec = {"command": ["python3", "train.py", *node.words]}
    (given / "spec.json").write_text(json.dumps({"kind": "job", "spec": spec}))
    work = "/mnt/azureml/cr/j/0f9d/exe/wd"
    inside, out = "/mnt/azureml/cr/j/0f9d/cap/data-capability/wd/INPUT_cloudml", f"{work}/OUTPUT_run"
    env = {
        "AZUREML_RUN_ID": "fraud-1a2b3c4d-1",
        "AZUREML_CR_NODE_RANK": str(node.rank),
        "AZURE_ML_INPUT_cloudml": inside,
        "MASTER_ADDR": node.hosts[0],
        "MASTER_PORT": "6105",
        "WORLD_SIZE": str(len(node.hosts)),
        "NODE_RANK": str(node.rank),
        "RANK": str(node.rank),
        "LOCAL_RANK": "0",
    }
    line = f"cloudml-entrypoint train --id fraud-1a2b3c4d-1 --spec {inside}/spec.json --source . --output {out}"
    options = {
        "entrypoint": ["/bin/bash", "-c"],
        "working_dir": work,
        "volumes": mounted((code, work, "rw"), (given, inside, "ro"), (output, out, "rw")),
        "environment": env,
    }
    return Started(options, (line,), output / "model", output / "checkpoints", output / "failure.json")


def vertex(node: Node) -> Started:
    """``containerSpec.args``; buckets are mounted below /gcs, and the first pool has one machine."""
    bucket, source = node.folder("bucket"), node.source("source")
    pools = {f"workerpool{number}": [f"{host}:2222"] for number, host in enumerate(node.hosts)}
    task = {"type": f"workerpool{node.rank}", "index": 0}
    env = {
        "CLOUD_ML_JOB_ID": "4242",
        "AIP_MODEL_DIR": "gs://shop/run/model/",
        "AIP_CHECKPOINT_DIR": "gs://shop/run/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": "gs://shop/run/logs/",
        "CLUSTER_SPEC": json.dumps({"cluster": pools, "task": task, "environment": "cloud"}),
    }
    volumes = mounted((bucket, "/gcs/shop", "rw"), (source, "/code", "ro"))
    options = {"volumes": volumes, "environment": env, "working_dir": "/code"}
    command = ("train", "--", "python3", "train.py", *node.words)
    return Started(options, command, bucket / "run/model", bucket / "run/checkpoints", None)


def kubeflow(node: Node) -> Started:
    """A restricted pod: any user, nothing to write to but what is mounted; the reason goes to the termination log."""
    output, source, log = node.folder("output"), node.source("source"), node.place / "termination-log"
    log.touch()
    log.chmod(0o666)
    output.chmod(0o777)
    env = {
        "CLOUDML_OUTPUT_DIR": "/output",
        "PET_NNODES": str(len(node.hosts)),
        "PET_NODE_RANK": str(node.rank),
        "PET_MASTER_ADDR": node.hosts[0],
        "PET_MASTER_PORT": "29400",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    }
    options = {
        "volumes": mounted((output, "/output", "rw"), (source, "/code", "ro"), (log, "/dev/termination-log", "rw")),
        "environment": env,
        "working_dir": "/code",
        "user": "12345:54321",
        "read_only": True,
        "tmpfs": {"/tmp": ""},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }
    return Started(
        options, ("train", "--", "python3", "train.py", *node.words), output / "model", output / "checkpoints", log
    )


def docker(node: Node) -> Started:
    """Nothing is given but what somebody wrote on the command line."""
    output, source = node.folder("output"), node.source("source")
    env = {
        "CLOUDML_OUTPUT_DIR": "/output",
        "CLOUDML_NUM_NODES": str(len(node.hosts)),
        "CLOUDML_NODE_RANK": str(node.rank),
        "CLOUDML_MASTER_ADDR": node.hosts[0],
    }
    volumes = mounted((output, "/output", "rw"), (source, "/code", "ro"))
    options = {"volumes": volumes, "environment": env, "working_dir": "/code", "user": f"{os.getuid()}:{os.getgid()}"}
    command = ("train", "--", "python3", "train.py", *node.words)
    return Started(options, command, output / "model", output / "checkpoints", output / "failure.json")


PLATFORMS = [sagemaker, azureml, vertex, kubeflow, docker]
GRACE = {"sagemaker": 120}  # seconds between SIGTERM and SIGKILL; 30 where nothing is promised
platforms = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.__name__)
Platform = Callable[[Node], Started]


def ended(container: Any) -> tuple[int, str]:
    code: int = container.wait(timeout=DEADLINE)["StatusCode"]
    return code, container.logs().decode()


@platforms
def test_a_job_leaves_its_model_where_the_platform_takes_it(
    platform: Platform, plain: Built, tmp_path: Path, nonce: str, start: Callable[..., Any]
) -> None:
    asked = platform(Node(tmp_path, ("learn", nonce)))
    code, said = ended(start(plain.name, *asked.command, **asked.options))
    assert code == 0, said
    assert (asked.model / "model.py").read_text() == f"# {nonce}"
    assert json.loads((asked.model / "cloudml-model.json").read_text())["flavor"] == "python"
    assert not (asked.failure and asked.failure.exists() and asked.failure.read_text())


@platforms
def test_a_job_that_fails_says_why_where_the_platform_looks(
    platform: Platform, plain: Built, tmp_path: Path, nonce: str, start: Callable[..., Any]
) -> None:
    asked = platform(Node(tmp_path, ("fail", nonce)))
    code, said = ended(start(plain.name, *asked.command, **asked.options))
    assert code == 1, said
    assert f"ValueError: it went wrong {nonce}" in said
    assert not list(asked.model.glob("*"))
    if asked.failure is None:
        return
    text = asked.failure.read_text()
    if asked.failure.suffix == ".json":
        found = json.loads(text)
        text = f"{found['type']}: {found['message']}"
    assert text == f"ValueError: it went wrong {nonce}"


@platforms
def test_a_job_that_is_stopped_has_time_to_save_its_work(
    platform: Platform, plain: Built, tmp_path: Path, nonce: str, start: Callable[..., Any]
) -> None:
    asked = platform(Node(tmp_path, ("wait", nonce)))
    container = start(plain.name, *asked.command, **asked.options)
    until(lambda: b"waiting" in container.logs())
    container.stop(timeout=GRACE.get(platform.__name__, 30))
    code, said = ended(container)
    assert code == 0, said
    assert (asked.checkpoints / "last").read_text() == nonce


@platforms
def test_two_nodes_find_each_other(
    platform: Platform, plain: Built, tmp_path: Path, nonce: str, engine: Any, network: Any, start: Callable[..., Any]
) -> None:
    nodes = [Node(tmp_path / name, ("meet", nonce), rank, NAMES) for rank, name in enumerate(NAMES)]
    asked = [platform(node) for node in nodes]
    containers = []
    for rank in (1, 0):  # whoever comes first waits for the other
        names = {network.name: engine.api.create_endpoint_config(aliases=[NAMES[rank]])}
        options = {**asked[rank].options, "network": network.name, "networking_config": names}
        containers.append(start(plain.name, *asked[rank].command, **options))
    for container in containers:
        code, said = ended(container)
        assert code == 0, said
    assert (asked[0].model / "model.py").read_text() == f"# {nonce} from 1 of 2 heard by 0"
    assert not list(asked[1].model.glob("*")), "only the first node leaves a model"
