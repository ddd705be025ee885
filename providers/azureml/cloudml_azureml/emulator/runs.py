"""What a command job does: its states, its nodes, its log, its end. One thread a run."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from cloudml.emulation import Site
from cloudml.emulation.faults import Trouble
from cloudml.errors import CloudmlError, NotFound
from cloudml_azureml.emulator.answers import Document, Refused, told
from cloudml_azureml.emulator.durations import seconds
from cloudml_azureml.emulator.nodes import Nodes
from cloudml_azureml.emulator.places import ARTIFACTS, container, run_folder
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import Resource, Workspace, now

BEFORE = ("Starting", "Provisioning", "Preparing", "Queued")  # what a job shows before it runs
TERMINAL = ("Completed", "Failed", "Canceled")
LOOK_EVERY = 0.05  # seconds between two looks at the nodes
FLUSH_EVERY = 5  # looks between two writes of the log


@dataclass
class Run:
    """What is known of a job besides its resource."""

    workspace: Workspace
    job: Resource
    since: float
    started: str | None = None
    ended_at: str | None = None
    error: Document | None = None
    warnings: list[Document] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)  # paths in the run's folder
    reads: int = 0
    attempt: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    done: Future[None] = field(default_factory=Future)

    @property
    def status(self) -> str:
        status: str = self.job.properties["status"]
        return status

    def become(self, status: str) -> None:
        with self.workspace.lock:
            self.job.properties["status"] = status


class Runs:
    """All runs of one emulator."""

    def __init__(self, site: Site, storage: Storage) -> None:
        self._site, self._storage = site, storage
        self._runs: dict[tuple[str, str], Run] = {}
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()

    def start(self, workspace: Workspace, job: Resource) -> None:
        run = Run(workspace, job, self._site.lifecycle.clock())
        self._runs[workspace.guid, job.name] = run
        thread = threading.Thread(target=self._go, args=(run,), name=f"job-{job.name}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def of(self, workspace: Workspace, job: Resource) -> Run:
        return self._runs[workspace.guid, job.name]

    def look(self, workspace: Workspace, job: Resource) -> Run:
        """A client's look at it, which may be what moves it on."""
        run = self.of(workspace, job)
        run.reads += 1
        return run

    def ended(self, workspace: Workspace, job: Resource) -> bool:
        return self.of(workspace, job).status in TERMINAL

    def cancel(self, workspace: Workspace, job: Resource) -> Future[None]:
        """Asks it to end; the future is done when it has."""
        run = self.of(workspace, job)
        with workspace.lock:
            if run.status not in TERMINAL:
                run.become("CancelRequested")
        run.stopping.set()
        return run.done

    def close(self) -> None:
        """Ends them all."""
        self._closing.set()
        for run in self._runs.values():
            run.stopping.set()
        for thread in self._threads:
            thread.join(30)
        self._runs.clear()
        self._closing.clear()

    # Below here: the thread of one run.

    def _go(self, run: Run) -> None:
        nodes = Nodes(self._site, self._storage, run.workspace, run.job)
        try:
            self._wait(run)
            if not run.stopping.is_set():
                self._refuse_what_was_ordered(run)
                run.started = now()
                nodes.prepare()
                self._attempts(run, nodes)
        except Refused as refused:
            self._failed(run, refused.code, refused.message)
        except NotFound as missing:
            self._failed(run, "UserError", f"The environment's image could not be pulled: {told(missing)}")
        except (CloudmlError, OSError) as failure:
            self._failed(run, "SystemError", str(failure))
        finally:
            nodes.remove()
            run.ended_at = run.ended_at or now()
            if run.status not in TERMINAL:  # cancelled before it ran, or a defect of ours
                run.become("Canceled" if run.stopping.is_set() else "Failed")
            run.done.set_result(None)

    def _wait(self, run: Run) -> None:
        """Until the states before Running are over."""
        while stage := self._site.lifecycle.stage(BEFORE, run.since, run.reads):
            if run.status != stage and not run.stopping.is_set():
                run.become(stage)
            if run.stopping.wait(0.02):
                return

    def _refuse_what_was_ordered(self, run: Run) -> None:
        fault = self._site.faults.take("PUT jobs", run.job.name, Trouble.CAPACITY, Trouble.FAIL)
        if fault and fault.trouble is Trouble.CAPACITY:
            said = "AllocationFailed: there is not enough capacity for the requested VM size in this region."
            raise Refused(409, "AllocationFailed", said)
        if fault:
            raise Refused(500, "SystemError", "The job failed for an internal reason.")

    def _attempts(self, run: Run, nodes: Nodes) -> None:
        """The job, again after each time that its spot machines are taken away."""
        timeout = seconds((run.job.properties.get("limits") or {}).get("timeout"))
        deadline = self._site.lifecycle.clock() + timeout if timeout else None
        while True:
            nodes.start(run.attempt)
            run.become("Running")
            how = self._follow(run, nodes, deadline)
            if how != "preempted":
                break
            nodes.moved()
            run.attempt += 1
            run.warnings.append({"source": "Compute", "message": "The low-priority nodes were preempted."})
            run.become("Queued")
        if how == "ended" and not run.stopping.is_set():
            run.become("Finalizing")
        nodes.keep()
        self._end(run, nodes, how)

    def _follow(self, run: Run, nodes: Nodes, deadline: float | None) -> str:
        """Until the nodes have ended, for whatever reason: ``ended``, ``cancelled``, ``timed-out`` or ``preempted``."""
        looks, how = 0, "ended"
        while nodes.running():
            looks += 1
            if looks % FLUSH_EVERY == 1:
                self._log(run, nodes)
            if deadline is not None and self._site.lifecycle.clock() > deadline:
                how = "timed-out"
            elif nodes.spot and self._site.faults.take("PUT jobs", run.job.name, Trouble.PREEMPT):
                how = "preempted"
            elif run.stopping.is_set():
                how = "cancelled"
            if how != "ended":
                nodes.stop()
                break
            run.stopping.wait(LOOK_EVERY)
        self._log(run, nodes)
        return how

    def _log(self, run: Run, nodes: Nodes) -> None:
        for name, data in nodes.said():
            if name not in run.logs:
                run.logs.append(name)
            blob = f"{run_folder(run.job.name)}/{name}"
            self._storage.append(container(run.workspace, ARTIFACTS), blob, data)

    def _end(self, run: Run, nodes: Nodes, how: str) -> None:
        if how == "timed-out":
            limit = run.job.properties["limits"]["timeout"]
            said = f"The job was canceled because it exceeded its maximum run duration of {limit}."
            run.warnings.append({"source": "Compute", "message": said})
            run.error = {"code": "UserError", "message": said, "innerError": {"code": "JobTimeout"}}
        failed = nodes.failure()
        run.ended_at = now()
        if how != "ended" or run.stopping.is_set():
            run.become("Canceled")
        elif failed:
            log, code, reason = failed
            said = f"Execution failed. User process '/bin/bash' exited with status code {code}. "
            said += f"Please check log file '{log}' for error details." + (f" {reason}" if reason else "")
            self._failed(run, "UserError", said)
        else:
            run.become("Completed")

    def _failed(self, run: Run, code: str, message: str) -> None:
        run.ended_at = now()
        run.error = {"code": code, "message": message}
        run.become("Failed")
