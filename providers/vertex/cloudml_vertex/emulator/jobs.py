"""Custom jobs: worker pools as containers, in the service's own sequence of states."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from cloudml.emulation import Container, Ran
from cloudml.emulation.faults import Faults, Trouble
from cloudml.emulation.lifecycle import Lifecycle
from cloudml.errors import CloudmlError
from cloudml_vertex.emulator import checks, pools
from cloudml_vertex.emulator.operations import Operations
from cloudml_vertex.emulator.problems import Problem, precondition
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
SPOT = aiplatform_v1.Scheduling.Strategy.SPOT
PREEMPTED = 6  # times that a spot job begins again
# What may pass by itself, as documented: SIGABRT and SIGSEGV, as the program's own number and as a shell counts it. Any
# other exit but 0 is an error of the user's code, which ends the job at once.
TRANSIENT = (6, 11, 128 + 6, 128 + 11)
WORKER_RESTARTS = 5  # of one replica
JOB_RETRIES = 3


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
    preempted: int = 0
    retries: int = 0
    restarts: Counter[str] = field(default_factory=Counter)  # by replica


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
        pools.check_pools(request.custom_job.job_spec)
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
                    except Problem as problem:
                        self._finish(going, job, STATE.JOB_STATE_FAILED, problem)
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
        first = not going.started
        going.started = going.started or self._lifecycle.clock()
        for replica in pools.replicas(job):
            self._start(going, job, replica)
        job.state = STATE.JOB_STATE_RUNNING
        stamp(job, "update_time", *(["start_time"] if first else []))

    def _start(self, going: Going, job: Any, replica: pools.Replica) -> None:
        going.containers[replica.name] = self._runs.start(*self._container(going, job, replica), mounted=True)

    def _container(self, going: Going, job: Any, replica: pools.Replica) -> tuple[Container, Source]:
        program = pools.program(replica.pool)
        number, project = job.name.rpartition("/")[2], job.name.split("/")[1]
        env = {
            "CLOUD_ML_JOB_ID": number,
            "CLUSTER_SPEC": json.dumps(pools.cluster(job, replica)),
            **pools.directories(job.job_spec.base_output_directory.output_uri_prefix),
            **environment(program.env),
        }
        container = Container(
            id=f"job-{number}-{replica.name}",
            image=program.image,
            command=program.command,
            arguments=program.arguments,
            env=env,
            timeout=max(1.0, going.timeout - (self._lifecycle.clock() - going.started)),
            grace=GRACE,
            host_name=replica.host(number),
            peers=tuple(each.host(number) for each in pools.replicas(job) if each.name != replica.name),
        )
        return container, Source(project, "ml_job", {"job_id": number, "task_name": replica.name})

    def _watch(self, going: Going, job: Any) -> None:
        """The first replica's end is the job's; another's failure is too, unless it may pass."""
        spot = job.job_spec.scheduling.strategy == SPOT
        if spot and self._faults.take("CreateCustomJob", job.display_name, Trouble.PREEMPT):
            self._taken_away(going, job)
            return
        for name, id in going.containers.items():
            ran = self._runs.look(id)
            if ran.running:
                continue
            if ran.exit_code != 0:
                self._failed(going, job, name, ran)
                return
            if name == pools.PRIMARY:
                self._finish(going, job, STATE.JOB_STATE_SUCCEEDED, None)
                return

    def _failed(self, going: Going, job: Any, name: str, ran: Ran) -> None:
        """What may pass is tried again as documented: that replica five times, then the whole job three times.

        ``restart_job_on_worker_restart`` leaves out the first; ``disable_retries`` both (assumed of a replica's).
        """
        scheduling = job.job_spec.scheduling
        if ran.exit_code not in TRANSIENT or scheduling.disable_retries or self._late(going):
            self._finish(going, job, STATE.JOB_STATE_FAILED, self._exit(going, name, ran))
        elif going.restarts[name] < WORKER_RESTARTS and not scheduling.restart_job_on_worker_restart:
            self._runs.remove(going.containers[name])
            going.restarts[name] += 1
            self._start(going, job, next(each for each in pools.replicas(job) if each.name == name))
        elif going.retries < JOB_RETRIES:
            going.retries += 1
            going.restarts.clear()
            self._again(going, job)
        else:
            self._finish(going, job, STATE.JOB_STATE_FAILED, self._exit(going, name, ran))

    def _taken_away(self, going: Going, job: Any) -> None:
        """A spot job is started again, six times at most (facts, containers.md §1.8)."""
        if going.preempted == PREEMPTED:
            self._finish(going, job, STATE.JOB_STATE_FAILED, Problem("RESOURCE_EXHAUSTED", STOCKOUT))
            return
        going.preempted += 1
        self._again(going, job)

    def _again(self, going: Going, job: Any) -> None:
        """All replicas from their beginning; what the job shows meanwhile is assumed."""
        self._let_go(going)
        job.state = STATE.JOB_STATE_PENDING

    def _late(self, going: Going) -> bool:
        return self._lifecycle.clock() - going.started >= going.timeout

    def _exit(self, going: Going, replica: str, ran: Ran) -> Problem:
        """In the service's words (facts, containers.md §1.4); a container that runs too long is ended from outside."""
        if self._late(going):
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
