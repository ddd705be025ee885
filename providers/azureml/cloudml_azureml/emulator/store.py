"""What there is: subscriptions, workspaces and their resources, whatever api-version they came through.

A subscription begins to exist when somebody who is signed in first names it: with a resource group, and in it the
workspaces of WORKSPACES. A resource is kept as the document of its type; each version's view of it is made on reading.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cloudml_azureml.emulator.answers import Document, Refused, missing

GROUP = "cloudml"
# Each subscription has a region of its own, as long as there are any, so that worlds do not take each other's names.
REGIONS = (
    *("eastus", "eastus2", "westus", "westus2", "westus3", "centralus", "northcentralus", "southcentralus"),
    *("westcentralus", "canadacentral", "canadaeast", "brazilsouth", "northeurope", "westeurope", "uksouth", "ukwest"),
    *("francecentral", "germanywestcentral", "switzerlandnorth", "swedencentral", "norwayeast", "polandcentral"),
    *("italynorth", "spaincentral", "uaenorth", "qatarcentral", "israelcentral", "southafricanorth", "centralindia"),
    *("southindia", "japaneast", "japanwest", "koreacentral", "koreasouth", "eastasia", "southeastasia"),
    *("australiaeast", "australiasoutheast", "newzealandnorth", "mexicocentral"),
)
PROVIDER = "Microsoft.MachineLearningServices"
ACCOUNT = "cloudmlemulated"  # the one storage account of all workspaces

# Workspaces, and which kind of secret their two datastores give out. The first gives signatures for blobs, and the key
# for the artifacts, because the SDK signs the links to logs itself; the others have one kind for both.
WORKSPACES: Mapping[str, tuple[str, str]] = {
    "cloudml": ("Sas", "AccountKey"),
    "cloudml-sas": ("Sas", "Sas"),
    "cloudml-keys": ("AccountKey", "AccountKey"),
}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass
class Resource:
    """One resource: ``path`` is what stands after the workspace (``("models", "m", "versions", "1")``)."""

    path: tuple[str, ...]
    body: Document  # location, tags, sku, identity, properties: what a PUT holds, and what the service adds
    created: str = field(default_factory=now)
    modified: str = field(default_factory=now)
    reads: int = 0
    hidden: Document = field(default_factory=dict)  # what no GET shows: keys, runtime

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def properties(self) -> Document:
        properties: Document = self.body["properties"]
        return properties


@dataclass
class Workspace:
    """A workspace and everything in it. Whoever reads and then writes holds ``lock``."""

    subscription: str
    group: str
    name: str
    tenant: str
    region: str
    guid: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: str = field(default_factory=now)
    tags: dict[str, str] = field(default_factory=dict)
    resources: dict[tuple[str, ...], Resource] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def id(self) -> str:
        place = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        return f"{place}/providers/{PROVIDER}/workspaces/{self.name}"

    def identify(self, resource: Resource) -> str:
        return "/".join((self.id, *resource.path))

    def document(self, resource: Resource) -> Document:
        """As a GET shows it, before any version's view."""
        kinds = "/".join(resource.path[0::2])
        moments = {"createdAt": resource.created, "lastModifiedAt": resource.modified}
        people = {"createdBy": "cloudml", "createdByType": "Application"}
        people |= {"lastModifiedBy": "cloudml", "lastModifiedByType": "Application"}
        head = {"id": self.identify(resource), "name": resource.name, "type": f"{PROVIDER}/workspaces/{kinds}"}
        return {**head, **resource.body, "systemData": {**moments, **people}}

    def find(self, *path: str) -> Resource | None:
        return self.resources.get(path)

    def get(self, *path: str) -> Resource:
        """Raises Refused (404)."""
        found = self.resources.get(path)
        if found is None:
            raise missing(path[-2], "/".join(path[1::2]))
        return found

    def put(self, path: tuple[str, ...], body: Document) -> Resource:
        """The resource with this body, made or changed."""
        with self.lock:
            found = self.resources.get(path)
            if found is None:
                found = self.resources[path] = Resource(path, body)
            else:
                found.body, found.modified = body, now()
            return found

    def drop(self, *path: str) -> None:
        """The resource and everything below it."""
        with self.lock:
            for each in [each for each in self.resources if each[: len(path)] == path]:
                del self.resources[each]

    def children(self, *path: str) -> list[Resource]:
        """What is directly in a collection, the oldest first."""
        with self.lock:
            return [each for key, each in self.resources.items() if key[:-1] == path]

    def resolve(self, identity: str) -> Resource | None:
        """The resource of this workspace that an ARM id names, in whatever case its fixed parts are written."""
        head = f"{self.id}/".lower()
        if not identity.lower().startswith(head):
            return None
        wanted = tuple(part.lower() for part in identity[len(head) :].split("/"))
        with self.lock:
            return next((each for key, each in self.resources.items() if tuple(map(str.lower, key)) == wanted), None)


