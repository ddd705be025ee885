"""Custom jobs: worker pools as containers, in the service's own sequence of states."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from cloudml.emulation import Container, Ran
from cloudml.emulation.faults import Faults, Trouble
from cloudml.emulation.lifecycle import Lifecycle
from cloudml.errors import CloudmlError
from cloudml_vertex.emulator import checks
from cloudml_vertex.emulator.machines import check_machine
from cloudml_vertex.emulator.operations import Operations
from cloudml_vertex.emulator.problems import Problem, invalid, precondition, wrong_fields
from cloudml_vertex.emulator.runs import Runs, Source, environment
from cloudml_vertex.emulator.world import World, check_parent, page, stamp

CustomJob = aiplatform_v1.CustomJob.pb()
ListCustomJobsResponse = aiplatform_v1.ListCustomJobsResponse.pb()
STATE = aiplatform_v1.JobState
COLLECTION = "customJobs"
STAGES = ("JOB_STATE_QUEUED", "JOB_STATE_PENDING")
ENDED = (STATE.JOB_STATE_SUCCEEDED, STATE.JOB_STATE_FAILED, STATE.JOB_STATE_CANCELLED)
TICK = 0.05  # seconds
WEEK = 7 * 86400  # the service's default limit
GRACE = 20.0
STOCKOUT = "Resources are insufficient in region. Please try a different region or use a different accelerator."
POOL = "workerpool"
SPOT = aiplatform_v1.Scheduling.Strategy.SPOT
RESTARTS = 6  # of a spot job
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


@dataclass
class Going:
    """A job that has not ended."""

    name: str
    began: float
    reads: int = 0
    containers: dict[str, str] = field(default_factory=dict)  # replica -> container
    cancelled: bool = False
    timeout: float = WEEK
    started: float = 0.0
    restarts: int = 0


class Jobs:
    """One thread moves all jobs on, so that they go on when nobody looks."""

    def __init__(self, world: World, operations: Operations, runs: Runs, lifecycle: Lifecycle, faults: Faults) -> None:
        self._world = world
        self._operations = operations
        self._runs = runs
        self._lifecycle = lifecycle
        self._faults = faults
        self._going: dict[str, Going] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._move, name="vertex-jobs", daemon=True)
        self._thread.start()

    # -- the API -----------------------------------------------------------------------------------------------------

    def create_custom_job(self, request: Any) -> Any:
        check_parent(request.parent)
        checks.check_display(request.custom_job.display_name)
        checks.check_labels(request.custom_job.labels)
        _check_pools(request.custom_job.job_spec)
        job = CustomJob()
        job.CopyFrom(request.custom_job)
        checks.drop_outputs(job)
        job.name = f"{request.parent}/{COLLECTION}/{self._world.number()}"
        job.state = getattr(STATE, STAGES[0])
        stamp(job, "create_time", "update_time")
        limit = job.job_spec.scheduling.timeout.seconds or WEEK
        self._world.rows(COLLECTION)[job.name] = job
        self._going[job.name] = Going(job.name, self._lifecycle.clock(), timeout=limit)
        return job

    def get_custom_job(self, request: Any) -> Any:
        job = self._world.get(COLLECTION, request.name)
        self._looked(job)
        return job

    def list_custom_jobs(self, request: Any) -> Any:
        rows, token = page(request, self._world.under(COLLECTION, check_parent(request.parent)))
        for job in rows:
            self._looked(job)
        return ListCustomJobsResponse(custom_jobs=rows, next_page_token=token)

    def cancel_custom_job(self, request: Any) -> Any:
        """Best effort, and at once: the job is CANCELLING until its containers have ended."""
        job = self._world.get(COLLECTION, request.name)
        if job.state in ENDED:
            raise precondition(f"The job {job.name} is in a terminal state and cannot be cancelled.")
        job.state = STATE.JOB_STATE_CANCELLING
        self._going[job.name].cancelled = True
        return empty_pb2.Empty()

    def delete_custom_job(self, request: Any) -> Any:
        job = self._world.get(COLLECTION, request.name)
        if job.state not in ENDED:
            raise precondition(f"The job {job.name} is still running; cancel it first.")

        def finish() -> Any:
            self._world.rows(COLLECTION).pop(job.name, None)
            return empty_pb2.Empty()

        return self._operations.start("DeleteCustomJob", job.name, finish)

    def clear(self) -> None:
        with self._world.lock:
            self._going.clear()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _looked(self, job: Any) -> None:
        if job.name in self._going:
            self._going[job.name].reads += 1

    # -- the work ----------------------------------------------------------------------------------------------------

    def _move(self) -> None:
        while not self._closing.wait(TICK):
            with self._world.lock:
                for going in list(self._going.values()):
                    job = self._world.rows(COLLECTION)[going.name]
                    try:
                        self._step(going, job)
                    except (CloudmlError, OSError) as error:  # of this machine: the other jobs go on
                        going.containers = {}
                        self._finish(
                            going, job, STATE.JOB_STATE_FAILED, Problem("INTERNAL", f"Internal error: {error}")
                        )

    def _step(self, going: Going, job: Any) -> None:
        if going.cancelled:
            self._cancel(going, job)
        elif not going.containers:
            stage = self._lifecycle.stage(STAGES, going.began, going.reads)
            if stage is None:
                self._begin(going, job)
            else:
                job.state = getattr(STATE, stage)
        else:
            self._watch(going, job)

    def _begin(self, going: Going, job: Any) -> None:
        if self._faults.take("CreateCustomJob", job.display_name, Trouble.CAPACITY):
            self._finish(going, job, STATE.JOB_STATE_FAILED, Problem("RESOURCE_EXHAUSTED", STOCKOUT))
            return
        going.started = self._lifecycle.clock()
        try:
            for replica in replicas(job):
                going.containers[replica.name] = self._runs.start(*self._container(going, job, replica), mounted=True)
        except Problem as problem:
            self._finish(going, job, STATE.JOB_STATE_FAILED, problem)
            return
        job.state = STATE.JOB_STATE_RUNNING
        stamp(job, "start_time", "update_time")

    def _container(self, going: Going, job: Any, replica: Replica) -> tuple[Container, Source]:
        program = _program(replica.pool)
        number, project = job.name.rpartition("/")[2], job.name.split("/")[1]
        env = {
            "CLOUD_ML_JOB_ID": number,
            "CLUSTER_SPEC": json.dumps(cluster(job, replica)),
            **_directories(job.job_spec.base_output_directory.output_uri_prefix),
            **environment(program.env),
        }
        container = Container(
            id=f"job-{number}-{replica.name}",
            image=program.image,
            command=program.command,
            arguments=program.arguments,
            env=env,
            timeout=going.timeout,
            grace=GRACE,
            host_name=replica.host(number),
            peers=tuple(each.host(number) for each in replicas(job) if each.name != replica.name),
        )
        return container, Source(project, "ml_job", {"job_id": number, "task_name": replica.name})

    def _watch(self, going: Going, job: Any) -> None:
        """The first replica's end is the job's; another's failure is too."""
        spot = job.job_spec.scheduling.strategy == SPOT
        if spot and self._faults.take("CreateCustomJob", job.display_name, Trouble.PREEMPT):
            self._taken_away(going, job)
            return
        for name, id in going.containers.items():
            ran = self._runs.look(id)
            if ran.running:
                continue
            if ran.exit_code == 0 and name == f"{POOL}0-0":
                self._finish(going, job, STATE.JOB_STATE_SUCCEEDED, None)
                return
            if ran.exit_code != 0:
                self._finish(going, job, STATE.JOB_STATE_FAILED, self._exit(going, name, ran))
                return

    def _taken_away(self, going: Going, job: Any) -> None:
        """A spot job is started again, six times at most (facts, containers.md §1.8)."""
        if going.restarts == RESTARTS:
            self._finish(going, job, STATE.JOB_STATE_FAILED, Problem("RESOURCE_EXHAUSTED", STOCKOUT))
            return
        self._let_go(going)
        going.restarts += 1
        job.state = STATE.JOB_STATE_PENDING

    def _exit(self, going: Going, replica: str, ran: Ran) -> Problem:
        """In the service's words (facts, containers.md §1.4); a container that runs too long is ended from outside."""
        if self._lifecycle.clock() - going.started >= going.timeout:
            text = f"The job was cancelled: it ran longer than its timeout of {going.timeout:g}s."
            return Problem("DEADLINE_EXCEEDED", text)
        text = f"The replica {replica} exited with a non-zero status of {ran.exit_code}."
        more = f" Termination reason: {ran.reason}." if ran.reason else ""
        return Problem(
            "INVALID_ARGUMENT", f"{text}{more} To find out more about why your job exited please check the logs."
        )

    def _cancel(self, going: Going, job: Any) -> None:
        running = [id for id in going.containers.values() if self._runs.look(id).running]
        if running:
            self._runs.stop(running)
        else:
            self._finish(going, job, STATE.JOB_STATE_CANCELLED, None)

    def _finish(self, going: Going, job: Any, state: Any, problem: Problem | None) -> None:
        self._let_go(going)
        job.state = state
        if problem is not None:
            job.error.code, job.error.message = problem.number, problem.message
        stamp(job, "end_time", "update_time")
        self._going.pop(job.name, None)

    def _let_go(self, going: Going) -> None:
        for id in going.containers.values():
            self._runs.remove(id)
        going.containers = {}


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


def _program(pool: Any) -> Program:
    """A Python package is unpacked and run as a module; nothing that it requires is installed."""
    if pool.WhichOneof("task") == "container_spec":
        spec = pool.container_spec
        return Program(spec.image_uri, tuple(spec.command), tuple(spec.args), spec.env)
    spec = pool.python_package_spec
    places = [uri.replace("gs://", "/gcs/", 1) for uri in spec.package_uris]
    command = ("python3", "-c", UNPACK, json.dumps(places), spec.python_module)
    return Program(spec.executor_image_uri, command, tuple(spec.args), spec.env)


def _directories(base: str) -> dict[str, str]:
    """The ``AIP_*`` folders exist only below a base output directory."""
    if not base:
        return {}
    root = base.rstrip("/")
    folders = {"AIP_MODEL_DIR": "model", "AIP_CHECKPOINT_DIR": "checkpoints", "AIP_TENSORBOARD_LOG_DIR": "logs"}
    return {name: f"{root}/{folder}/" for name, folder in folders.items()}


def _check_pools(spec: Any) -> None:
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
