"""An Azure ML on this machine: its parts put together, its hosts, its environment, its end."""

from __future__ import annotations

import fnmatch
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cloudml.emulation import Cloud, Route, Site
from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Refused, Request
from cloudml_azureml.emulator.arm import Front, Served
from cloudml_azureml.emulator.assets import Assets
from cloudml_azureml.emulator.deployments import Deployments
from cloudml_azureml.emulator.endpoints import Endpoints
from cloudml_azureml.emulator.history import History
from cloudml_azureml.emulator.jobs import Jobs
from cloudml_azureml.emulator.meters import Meters
from cloudml_azureml.emulator.operations import Operations
from cloudml_azureml.emulator.runs import Runs
from cloudml_azureml.emulator.schedules import Schedules
from cloudml_azureml.emulator.serving import Serving
from cloudml_azureml.emulator.signin import Directory
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import ACCOUNT, GROUP, Store
from cloudml_azureml.emulator.wire import serve
from cloudml_azureml.emulator.workspaces import Workspaces

WORKSPACE = "cloudml"
CALLS = 500  # that are remembered
IMAGE = "cloudml.azurecr.io/cloudml-serve:latest"
BLOB_HOST = f"{ACCOUNT}.blob.core.windows.net"


class AzureML:
    """One emulator."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.storage = Storage(site.folder)
        self.directory = Directory()
        self.store = Store(self.directory.tenant)
        self.operations = Operations(site.lifecycle, site.faults)
        self.runs = Runs(site, self.storage)
        self.workspaces = Workspaces(self.storage)
        self.assets = Assets(self.storage)
        self.jobs = Jobs(self.runs, self.operations, self.workspaces)
        self.meters = Meters()
        self.serving = Serving(site, self.storage, self.store, self.directory, self.meters)
        self.endpoints = Endpoints(self.store, self.serving, self.operations, self.directory)
        self.deployments = Deployments(self.serving, self.operations)
        self.schedules = Schedules(self.store, self.jobs, self.operations)
        served = self.served()
        front = Front(self.directory, self.store, self.operations, site.faults, served)
        past = History(self.directory, self.store, self.runs, self.storage)
        self.hosts: Mapping[str, Callable[[Request], Answer | None]] = {
            "management.azure.com": front.respond,
            "login.microsoftonline.com": self.directory.respond,
            "*.api.azureml.ms": past.respond,
            "*.inference.ml.azure.com": self.serving.respond,
        }
        self._calls: deque[str] = deque(maxlen=CALLS)
        self._counts: Counter[str] = Counter()  # of all calls, by method and host
        self._counting = threading.Lock()
        self.server = serve(self.respond)

    def served(self) -> Sequence[Served]:
        assets = (self.workspaces, self.assets, self.jobs, self.schedules)
        serving = (self.endpoints, self.deployments, self.meters)
        return [route for part in (*assets, *serving) for route in part.routes()]

    def respond(self, request: Request) -> Answer | None:
        answer = self._answer(request)
        status = answer.status if answer else "lost"
        self._calls.append(f"{request.method} https://{request.host}{request.path} {status}")  # no query: no secrets
        return answer

    def _answer(self, request: Request) -> Answer | None:
        for pattern, answer in self.hosts.items():
            if fnmatch.fnmatchcase(request.host, pattern):
                with self._counting:
                    self._counts[f"{request.method} {pattern}"] += 1
                try:
                    return answer(request)
                except Refused as refused:
                    return refused.answer()
        return Answer(404, {"error": {"code": "NotFound", "message": f"{request.host} is not emulated"}})

    def cloud(self) -> Cloud:
        routes = [Route(host, self.server.port) for host in self.hosts]
        return Cloud(
            [*routes, Route(BLOB_HOST, self.storage.port)],
            self.environment(),
            self.close,
            inspect=self.inspect,
            reset=self.reset,
            account=self.account,
        )

    def environment(self) -> Mapping[str, str]:
        """What a program needs: Azure's own variables, and those of cloudml's provider."""
        return {
            "AZURE_TENANT_ID": self.directory.tenant,
            "AZURE_CLIENT_ID": self.directory.client,
            "AZURE_CLIENT_SECRET": self.directory.secret,
            **self.account(),
            "CLOUDML_AZUREML_RESOURCE_GROUP": GROUP,
            "CLOUDML_AZUREML_WORKSPACE": WORKSPACE,
            "CLOUDML_AZUREML_IMAGE": IMAGE,
            "CLOUDML_AZUREML_COMPUTE": "cpu-cluster",
        }

    def account(self) -> Mapping[str, str]:
        """Another subscription: a world of its own, in a region of its own."""
        subscription = str(uuid.uuid4())
        self.store.told.append(subscription)
        return {"AZURE_SUBSCRIPTION_ID": subscription, "CLOUDML_AZUREML_SUBSCRIPTION": subscription}

    def inspect(self) -> Mapping[str, Any]:
        """What there is, the last calls, and how many there were; blobs are Azurite's own affair."""
        return {"workspaces": self.store.summary(), "calls": [*self._calls], "counts": dict(self._counts)}

    def reset(self) -> None:
        """Everything is gone but the storage account's containers, which nobody will find again."""
        self.runs.close()
        self.operations.clear()
        self.serving.reset()
        self.meters.clear()
        self.store.clear()

    def close(self) -> None:
        self.schedules.close()
        self.reset()
        self.serving.close()
        self.server.close()
        self.storage.close()


def start(site: Site) -> Cloud:
    """Raises MissingExtra if Azurite or Node is not there, Unavailable if it does not start."""
    made = AzureML(site)
    try:
        made.storage.ready()
    except BaseException:
        made.close()
        raise
    return made.cloud()
