"""Deployments of an endpoint: what a PUT makes, the service's defaults, deletion, logs. What runs is in serving.py."""

from __future__ import annotations

from collections.abc import Sequence

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator import machines
from cloudml_azureml.emulator.answers import FRONTEND, Document, Refused, invalid
from cloudml_azureml.emulator.arm import Call, Served
from cloudml_azureml.emulator.assets import resolved
from cloudml_azureml.emulator.durations import seconds
from cloudml_azureml.emulator.endpoints import idle, named
from cloudml_azureml.emulator.operations import Operations, outcome
from cloudml_azureml.emulator.serving import Serving
from cloudml_azureml.emulator.store import Resource, Workspace

MOST_INSTANCES = 20
PROBE = {"failureThreshold": 30, "initialDelay": "PT10S", "period": "PT10S", "successThreshold": 1, "timeout": "PT2S"}
SETTINGS = {"maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0S", "requestTimeout": "PT5S"}
# Recorded: what the service fills in.
DEFAULTS: Document = {
    "description": None,
    "properties": {},
    "environmentVariables": {},
    "appInsightsEnabled": False,
    "egressPublicNetworkAccess": "Enabled",
    "scaleSettings": {"scaleType": "Default"},
    "instanceType": "Standard_DS3_v2",
}
LONGEST_TIMEOUT = 180.0  # seconds


