"""What a custom job's pools say: which replicas there are, what each runs, and which rules a pool can break."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudml_vertex.emulator.machines import check_machine
from cloudml_vertex.emulator.problems import invalid, wrong_fields

POOL = "workerpool"
PRIMARY = f"{POOL}0-0"
PACKAGES = 100  # of a Python package spec (its reference)
UNPACK = """
import json, os, shutil, sys, tempfile
home, places, module = tempfile.mkdtemp(), json.loads(sys.argv[1]), sys.argv[2]
for number, place in enumerate(places):
    if not os.path.isfile(place):
        sys.exit("The package " + place.replace("/gcs/", "gs://", 1) + " does not exist.")
    form = "zip" if place.endswith((".whl", ".zip")) else "gztar"
    shutil.unpack_archive(place, os.path.join(home, str(number)), form)
roots = [folder for folder, _, names in os.walk(home) if "setup.py" in names or "pyproject.toml" in names]
tops = roots + [root + "/src" for root in roots] + [os.path.join(home, str(number)) for number in range(len(places))]
os.environ["PYTHONPATH"] = os.pathsep.join(tops + [os.environ.get("PYTHONPATH", "")])
os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[3:]])
"""


@dataclass(frozen=True)
class Replica:
    """One machine of a pool."""

    name: str
    pool: Any
    task: str
    index: int

    def host(self, number: str) -> str:
        return f"cmle-training-{self.name}-{number[:10]}"


def replicas(job: Any) -> list[Replica]:
    """All machines, the primary one first."""
    return [
        Replica(f"{POOL}{number}-{index}", pool, f"{POOL}{number}", index)
        for number, pool in enumerate(job.job_spec.worker_pool_specs)
        for index in range(pool.replica_count)
    ]


def cluster(job: Any, replica: Replica) -> Mapping[str, Any]:
    """``CLUSTER_SPEC`` as documented: who there is, and who this is."""
    number = job.name.rpartition("/")[2]
    hosts: dict[str, list[str]] = {}
    for each in replicas(job):
        hosts.setdefault(each.task, []).append(f"{each.host(number)}:2222")
    return {
        "cluster": hosts,
        "environment": "cloud",
        "task": {"type": replica.task, "index": replica.index},
        "job": json.dumps({"display_name": job.display_name}),
    }


@dataclass(frozen=True)
class Program:
    """What a replica runs, whichever way its pool says it."""

    image: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    env: Any


def program(pool: Any) -> Program:
    """A Python package is unpacked and run as a module; nothing that it requires is installed."""
    if pool.WhichOneof("task") == "container_spec":
        spec = pool.container_spec
        return Program(spec.image_uri, tuple(spec.command), tuple(spec.args), spec.env)
    spec = pool.python_package_spec
    places = [uri.replace("gs://", "/gcs/", 1) for uri in spec.package_uris]
    command = ("python3", "-c", UNPACK, json.dumps(places), spec.python_module)
    return Program(spec.executor_image_uri, command, tuple(spec.args), spec.env)


def directories(base: str) -> dict[str, str]:
    """The ``AIP_*`` folders exist only below a base output directory."""
    if not base:
        return {}
    root = base.rstrip("/")
    folders = {"AIP_MODEL_DIR": "model", "AIP_CHECKPOINT_DIR": "checkpoints", "AIP_TENSORBOARD_LOG_DIR": "logs"}
    return {name: f"{root}/{folder}/" for name, folder in folders.items()}


def check_pools(spec: Any) -> None:
    for index, pool in enumerate(spec.worker_pool_specs):
        place = f"job_spec.worker_pool_specs[{index}]"
        if index == 0 and pool.replica_count != 1:
            raise wrong_fields((f"{place}.replica_count", "The first worker pool must have exactly one replica."))
        if pool.WhichOneof("task") is None:
            raise wrong_fields((place, "Either container_spec or python_package_spec is needed."))
        package = pool.python_package_spec
        if pool.WhichOneof("task") == "python_package_spec" and not 0 < len(package.package_uris) <= PACKAGES:
            raise wrong_fields((f"{place}.python_package_spec.package_uris", f"1 to {PACKAGES} packages are needed."))
        check_machine(pool.machine_spec, f"{place}.machine_spec")
        for each in (*pool.container_spec.env, *package.env):
            if each.name.startswith("AIP_"):
                raise invalid(f"The environment variable {each.name} is reserved.")
