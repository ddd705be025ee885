"""What runs behind endpoints: fleets that replace each other, and requests on their way to them."""

from __future__ import annotations

import hmac
import http.client
import random
import re
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from cloudml.emulation import Site
from cloudml.emulation.http import Answer
from cloudml.errors import CloudmlError
from cloudml_azureml.emulator.answers import Document, Refused, Request
from cloudml_azureml.emulator.collector import Collector
from cloudml_azureml.emulator.durations import seconds
from cloudml_azureml.emulator.fleet import Fleet, Instance
from cloudml_azureml.emulator.meters import Meters
from cloudml_azureml.emulator.ordered import meet
from cloudml_azureml.emulator.signin import ML, Directory
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import Resource, Store, Workspace

HOST = re.compile(r"([^.]+)\.([^.]+)\.inference\.ml\.azure\.com")
REVIVE_EVERY = 0.5  # seconds
QUEUE = 2  # requests that may wait or run, in multiples of what may run
DROPPED = frozenset(
    ("authorization", "host", "connection", "content-length", "transfer-encoding", "azureml-model-deployment")
)
# A PUT that changes nothing but these leaves the instances as they are.
LIVE = (
    "description",
    "properties",
    "requestSettings",
    "dataCollector",
    "provisioningState",
    "livenessProbe",
    "scaleSettings",
)

Key = tuple[str, str, str]  # workspace, endpoint, deployment


@dataclass
class Served:
    """A deployment as requests see it: the fleet that serves, how many requests run or wait, how many of them run."""

    fleet: Fleet | None = None
    starting: Fleet | None = None
    failed: str = ""  # the last output of a fleet that never served
    pending: int = 0
    running: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def place(self, width: int, deadline: float) -> Iterator[None]:
        """One of ``width`` places. Raises Refused where too many wait already, or none is free in time."""
        with self.changed:
            if self.pending >= QUEUE * width:
                raise Refused(429, "TooManyRequests", "Too many pending requests.")
            self.pending += 1
            free = self.changed.wait_for(lambda: self.running < width, max(0.0, deadline - time.monotonic()))
            self.running += free
            self.pending -= not free
        if not free:
            raise Refused(408, "RequestTimeout", "The request waited longer than requestTimeout.")
        try:
            yield
        finally:
            with self.changed:
                self.pending -= 1
                self.running -= 1
                self.changed.notify_all()


