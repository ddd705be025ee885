"""Model deployment monitoring jobs, as resources with their states; what they would find is not emulated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import empty_pb2

from cloudml_vertex.emulator import checks
from cloudml_vertex.emulator.operations import Operations
from cloudml_vertex.emulator.problems import invalid, precondition
from cloudml_vertex.emulator.world import World, check_parent, page, stamp

Job = aiplatform_v1.ModelDeploymentMonitoringJob.pb()
Listed = aiplatform_v1.ListModelDeploymentMonitoringJobsResponse.pb()
STATE = aiplatform_v1.JobState
COLLECTION = "modelDeploymentMonitoringJobs"
LEAST_INTERVAL = 3600  # seconds


class Monitoring:
    """A job is PENDING until traffic has arrived (Google's own system test; facts, vertex.md §6)."""

    def __init__(self, world: World, operations: Operations, asked: Callable[[str], float]) -> None:
        """``asked`` says when an endpoint was asked last, in seconds since 1970; 0 if never."""
        self._world = world
        self._operations = operations
        self._asked = asked

    def create_model_deployment_monitoring_job(self, request: Any) -> Any:
        given = request.model_deployment_monitoring_job
        checks.check_display(given.display_name)
        checks.check_labels(given.labels)
        endpoint = self._world.get("endpoints", given.endpoint)
        ids = {each.id for each in endpoint.deployed_models}
        for config in given.model_deployment_monitoring_objective_configs:
            if config.deployed_model_id not in ids:
                raise invalid(f"The endpoint has no deployed model {config.deployed_model_id!r}.")
        if given.model_deployment_monitoring_schedule_config.monitor_interval.seconds < LEAST_INTERVAL:
            raise invalid("monitor_interval must be at least one hour.")
        job = Job()
        job.CopyFrom(given)
        checks.drop_outputs(job)
        job.name = f"{check_parent(request.parent)}/{COLLECTION}/{self._world.number()}"
        job.state = STATE.JOB_STATE_PENDING
        stamp(job, "create_time", "update_time")
        self._world.rows(COLLECTION)[job.name] = job
        return job

    def get_model_deployment_monitoring_job(self, request: Any) -> Any:
        return self._moved(self._world.get(COLLECTION, request.name))

    def list_model_deployment_monitoring_jobs(self, request: Any) -> Any:
        rows = [self._moved(row) for row in self._world.under(COLLECTION, check_parent(request.parent))]
        found, token = page(request, rows)
        return Listed(model_deployment_monitoring_jobs=found, next_page_token=token)

    def pause_model_deployment_monitoring_job(self, request: Any) -> Any:
        return self._turn(request.name, STATE.JOB_STATE_PAUSED)

    def resume_model_deployment_monitoring_job(self, request: Any) -> Any:
        job = self._world.get(COLLECTION, request.name)
        if job.state != STATE.JOB_STATE_PAUSED:
            raise precondition(f"{job.name} is not paused.")
        return self._turn(request.name, STATE.JOB_STATE_RUNNING)

    def update_model_deployment_monitoring_job(self, request: Any) -> Any:
        given = request.model_deployment_monitoring_job
        job = self._moved(self._world.get(COLLECTION, given.name))
        if job.state == STATE.JOB_STATE_PENDING:
            raise precondition(f"{job.name} is pending and cannot be updated.")
        fields = checks.masked("ModelDeploymentMonitoringJob", request.update_mask.paths)

        def finish() -> Any:
            for field in fields:
                job.ClearField(field)
            part = Job()
            for field in fields:
                value = getattr(given, field)
                if hasattr(value, "CopyFrom"):
                    getattr(part, field).CopyFrom(value)
                else:
                    setattr(part, field, value)
            job.MergeFrom(part)
            stamp(job, "update_time")
            return job

        return self._operations.start("UpdateModelDeploymentMonitoringJob", job.name, finish)

    def delete_model_deployment_monitoring_job(self, request: Any) -> Any:
        job = self._world.get(COLLECTION, request.name)

        def finish() -> Any:
            self._world.rows(COLLECTION).pop(job.name, None)
            return empty_pb2.Empty()

        return self._operations.start("DeleteModelDeploymentMonitoringJob", job.name, finish)

    def _moved(self, job: Any) -> Any:
        """As it is by now."""
        made = job.create_time.seconds + job.create_time.nanos / 1e9
        if job.state == STATE.JOB_STATE_PENDING and self._asked(job.endpoint) > made:
            job.state = STATE.JOB_STATE_RUNNING
            stamp(job, "update_time")
        return job

    def _turn(self, name: str, state: Any) -> Any:
        job = self._world.get(COLLECTION, name)
        job.state = state
        stamp(job, "update_time")
        return empty_pb2.Empty()
