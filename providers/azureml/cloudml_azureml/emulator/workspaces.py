"""The workspace itself, its datastores and their secrets, its compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Document, invalid, missing, user_error
from cloudml_azureml.emulator.arm import Call, Served
from cloudml_azureml.emulator.places import ARTIFACTS, BLOBS, container
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import ACCOUNT, PROVIDER, WORKSPACES, Workspace, describe

HOURS = 1.0  # how long a signature lasts unless the client says
# Clusters that are there from the beginning: name, size, whether its machines can be taken away, most nodes.
CLUSTERS: Mapping[str, tuple[str, str, int]] = {
    "cpu-cluster": ("STANDARD_D2S_V3", "Dedicated", 4),
    "spot-cluster": ("STANDARD_D2S_V3", "LowPriority", 4),
}


class Workspaces:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._made: set[str] = set()

    def routes(self) -> Sequence[Served]:
        return (
            Served("GET", "", self.show),
            Served("GET", "datastores", self.datastores),
            Served("GET", "datastores/{name}", self.datastore),
            Served("POST", "datastores/{name}/listSecrets", self.secrets),
            Served("GET", "computes", self.computes),
            Served("GET", "computes/{name}", self.compute),
        )

    def ready(self, workspace: Workspace) -> None:
        """Its containers are there."""
        if workspace.guid not in self._made:
            for datastore in (BLOBS, ARTIFACTS):
                self._storage.create(container(workspace, datastore))
            self._made.add(workspace.guid)

    def show(self, call: Call) -> Answer:
        return Answer(200, describe(call.workspace))

    def datastores(self, call: Call) -> Answer:
        names = (BLOBS,) if call.query.get("isDefault", "").lower() == "true" else (BLOBS, ARTIFACTS)
        return Answer(200, {"value": [self._datastore(call.workspace, name) for name in names]})

    def datastore(self, call: Call) -> Answer:
        return Answer(200, self._datastore(call.workspace, call.names["name"]))

    def _datastore(self, at: Workspace, name: str) -> Document:
        if name not in (BLOBS, ARTIFACTS):
            raise missing("datastores", name)
        self.ready(at)
        properties = {
            "datastoreType": "AzureBlob",
            "accountName": ACCOUNT,
            "containerName": container(at, name),
            "endpoint": "core.windows.net",
            "protocol": "https",
            "isDefault": name == BLOBS,
            "credentials": {"credentialsType": self._kind(at, name)},
            "serviceDataAccessAuthIdentity": "None",
            "properties": {},
            "tags": {},
            "description": None,
            "subscriptionId": at.subscription,
            "resourceGroup": at.group,
        }
        kind = f"{PROVIDER}/workspaces/datastores"
        return {"id": f"{at.id}/datastores/{name}", "name": name, "type": kind, "properties": properties}

    def _kind(self, at: Workspace, name: str) -> str:
        return WORKSPACES[at.name][name == ARTIFACTS]

    def secrets(self, call: Call) -> Answer:
        name, wanted = call.names["name"], call.request.document()
        self._datastore(call.workspace, name)
        if self._kind(call.workspace, name) == "AccountKey" or not wanted.get("expirableSecret"):
            return Answer(200, {"secretsType": "AccountKey", "key": self._storage.key})
        hours = wanted.get("expireAfterHours") or HOURS
        if not isinstance(hours, int | float) or hours <= 0:
            raise invalid(f"expireAfterHours: '{hours}' is not a number of hours")
        signed = self._storage.signature(container(call.workspace, name), hours=hours)
        return Answer(200, {"secretsType": "Sas", "sasToken": signed})

    def computes(self, call: Call) -> Answer:
        return Answer(200, {"value": [_compute(call.workspace, name) for name in CLUSTERS]})

    def compute(self, call: Call) -> Answer:
        return Answer(200, _compute(call.workspace, call.names["name"]))


def _compute(at: Workspace, name: str) -> Document:
    if name.lower() not in CLUSTERS:
        raise missing("computes", name)
    size, priority, most = CLUSTERS[name.lower()]
    scale = {"minNodeCount": 0, "maxNodeCount": most, "nodeIdleTimeBeforeScaleDown": "PT120S"}
    inner: dict[str, Any] = {"vmSize": size, "vmPriority": priority, "scaleSettings": scale, "osType": "Linux"}
    inner |= {"currentNodeCount": 0, "targetNodeCount": 0, "allocationState": "Steady", "subnet": None}
    inner |= {"remoteLoginPortPublicAccess": "NotSpecified"}
    properties: Document = {"computeType": "AmlCompute", "computeLocation": at.region, "provisioningState": "Succeeded"}
    properties |= {"isAttachedCompute": False, "properties": inner}
    head = {"id": f"{at.id}/computes/{name}", "name": name, "type": f"{PROVIDER}/workspaces/computes"}
    return {**head, "location": at.region, "properties": properties}


def cluster(workspace: Workspace, identity: str | None) -> str | None:
    """The cluster that a job's computeId names; None is serverless. Raises Refused."""
    if not identity or identity.lower() == "serverless":
        return None
    name = identity.rpartition("/")[2].lower()
    if name not in CLUSTERS:
        raise user_error(400, f"Unknown compute target '{identity.rpartition('/')[2]}'.")
    return name
