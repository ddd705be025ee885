"""Requests in the YAML form of Azure ML v2, as ``az ml … -f FILE`` takes it.

What the YAML form has another word for is translated by table; what it has no word for (a raw ``patch``) stands as a
comment at the top, so that nothing is lost unseen. Keys by the schemas that azure-ai-ml loads (reference-yaml-* on
learn.microsoft.com).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from cloudml.spi import Call, Effect

SCHEMAS, JOB_SCHEMA = "https://azuremlschemas.azureedge.net/latest/", "commandJob.schema.json"
MODES: Mapping[str, str] = {"ReadOnlyMount": "ro_mount", "ReadWriteMount": "rw_mount", "Upload": "upload"}
CAMEL = re.compile(r"(?<!^)(?=[A-Z])")
SECONDS = re.compile(r"PT(\d+)S")
Document = Mapping[str, Any]
Made = tuple[dict[str, Any], set[str]]  # the YAML document, and the request's members that it says


def files(calls: Sequence[Call]) -> Mapping[str, str]:
    """The text of each file by its name, in the order of the calls."""
    made = [found for call in calls if (found := _translated(call))]
    return {name: text for number, each in enumerate(made, 1) for name, text in _files(number, *each)}


def _translated(call: Call) -> tuple[str, str, list[str], dict[str, Any]] | None:
    """The name of its file, the command, comments and the document; None for what has no such form."""
    method, _, path = call.operation.partition(" ")
    for pattern, (kind, schema, make) in KINDS.items():
        if method == "PUT" and (match := re.fullmatch(pattern, path)):
            document, said = make(match.groups(), call.document)
            command = f"az ml {kind} {'create' if call.effect is Effect.CREATE else 'update'}"
            document = {"$schema": SCHEMAS + schema, **document}
            return "-".join([kind, *match.groups()]), command, [*_unsaid(call.document, said)], document
    return None


def _files(
    number: int, name: str, command: str, unsaid: list[str], document: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """One, or two: a schedule names the file of its job, because its schema knows jobs by reference alone."""
    if "create_job" in document:
        job = {"$schema": SCHEMAS + JOB_SCHEMA, **document["create_job"]}
        document = {**document, "create_job": f"./{number:03}-{name}.job.yml"}
        yield document["create_job"][2:], _text("az ml job create", [], job)
    yield f"{number:03}-{name}.yml", _text(command, unsaid, document)


def _text(command: str, comments: list[str], document: dict[str, Any]) -> str:
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return "\n".join([f"# {command} -f FILE", *comments, body])


def _unsaid(document: Document, said: set[str]) -> Iterator[str]:
    """What this form has no word for."""
    for name, value in document.get("properties", {}).items():
        if name not in said:
            yield f"# not in this form: {name} = {json.dumps(value)}"


def _environment(names: Sequence[str], document: Document) -> Made:
    properties, (name, version) = document["properties"], names
    made = {"name": name, "version": version, "image": properties["image"]}
    if config := properties.get("inferenceConfig"):
        made["inference_config"] = {_snake(route): dict(place) for route, place in config.items()}
    return made, {"image", "inferenceConfig"}


def _job(names: Sequence[str], document: Document) -> Made:
    properties = document["properties"]
    made = _command(properties)
    return {"type": "command", **({"name": names[0]} if names else {}), **made}, {*COMMAND, "tags"}


def _command(properties: Document) -> dict[str, Any]:
    made: dict[str, Any] = {name: say(properties[key]) for key, (name, say) in COMMAND.items() if key in properties}
    made.pop("", None)
    resources = dict(made.pop("resources", {}))
    return {**made, "resources": resources, "tags": properties.get("tags", {})}


def _model(names: Sequence[str], document: Document) -> Made:
    properties, (name, version) = document["properties"], names
    made = {"name": name, "version": version, "type": properties["modelType"], "path": properties["modelUri"]}
    made |= {word: properties[word] for word in ("description", "tags", "properties", "stage") if properties.get(word)}
    return made, {"modelType", "modelUri", "description", "tags", "properties", "stage"}


def _endpoint(names: Sequence[str], document: Document) -> Made:
    properties = document["properties"]
    made: dict[str, Any] = {"name": names[0], "auth_mode": _snake(properties["authMode"])}
    made |= {"identity": {"type": _snake(document["identity"]["type"])}, "tags": document["tags"]}
    for member in ("traffic", "mirrorTraffic"):
        if properties.get(member):
            made[_snake(member)] = dict(properties[member])
    return made, {"authMode", "traffic", "mirrorTraffic"}


def _deployment(names: Sequence[str], document: Document) -> Made:
    properties, (endpoint, name) = document["properties"], names
    settings = properties["requestSettings"]
    made = {
        "name": name,
        "endpoint_name": endpoint,
        "model": _of_model(properties),
        "environment": _asset(properties["environmentId"]),
        "environment_variables": properties["environmentVariables"],
        "instance_type": properties["instanceType"],
        "instance_count": document["sku"]["capacity"],
        "request_settings": {
            "request_timeout_ms": _seconds(settings["requestTimeout"]) * 1000,
            "max_concurrent_requests_per_instance": settings["maxConcurrentRequestsPerInstance"],
        },
        "tags": document["tags"],
    }
    if collector := properties.get("dataCollector"):
        made["data_collector"] = _collector(collector)
    if access := properties.get("egressPublicNetworkAccess"):
        made["egress_public_network_access"] = _snake(access)
    return made, DEPLOYMENT


def _collector(collector: Document) -> dict[str, Any]:
    """One rate for all collections: the form knows no other, and neither do we."""
    kept = collector["collections"].items()
    collections = {name: {"enabled": str(each["dataCollectionMode"] == "Enabled").lower()} for name, each in kept}
    rate = max(each["samplingRate"] for _, each in kept)
    return {"collections": collections, "sampling_rate": rate, "rolling_rate": collector["rollingRate"].lower()}


def _schedule(names: Sequence[str], document: Document) -> Made:
    properties = document["properties"]
    trigger = {_snake(name).replace("trigger_type", "type"): value for name, value in properties["trigger"].items()}
    made: dict[str, Any] = {"name": names[0], "display_name": properties["displayName"]}
    made |= {"trigger": {**trigger, "type": trigger["type"].lower()}, "tags": properties["tags"]}
    made["create_job"] = {"type": "command", **_command(properties["action"]["jobDefinition"])}
    return made, {"displayName", "isEnabled", "trigger", "action", "tags"}


# -- words -----------------------------------------------------------------------------------------------------------


def _inputs(inputs: Document) -> dict[str, Any]:
    """A literal stands for itself."""
    return {
        name: {"type": each["jobInputType"], "path": each["uri"], "mode": MODES[each["mode"]]}
        if "uri" in each
        else each["value"]
        for name, each in inputs.items()
    }


def _outputs(outputs: Document) -> dict[str, Any]:
    return {
        name: {"type": each["jobOutputType"], "path": each["uri"], "mode": MODES[each["mode"]]}
        for name, each in outputs.items()
    }


def _asset(id: str) -> str:
    """``azureml:NAME:VERSION`` of an asset's full id, ``azureml:NAME`` of a cluster's."""
    kind, name, *version = id.partition("/workspaces/")[2].split("/")[1:]
    return ":".join(["azureml", name, *version[1:]]) if kind else id


def _of_model(properties: Document) -> str:
    """The version; the newest of the family where only the service will know it."""
    family = properties["environmentVariables"]["CLOUDML_MODEL_NAME"]
    return f"azureml:{family}@latest" if properties["model"].startswith("<") else _asset(properties["model"])


def _seconds(duration: str) -> int:
    match = SECONDS.fullmatch(duration)
    return int(match[1]) if match else 0


def _snaked(document: Document) -> dict[str, Any]:
    return {_snake(name): value for name, value in document.items()}


def _snake(word: str) -> str:
    return CAMEL.sub("_", word).lower()


# A command job's members, the YAML form's word for each, and how its value is said there.
COMMAND: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "jobType": ("", str),
    "displayName": ("display_name", str),
    "experimentName": ("experiment_name", str),
    "description": ("description", str),
    "command": ("command", lambda command: command),
    "environmentId": ("environment", _asset),
    "environmentVariables": ("environment_variables", dict),
    "inputs": ("inputs", _inputs),
    "outputs": ("outputs", _outputs),
    "limits": ("limits", lambda limits: {"timeout": _seconds(limits["timeout"])}),
    "resources": ("resources", _snaked),
    "queueSettings": ("queue_settings", lambda queue: {"job_tier": queue["jobTier"].lower()}),
    "distribution": ("distribution", lambda chosen: {"type": chosen["distributionType"].lower()}),
    "computeId": ("compute", _asset),
}
DEPLOYMENT = {
    *("endpointComputeType", "model", "environmentId", "environmentVariables", "instanceType", "scaleSettings"),
    *("requestSettings", "dataCollector", "egressPublicNetworkAccess"),
}
# By the path of a request: the command, its schema, and what makes the document.
KINDS: Mapping[str, tuple[str, str, Callable[[Sequence[str], Document], Made]]] = {
    r"environments/([^/]+)/versions/([^/]+)": ("environment", "environment.schema.json", _environment),
    r"jobs/([^/]+)": ("job", JOB_SCHEMA, _job),
    r"models/([^/]+)/versions/([^/]+)": ("model", "model.schema.json", _model),
    r"onlineEndpoints/([^/]+)": ("online-endpoint", "managedOnlineEndpoint.schema.json", _endpoint),
    r"onlineEndpoints/([^/]+)/deployments/([^/]+)": (
        *("online-deployment", "managedOnlineDeployment.schema.json"),
        _deployment,
    ),
    r"schedules/([^/]+)": ("schedule", "schedule.schema.json", _schedule),
}