class Serving:
    """All deployments of one emulator."""

    def __init__(self, site: Site, storage: Storage, store: Store, directory: Directory, meters: Meters) -> None:
        self._site, self._storage, self._store, self._directory = site, storage, store, directory
        self._meters = meters
        self._served: dict[Key, Served] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(32, "azureml-deploy")
        self._mirrors = ThreadPoolExecutor(4, "azureml-mirror")
        self._collector = Collector(storage)
        self._closing = threading.Event()
        self._reviver = threading.Thread(target=self._revive, name="azureml-revive", daemon=True)
        self._reviver.start()

    # Deployments.

    def deploy(self, workspace: Workspace, endpoint: str, deployment: Resource) -> Future[None]:
        """Brings up what the resource says; what serves now goes on until then."""
        with self._lock:
            served = self._served.setdefault((workspace.guid, endpoint, deployment.name), Served())
        return self._pool.submit(self._deploy, workspace, endpoint, deployment, served)

    def _deploy(self, workspace: Workspace, endpoint: str, deployment: Resource, served: Served) -> None:
        before = served.fleet
        if before is not None and _runs_the_same(before.properties, deployment.properties):
            before.scale(deployment.body["sku"]["capacity"])
            before.properties = dict(deployment.properties)
            return
        fleet = served.starting = Fleet(self._site, self._storage, workspace, endpoint, deployment)
        try:
            fleet.start()
        except BaseException:
            served.failed = fleet.said()
            fleet.end()
            raise
        finally:
            served.starting = None
        deployment.hidden["route"] = fleet.route
        served.fleet, served.failed = fleet, ""
        if before is not None:
            before.end()

    def remove(self, workspace: Workspace, endpoint: str, *names: str) -> Future[None]:
        """From now on nobody is let in; the future is done when all instances are gone."""
        with self._lock:
            ending = [self._served.pop((workspace.guid, endpoint, name), None) for name in names]
        fleets = [served.fleet for served in ending if served and served.fleet]

        def end() -> None:
            for fleet in fleets:
                fleet.end()

        return self._pool.submit(end)

    def logs(self, workspace: Workspace, endpoint: str, name: str) -> str:
        """What its instances have written; of one that failed, what it wrote before."""
        served = self._served.get((workspace.guid, endpoint, name))
        if served is None:
            return ""
        return served.failed + (served.fleet.said() if served.fleet else "")

    def _revive(self) -> None:
        while not self._closing.wait(REVIVE_EVERY):
            for served in tuple(self._served.values()):
                if served.fleet:
                    served.fleet.revive()

    def reset(self) -> None:
        with self._lock:
            ending, self._served = self._served, {}
        for served in ending.values():
            for fleet in filter(None, (served.starting, served.fleet)):
                fleet.end(patient=False)

    def close(self) -> None:
        self._closing.set()
        self._reviver.join()
        self.reset()
        self._pool.shutdown(cancel_futures=True)
        self._mirrors.shutdown(cancel_futures=True)
        self._collector.close()

    # Requests.

    def respond(self, request: Request) -> Answer | None:
        """What <endpoint>.<region>.inference.ml.azure.com says; None when the answer is to be lost."""
        found = HOST.fullmatch(request.host)
        workspace, endpoint = self._endpoint(*(found.groups() if found else ("", "")))
        self._authorize(request, endpoint)
        if request.path == "/swagger.json":
            return Answer(404, {"error": {"code": "NotFound", "message": "The deployment has no swagger."}})
        lost = meet(self._site.faults, "POST score", endpoint.name)
        name = self._choose(request, endpoint)
        self._mirror(request, workspace, endpoint)
        answer = self._asked(request, workspace, endpoint, name)
        return None if lost else answer

    def _endpoint(self, name: str, region: str) -> tuple[Workspace, Resource]:
        for workspace in self._store:
            if workspace.region != region:
                continue
            for endpoint in workspace.children("onlineEndpoints"):
                if endpoint.name.lower() == name:
                    return workspace, endpoint
        raise Refused(404, "NotFound", f"There is no endpoint '{name}'.")

    def _authorize(self, request: Request, endpoint: Resource) -> None:
        if endpoint.properties["authMode"] != "Key":
            self._directory.check(request, ML)
            return
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        known = (endpoint.hidden["primaryKey"], endpoint.hidden["secondaryKey"])
        if kind.lower() != "bearer" or not any(hmac.compare_digest(key.encode(), each.encode()) for each in known):
            raise Refused(401, "KeyAuthenticationFailed", "key_auth_bad_header_or_key")

    def _choose(self, request: Request, endpoint: Resource) -> str:
        if named := request.headers.get("azureml-model-deployment"):
            return named
        traffic: dict[str, int] = {name: share for name, share in endpoint.hidden.get("traffic", {}).items() if share}
        if not traffic:
            raise Refused(404, "NotFound", "The endpoint has no deployment with a positive traffic weight.")
        return random.choices([*traffic], [*traffic.values()])[0]

    def _mirror(self, request: Request, workspace: Workspace, endpoint: Resource) -> None:
        """A copy for the deployment that is tried out; nobody waits for its answer."""
        if request.headers.get("azureml-model-deployment"):
            return
        for name, share in endpoint.hidden.get("mirrorTraffic", {}).items():
            if random.random() * 100 < share:
                self._mirrors.submit(self._mirrored, request, workspace, endpoint, name)

    def _mirrored(self, request: Request, workspace: Workspace, endpoint: Resource, name: str) -> None:
        try:
            self._asked(request, workspace, endpoint, name)
        except (Refused, CloudmlError, OSError):
            return

    def _asked(self, request: Request, workspace: Workspace, endpoint: Resource, name: str) -> Answer:
        """What a deployment says; one that is being replaced passes the request on to its successor."""
        while True:
            served = self._served.get((workspace.guid, endpoint.name, name))
            if served is None or served.fleet is None:
                raise Refused(404, "NotFound", f"Deployment '{name}' was not found or does not serve.")
            fleet = served.fleet
            with fleet.asked() as open:
                if open:
                    began = time.monotonic()
                    answer = self._answered(request, workspace, endpoint, served, fleet)
                    self._meters.count(workspace, endpoint.name, name, answer, time.monotonic() - began)
                    return answer
            time.sleep(0.005)

    def _answered(
        self, request: Request, workspace: Workspace, endpoint: Resource, served: Served, fleet: Fleet
    ) -> Answer:
        """A refusal is an answer as well."""
        try:
            return self._limited(request, workspace, endpoint, served, fleet)
        except Refused as refused:
            return refused.answer()

    def _limited(
        self, request: Request, workspace: Workspace, endpoint: Resource, served: Served, fleet: Fleet
    ) -> Answer:
        """Within the deployment's limits of time and of requests at once."""
        id, name = str(uuid.uuid4()), fleet.deployment.name
        settings: Document = fleet.properties["requestSettings"]
        timeout = seconds(settings["requestTimeout"])
        width = settings["maxConcurrentRequestsPerInstance"] * max(1, len(fleet.instances))
        deadline = time.monotonic() + timeout
        with served.place(width, deadline):
            answer = self._sent(request, fleet, id, deadline - time.monotonic())
        told = {
            **answer.headers,
            "x-request-id": id,
            "azureml-model-deployment": name,
            "ms-azureml-model-session": name,
        }
        answer = Answer(answer.status, answer.body, told)
        self._collector.keep(workspace, endpoint, fleet, id, request, answer)
        return answer

    def _sent(self, request: Request, fleet: Fleet, id: str, timeout: float) -> Answer:
        headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
        headers |= {"x-request-id": id, "x-ms-request-id": id}
        try:
            status, body, told = _forwarded(fleet.next(), request, headers, max(timeout, 0.01))
        except TimeoutError as late:
            raise Refused(408, "RequestTimeout", "The model did not answer within requestTimeout.") from late
        except (OSError, http.client.HTTPException) as lost:
            raise Refused(502, "BadGateway", "The model's container has crashed or ended the connection.") from lost
        kept = {"Content-Type": told.get("content-type", "application/octet-stream")}
        if status == 200:
            return Answer(200, body, kept)
        reason = told.get("reason", "")
        kept |= {"ms-azureml-model-error-statuscode": str(status), "ms-azureml-model-error-reason": reason}
        return Answer(424, body, kept)


def _forwarded(
    instance: Instance, request: Request, headers: dict[str, str], timeout: float
) -> tuple[int, bytes, dict[str, str]]:
    for fresh in (False, True):
        try:
            with instance.connection(timeout) as connection:
                connection.request(request.method, request.target, request.body, headers)
                answer = connection.getresponse()
                body = answer.read()
                told = {name.lower(): value for name, value in answer.getheaders()}
                return answer.status, body, {**told, "reason": answer.reason}
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if fresh:
                raise
            instance.hang_up()  # it had been idle for too long
    raise AssertionError("unreachable")


def _runs_the_same(before: Document, after: Document) -> bool:
    return {**before, **dict.fromkeys(LIVE)} == {**after, **dict.fromkeys(LIVE)}