def describe(at: Workspace) -> Document:
    """A workspace as a GET shows it."""
    group = f"/subscriptions/{at.subscription}/resourceGroups/{at.group}/providers"
    properties: Document = {
        "friendlyName": at.name,
        "description": "",
        "storageAccount": f"{group}/Microsoft.Storage/storageAccounts/{ACCOUNT}",
        "keyVault": f"{group}/Microsoft.Keyvault/vaults/cloudml",
        "applicationInsights": f"{group}/Microsoft.insights/components/cloudml",
        "hbiWorkspace": False,
        "provisioningState": "Succeeded",
        "workspaceId": at.guid,
        "discoveryUrl": f"https://{at.region}.api.azureml.ms/discovery",
        "mlFlowTrackingUri": f"azureml://{at.region}.api.azureml.ms/mlflow/v1.0{at.id}",
        "publicNetworkAccess": "Enabled",
        "storageHnsEnabled": False,
        "v1LegacyMode": False,
        "tenantId": at.tenant,
    }
    people = {"createdAt": at.created, "createdBy": "cloudml", "createdByType": "Application"}
    people |= {"lastModifiedAt": at.created, "lastModifiedBy": "cloudml", "lastModifiedByType": "Application"}
    head: Document = {"id": at.id, "name": at.name, "type": f"{PROVIDER}/workspaces", "location": at.region}
    head |= {"tags": at.tags, "etag": None, "kind": "Default", "sku": {"name": "Basic", "tier": "Basic"}}
    identity = {"type": "SystemAssigned", "principalId": at.guid, "tenantId": at.tenant}
    return {**head, "identity": identity, "properties": properties, "systemData": people}


class Store:
    """All subscriptions."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.regions: dict[str, str] = {}  # by subscription
        self.told: list[str] = []  # subscriptions that somebody was given
        self._workspaces: dict[tuple[str, str], Workspace] = {}
        self._lock = threading.Lock()

    def workspace(self, subscription: str, group: str, name: str) -> Workspace:
        """Raises Refused, in ARM's words, for what is not there."""
        try:
            uuid.UUID(subscription)
        except ValueError as bad:
            said = f"The provided subscription identifier '{subscription}' is malformed or invalid."
            raise Refused(400, "InvalidSubscriptionId", said) from bad
        if group.lower() != GROUP:
            raise Refused(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
        if name.lower() not in WORKSPACES:
            said = f"The Resource '{PROVIDER}/workspaces/{name}' under resource group '{group}' was not found."
            raise Refused(404, "ResourceNotFound", said)
        key = (subscription.lower(), name.lower())
        with self._lock:
            if key not in self._workspaces:
                self._workspaces[key] = Workspace(key[0], GROUP, key[1], self.tenant, self._region(key[0]))
            return self._workspaces[key]

    def subscriptions(self) -> list[str]:
        """Those that somebody was given or has used."""
        with self._lock:
            return [*dict.fromkeys((*self.told, *self.regions))]

    def _region(self, subscription: str) -> str:
        """The region that comes next; once all have been given out, with a number behind them."""
        round, place = divmod(len(self.regions), len(REGIONS))
        return self.regions.setdefault(subscription, REGIONS[place] + (f"-{round + 1}" if round else ""))

    def __iter__(self) -> Iterator[Workspace]:
        with self._lock:
            return iter([*self._workspaces.values()])

    def clear(self) -> None:
        with self._lock:
            self._workspaces.clear()
            self.regions.clear()

    def summary(self) -> dict[str, Any]:
        """Per workspace, the paths of its resources."""
        return {each.id: ["/".join(path) for path in each.resources] for each in self}
