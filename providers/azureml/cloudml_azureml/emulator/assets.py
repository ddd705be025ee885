"""Code, data, environments and models: containers with versions that, once made, keep their content."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Document, invalid, missing, user_error
from cloudml_azureml.emulator.arm import Call, Served
from cloudml_azureml.emulator.places import settled
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import ACCOUNT, Resource, Workspace

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}")


@dataclass(frozen=True)
class Kind:
    """What a type of asset adds to its versions, and which properties no later PUT may change."""

    name: str
    fixed: tuple[str, ...]
    added: Mapping[str, object]


KINDS: Mapping[str, Kind] = {
    each.name: each
    for each in (
        Kind("codes", ("codeUri",), {"description": None}),
        Kind("data", ("dataUri", "dataType"), {"description": None}),
        Kind("models", ("modelUri", "modelType"), {"description": None, "flavors": {}, "jobName": None}),
        Kind(
            "environments",
            ("image", "condaFile", "build", "inferenceConfig"),
            {"description": None, "environmentType": "UserCreated", "osType": "Linux"},
        ),
    )
}


class Assets:
    """Versions by PUT, labels by ``$top=1``, containers by the way; one set of handlers for the four kinds."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def routes(self) -> Sequence[Served]:
        served = [Served("POST", "codes/{name}/versions/{version}/startPendingUpload", self.upload)]
        for kind in KINDS:
            one = f"{kind}/{{name}}/versions/{{version}}"
            served += [
                Served("PUT", one, _of(kind, self.put)),
                Served("GET", one, _of(kind, self.get)),
                Served("GET", f"{kind}/{{name}}/versions", _of(kind, self.versions)),
                Served("DELETE", one, _of(kind, self.delete)),
            ]
            if kind != "codes":
                served += [
                    Served("GET", f"{kind}/{{name}}", _of(kind, self.container)),
                    Served("PUT", f"{kind}/{{name}}", _of(kind, self.put_container)),
                    Served("DELETE", f"{kind}/{{name}}", _of(kind, self.delete_container)),
                    Served("GET", kind, _of(kind, self.containers)),
                ]
        return served

    def put(self, call: Call, kind: Kind) -> Answer:
        body = call.accepted(kind.name)
        path = _path(call, kind)
        if bad := [each for each in (path[1], path[3]) if not NAME.fullmatch(each)]:
            raise invalid(f"name: '{bad[0]}' does not match {NAME.pattern}")
        properties: Document = {**kind.added, "tags": {}, "properties": {}, "isArchived": False, "isAnonymous": False}
        properties |= {**body["properties"], "provisioningState": "Succeeded"}
        if kind.name == "models" and properties.get("modelUri"):
            properties["modelUri"] = settled(call.workspace, properties["modelUri"])
        with call.workspace.lock:
            before = call.workspace.find(*path)
            if before:
                _refuse_change(kind, before, properties)
            container = call.workspace.find(*path[:2])
            if container is None:
                shared = {word: properties[word] for word in ("dataType",) if word in properties}
                empty = {"tags": {}, "properties": {}, "isArchived": False}
                call.workspace.put(path[:2], {"properties": {**empty, **shared}})
            made = call.workspace.put(path, {"properties": properties})
        return Answer(200 if before else 201, call.seen(kind.name, made))

    def get(self, call: Call, kind: Kind) -> Answer:
        return Answer(200, call.seen(kind.name, call.workspace.get(*_path(call, kind))))

    def delete(self, call: Call, kind: Kind) -> Answer:
        path = _path(call, kind)
        if call.workspace.find(*path) is None:
            return Answer(204)
        call.workspace.drop(*path)
        if not call.workspace.children(*path[:3]):
            call.workspace.drop(*path[:2])
        return Answer(200)

    def versions(self, call: Call, kind: Kind) -> Answer:
        if kind.name == "codes" and "hash" in call.query:
            found = [each for each in _all(call.workspace, "codes") if _hash(each) == call.query["hash"]]
        else:
            found = call.workspace.children(kind.name, call.names["name"], "versions")
        return _listed(call, kind.name, [each for each in found if _wanted(call, each)])

    def container(self, call: Call, kind: Kind) -> Answer:
        return Answer(200, self._container(call, kind, call.workspace.get(kind.name, call.names["name"])))

    def containers(self, call: Call, kind: Kind) -> Answer:
        found = [each for each in call.workspace.children(kind.name) if _wanted(call, each)]
        return Answer(200, {"value": [self._container(call, kind, each) for each in found]})

    def put_container(self, call: Call, kind: Kind) -> Answer:
        body = call.accepted(f"{kind.name}/")
        path = (kind.name, call.names["name"])
        created = call.workspace.find(*path) is None
        properties = {"tags": {}, "properties": {}, "isArchived": False, **body["properties"]}
        made = call.workspace.put(path, {"properties": properties})
        return Answer(201 if created else 200, self._container(call, kind, made))

    def delete_container(self, call: Call, kind: Kind) -> Answer:
        """With all its versions."""
        path = (kind.name, call.names["name"])
        if call.workspace.find(*path) is None:
            return Answer(204)
        for version in call.workspace.children(*path, "versions"):
            call.workspace.drop(*version.path)
        call.workspace.drop(*path)
        return Answer(200)

    def _container(self, call: Call, kind: Kind, resource: Resource) -> Document:
        versions = [each.name for each in call.workspace.children(kind.name, resource.name, "versions")]
        numbers = [int(each) for each in versions if each.isdecimal()]
        document = call.workspace.document(resource)
        latest = {"latestVersion": versions[-1] if versions else None, "nextVersion": str(max(numbers, default=0) + 1)}
        return {**document, "properties": {**resource.properties, **latest}}

    def upload(self, call: Call) -> Answer:
        """A container of its own for a folder of code, and a signature to fill it."""
        wanted = call.accepted("pendingUpload")
        container = f"{call.names['name'][:8]}-{uuid.uuid4()}"
        self._storage.create(container)
        url = self._storage.url(container)
        credential = {"credentialType": "SAS", "sasUri": f"{url}?{self._storage.signature(container)}"}
        group = f"/subscriptions/{call.workspace.subscription}/resourceGroups/{call.workspace.group}"
        account = f"{group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"
        blob = {"blobUri": url, "storageAccountArmId": account, "credential": credential}
        kind = wanted.get("pendingUploadType") or "TemporaryBlobReference"
        id = wanted.get("pendingUploadId") or str(uuid.uuid4())
        body = {"pendingUploadId": id, "pendingUploadType": kind, "blobReferenceForConsumption": blob}
        return Answer(200, body)