class Deployments:
    def __init__(self, serving: Serving, operations: Operations) -> None:
        self._serving, self._operations = serving, operations

    def routes(self) -> Sequence[Served]:
        one = "onlineEndpoints/{endpoint}/deployments/{name}"
        return (
            Served("PUT", one, self.put),
            Served("GET", one, self.get),
            Served("GET", "onlineEndpoints/{endpoint}/deployments", self.list),
            Served("DELETE", one, self.delete),
            Served("POST", f"{one}/getLogs", self.logs),
        )

    def put(self, call: Call) -> Answer:
        at, endpoint = call.workspace, call.workspace.get("onlineEndpoints", call.names["endpoint"])
        wanted = call.accepted("deployments")
        named(call.names["name"])
        path = ("onlineEndpoints", endpoint.name, "deployments", call.names["name"])
        with at.lock:
            before = at.find(*path)
            for each in (endpoint, before):
                if each is not None:
                    idle(each)
            body = _body(wanted, "Creating" if before is None else "Updating")
            self._check(at, body)
            made = at.put(path, body)
        size = made.properties["instanceType"]
        doomed = self._operations.doomed("PUT onlineEndpoints/deployments", *made.path[1::2], size=size)
        work = doomed or self._serving.deploy(at, endpoint.name, made)
        states = (made.properties["provisioningState"],)
        operation = self._operations.begin(at, states, lambda failure: _done(endpoint, made, failure), work)
        return call.promised("deployments", made, operation, created=before is None)

    def _check(self, at: Workspace, body: Document) -> None:
        properties = body["properties"]
        if not 1 <= body["sku"]["capacity"] <= MOST_INSTANCES:
            raise invalid(f"sku.capacity: must be between 1 and {MOST_INSTANCES}")
        machines.check("properties.instanceType", properties["instanceType"], machines.FOR_ENDPOINTS)
        settings = properties["requestSettings"]
        if not 0 < seconds(settings["requestTimeout"]) <= LONGEST_TIMEOUT:
            raise invalid(
                f"requestSettings.requestTimeout: must be more than 0 and at most {LONGEST_TIMEOUT:g} seconds"
            )
        if settings["maxConcurrentRequestsPerInstance"] < 1:
            raise invalid("requestSettings.maxConcurrentRequestsPerInstance: must be at least 1")
        if not properties.get("environmentId"):
            raise invalid("properties.environmentId: a deployment without an environment (no-code) is not emulated")
        environment = resolved(at, properties["environmentId"], "environments")
        if not properties.get("codeConfiguration") and not environment.properties.get("inferenceConfig"):
            raise invalid("properties.codeConfiguration: is required unless the environment has an inferenceConfig")
        for collection in ((properties.get("dataCollector") or {}).get("collections") or {}).values():
            if collection.get("dataId"):
                resolved(at, collection["dataId"], "data")
        if properties.get("model"):
            resolved(at, properties["model"], "models")
        if properties.get("codeConfiguration"):
            resolved(at, properties["codeConfiguration"]["codeId"], "codes")

    def get(self, call: Call) -> Answer:
        return Answer(200, call.seen("deployments", self._one(call)))

    def _one(self, call: Call) -> Resource:
        call.workspace.get("onlineEndpoints", call.names["endpoint"])
        return call.workspace.get("onlineEndpoints", call.names["endpoint"], "deployments", call.names["name"])

    def list(self, call: Call) -> Answer:
        call.workspace.get("onlineEndpoints", call.names["endpoint"])
        found = call.workspace.children("onlineEndpoints", call.names["endpoint"], "deployments")
        return Answer(200, {"value": [call.seen("deployments", each) for each in found]})

    def delete(self, call: Call) -> Answer:
        at, name = call.workspace, call.names["name"]
        with at.lock:
            endpoint = at.find("onlineEndpoints", call.names["endpoint"])
            made = at.find("onlineEndpoints", call.names["endpoint"], "deployments", name)
            if endpoint is None or made is None:
                return Answer(204)
            for each in (endpoint, made):
                idle(each)
            if (endpoint.properties.get("traffic") or {}).get(name):
                detail = ("DeploymentHasTraffic", f"Deployment {name} has traffic; set its traffic to 0 first.")
                raise Refused(400, "BadRequest", "The request is invalid.", [detail], component=FRONTEND)
            made.properties["provisioningState"] = "Deleting"
        doomed = self._operations.doomed("DELETE onlineEndpoints/deployments", endpoint.name, name)
        work = doomed or self._serving.remove(at, endpoint.name, name)

        def gone(failure: Refused | None) -> None:
            if failure:
                made.properties["provisioningState"] = outcome(failure)
                return
            for word in ("traffic", "mirrorTraffic"):
                for shares in (endpoint.properties.get(word) or {}, endpoint.hidden.get(word) or {}):
                    shares.pop(name, None)
            at.drop(*made.path)

        return call.going(self._operations.begin(at, ("Deleting",), gone, work))

    def logs(self, call: Call) -> Answer:
        made, wanted = self._one(call), call.accepted("getLogs")
        if (wanted.get("containerType") or "InferenceServer") == "StorageInitializer":
            return Answer(200, {"content": "Downloading the model\nDone\n"})
        text = self._serving.logs(call.workspace, call.names["endpoint"], made.name)
        lines = text.splitlines()[-wanted["tail"] :] if wanted.get("tail") else text.splitlines()
        return Answer(200, {"content": "\n".join(lines)})


def _body(wanted: Document, state: str) -> Document:
    properties: Document = {**DEFAULTS, **wanted["properties"], "provisioningState": state}
    for probe in ("livenessProbe", "readinessProbe"):
        properties[probe] = {**PROBE, **(properties.get(probe) or {})}
    properties["requestSettings"] = {**SETTINGS, **(properties.get("requestSettings") or {})}
    sku = {"name": "Default", "tier": "Standard", "capacity": 1, **(wanted.get("sku") or {})}
    return {"tags": {}, **wanted, "kind": "Managed", "sku": sku, "properties": properties}


def _done(endpoint: Resource, made: Resource, failure: Refused | None) -> None:
    made.properties["provisioningState"] = outcome(failure)
    route = made.hidden.get("route")
    if route and not failure and endpoint.properties.get("scoringUri"):
        endpoint.hidden["route"] = route
        base = endpoint.properties["scoringUri"].split("/", 3)
        endpoint.properties["scoringUri"] = "/".join(base[:3]) + route
