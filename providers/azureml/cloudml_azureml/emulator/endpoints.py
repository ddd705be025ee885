"""Managed online endpoints: names unique in the region, traffic between deployments, keys and tokens."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import FRONTEND, Document, Refused, invalid
from cloudml_azureml.emulator.arm import Call, Served
from cloudml_azureml.emulator.operations import Operations, headers, outcome
from cloudml_azureml.emulator.serving import Serving
from cloudml_azureml.emulator.signin import LIFETIME, ML, Directory
from cloudml_azureml.emulator.store import Resource, Store, Workspace

NAME = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
SHORTEST, LONGEST = 3, 32
MOST_MIRRORED = 50  # per cent
BUSY = ("Creating", "Updating", "Deleting")
DEFAULTS: Document = {"description": None, "properties": {}, "traffic": {}, "mirrorTraffic": {}}


def named(name: str) -> None:
    """Raises Refused for what cannot name an endpoint or a deployment."""
    if not (SHORTEST <= len(name) <= LONGEST and NAME.fullmatch(name)):
        raise invalid(f"name: '{name}' must have {SHORTEST} to {LONGEST} characters and match {NAME.pattern}")


def idle(resource: Resource) -> None:
    """Raises Refused while an operation on it goes on."""
    state = resource.properties["provisioningState"]
    if state in BUSY:
        said = f"The resource '{resource.name}' is in the provisioning state '{state}'. Try again when that has ended."
        raise Refused(409, "Conflict", said, component=FRONTEND)


class Endpoints:
    def __init__(self, store: Store, serving: Serving, operations: Operations, directory: Directory) -> None:
        self._store, self._serving, self._operations, self._directory = store, serving, operations, directory

    def routes(self) -> Sequence[Served]:
        one = "onlineEndpoints/{name}"
        return (
            Served("PUT", one, self.put),
            Served("GET", one, self.get),
            Served("GET", "onlineEndpoints", self.list),
            Served("DELETE", one, self.delete),
            Served("POST", f"{one}/listKeys", self.keys),
            Served("POST", f"{one}/token", self.token),
            Served("POST", f"{one}/regenerateKeys", self.regenerate),
        )

    def put(self, call: Call) -> Answer:
        wanted, name = call.accepted("onlineEndpoints"), call.names["name"]
        named(name)
        at = call.workspace
        with at.lock:
            before = at.find("onlineEndpoints", name)
            if before is None:
                self._refuse_taken(at, name)
            else:
                idle(before)
            self._check_traffic(at, name, wanted["properties"])
            made = at.put(("onlineEndpoints", name), self._body(at, name, wanted, before))
        if before is None:
            made.hidden |= {"primaryKey": secrets.token_urlsafe(24), "secondaryKey": secrets.token_urlsafe(24)}
        state = made.properties["provisioningState"]
        work = self._operations.doomed("PUT onlineEndpoints", name)
        operation = self._operations.begin(at, (state,), lambda failure: _done(at, made, failure), work)
        return call.promised("onlineEndpoints", made, operation, created=before is None)

    def _refuse_taken(self, at: Workspace, name: str) -> None:
        for other in self._store:
            if (
                other is not at
                and other.region == at.region
                and any(path[:2] == ("onlineEndpoints", name) for path in [*other.resources])
            ):
                said = "There is already an endpoint with this name, Endpoint name needs to be unique within a region. "
                detail = (
                    "InferencingClientCallFailed",
                    f'{{"errors":{{"":["{said}Try some other name."]}},"status":400}}',
                )
                raise Refused(400, "BadRequest", "The request is invalid.", [detail], component=FRONTEND)

    def _check_traffic(self, at: Workspace, name: str, properties: Document) -> None:
        traffic, mirror = properties.get("traffic") or {}, properties.get("mirrorTraffic") or {}
        problems = [
            f"traffic: deployment '{each}' was not found" for each in traffic if not self._deployed(at, name, each)
        ]
        if any(share < 0 for share in traffic.values()) or sum(traffic.values()) not in (0, 100):
            problems.append("traffic: the percentages must add up to 0 or 100")
        mirrored = [each for each, share in mirror.items() if share]
        problems += [
            f"mirrorTraffic: deployment '{each}' was not found" for each in mirror if not self._deployed(at, name, each)
        ]
        if len(mirrored) > 1 or any(not 0 <= share <= MOST_MIRRORED for share in mirror.values()):
            problems.append(f"mirrorTraffic: one deployment may get up to {MOST_MIRRORED} per cent")
        problems += [f"mirrorTraffic: deployment '{each}' has live traffic" for each in mirrored if traffic.get(each)]
        if problems:
            raise invalid(*problems)

    def _deployed(self, at: Workspace, endpoint: str, name: str) -> bool:
        return at.find("onlineEndpoints", endpoint, "deployments", name) is not None

    def _body(self, at: Workspace, name: str, wanted: Document, before: Resource | None) -> Document:
        properties: Document = {**DEFAULTS, "publicNetworkAccess": "Enabled", **wanted["properties"], "keys": None}
        notes = {"azureml.onlineendpointid": f"{at.id}/onlineEndpoints/{name}".lower()}
        properties["properties"] = {**(properties["properties"] or {}), **notes}
        properties["provisioningState"] = "Creating" if before is None else "Updating"
        uris = before.properties if before else {}
        properties |= {word: uris.get(word) for word in ("scoringUri", "swaggerUri")}
        identity = {"type": "SystemAssigned", **(wanted.get("identity") or {})}
        identity |= {"principalId": at.guid, "tenantId": at.tenant}
        return {"tags": {}, **wanted, "kind": "Managed", "identity": identity, "properties": properties}

    def get(self, call: Call) -> Answer:
        return Answer(200, call.seen("onlineEndpoints", call.workspace.get("onlineEndpoints", call.names["name"])))

    def list(self, call: Call) -> Answer:
        found = call.workspace.children("onlineEndpoints")
        return Answer(200, {"value": [call.seen("onlineEndpoints", each) for each in found]})

    def delete(self, call: Call) -> Answer:
        at, name = call.workspace, call.names["name"]
        with at.lock:
            endpoint = at.find("onlineEndpoints", name)
            if endpoint is None:
                return Answer(204)
            deployments = at.children("onlineEndpoints", name, "deployments")
            for each in (endpoint, *deployments):
                idle(each)
            endpoint.properties["provisioningState"] = "Deleting"
        doomed = self._operations.doomed("DELETE onlineEndpoints", name)
        work = doomed or self._serving.remove(at, name, *(each.name for each in deployments))

        def gone(failure: Refused | None) -> None:
            if failure:
                endpoint.properties["provisioningState"] = outcome(failure)
            else:
                at.drop("onlineEndpoints", name)

        operation = self._operations.begin(at, ("Deleting",), gone, work)
        return call.going(operation)

    def keys(self, call: Call) -> Answer:
        endpoint = call.workspace.get("onlineEndpoints", call.names["name"])
        if endpoint.properties["authMode"] != "Key":
            raise invalid(f"The endpoint's authMode is {endpoint.properties['authMode']}; it has no keys.")
        return Answer(200, {word: endpoint.hidden[word] for word in ("primaryKey", "secondaryKey")})

    def token(self, call: Call) -> Answer:
        endpoint = call.workspace.get("onlineEndpoints", call.names["name"])
        if endpoint.properties["authMode"] == "Key":
            raise invalid("The endpoint's authMode is Key; it has no tokens.")
        expiry = int(time.time()) + LIFETIME
        token = {"accessToken": self._directory.token(ML), "tokenType": "Bearer"}
        return Answer(200, {**token, "expiryTimeUtc": expiry, "refreshAfterTimeUtc": expiry - 600})

    def regenerate(self, call: Call) -> Answer:
        endpoint, wanted = call.workspace.get("onlineEndpoints", call.names["name"]), call.accepted("regenerateKeys")
        idle(endpoint)
        word = f"{wanted['keyType'].lower()}Key"
        value = wanted.get("keyValue") or secrets.token_urlsafe(24)

        def changed(_: Refused | None) -> None:
            endpoint.hidden[word] = value

        operation = self._operations.begin(call.workspace, ("Updating",), changed)
        return Answer(202, None, headers(operation, call.version, location=True))


def _done(at: Workspace, endpoint: Resource, failure: Refused | None) -> None:
    base = f"https://{endpoint.name.lower()}.{at.region}.inference.ml.azure.com"
    route = endpoint.hidden.get("route", "/score")
    uris = {"scoringUri": f"{base}{route}", "swaggerUri": f"{base}/swagger.json"}
    endpoint.properties.update(uris | {"provisioningState": outcome(failure)})
    for word in ("traffic", "mirrorTraffic"):
        if failure:  # guessed: what was routed is routed on, and shown
            endpoint.properties[word] = dict(endpoint.hidden.get(word) or {})
        else:
            endpoint.hidden[word] = dict(endpoint.properties.get(word) or {})