def _of(kind: str, handler: Callable[[Call, Kind], Answer]) -> Callable[[Call], Answer]:
    return lambda call: handler(call, KINDS[kind])


def _path(call: Call, kind: Kind) -> tuple[str, str, str, str]:
    return (kind.name, call.names["name"], "versions", call.names["version"])


def _refuse_change(kind: Kind, before: Resource, properties: Document) -> None:
    changed = [name for name in kind.fixed if before.properties.get(name) != properties.get(name)]
    if changed:
        what = f"{kind.name} {before.path[1]}:{before.name}"
        raise user_error(
            409,
            f"A resource with this name and version already exists, and its content cannot be changed: {what}",
            ("Immutable", f"'{changed[0]}' cannot be changed"),
        )


def _all(workspace: Workspace, kind: str) -> list[Resource]:
    with workspace.lock:
        return [each for path, each in workspace.resources.items() if path[0] == kind and len(path) == 4]


def _hash(code: Resource) -> str | None:
    found: str | None = code.properties["properties"].get("hash_sha256")
    return found


def _wanted(call: Call, resource: Resource) -> bool:
    archived = bool(resource.properties.get("isArchived"))
    view = call.query.get("listViewType", "All" if "$top" in call.query else "ActiveOnly").lower()
    if (view == "activeonly" and archived) or (view == "archivedonly" and not archived):
        return False
    tags, properties = resource.properties.get("tags") or {}, resource.properties.get("properties") or {}
    for word, have in (("tags", tags), ("properties", properties)):
        for each in filter(None, call.query.get(word, "").split(",")):
            name, _, value = each.partition("=")
            if name not in have or (value and str(have[name]) != value):
                return False
    stage = call.query.get("stage")
    return stage is None or resource.properties.get("stage") == stage


def _listed(call: Call, kind: str, found: list[Resource]) -> Answer:
    ordered = sorted(found, key=lambda each: each.created, reverse=True)
    if call.query.get("$orderBy", "").lower().endswith("asc"):
        ordered.reverse()
    top = call.query.get("$top", "")
    if top and not top.isdecimal():
        raise invalid(f"$top: '{top}' is not a number")
    return Answer(200, {"value": [call.seen(kind, each) for each in ordered[: int(top or 0) or None]]})


def resolved(workspace: Workspace, identity: str, kind: str) -> Resource:
    """The version of an asset that an ARM id, or ``azureml:name:version``, names. Raises Refused (404)."""
    if found := re.fullmatch(r"azureml:([^:/]+):([^:/]+)", identity):
        return workspace.get(kind, found[1], "versions", found[2])
    resource = workspace.resolve(identity.removeprefix("azureml:"))
    if resource is None or resource.path[0] != kind:
        raise missing(kind, identity)
    return resource
