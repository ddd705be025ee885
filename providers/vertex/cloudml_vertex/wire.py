"""The API in the words of its REST form: methods by name, requests and answers as JSON documents.

Generated clients stand behind it, over gRPC or REST; the high-level SDK is slower to import by three, keeps global
state and polls no faster than every five seconds (shared facts, vertex.md §1, §6).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import grpc
from google.api_core.operation import Operation as Future
from google.auth.credentials import Credentials
from google.cloud import aiplatform_v1
from google.longrunning import operations_pb2
from google.protobuf import json_format

from cloudml.spi import Caller
from cloudml.states import Failure, Operation

SERVICES: Mapping[str, str] = {
    "CustomJob": "JobServiceClient",
    "CustomJobs": "JobServiceClient",
    "ModelDeploymentMonitoringJob": "JobServiceClient",
    "ModelDeploymentMonitoringJobs": "JobServiceClient",
    "Model": "ModelServiceClient",
    "Models": "ModelServiceClient",
    "ModelVersion": "ModelServiceClient",
    "ModelVersions": "ModelServiceClient",
    "VersionAliases": "ModelServiceClient",
    "Endpoint": "EndpointServiceClient",
    "Endpoints": "EndpointServiceClient",
}
DEPLOYING = ("DeployModel", "UndeployModel")  # of an endpoint, whatever their names say
WORDS = re.compile(r"(?<!^)(?=[A-Z])")
VERB = re.compile(r"^[A-Z][a-z]+")
ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"


@dataclass(frozen=True)
class Place:
    """A project's part of the API."""

    project: str
    location: str

    @property
    def name(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    def job(self, number: str) -> str:
        return f"{self.name}/customJobs/{number}"

    def model(self, name: str, version: str = "") -> str:
        return f"{self.name}/models/{name}" + (f"@{version}" if version else "")

    def endpoint(self, name: str) -> str:
        return f"{self.name}/endpoints/{name}"


class Wire:
    """Sends one request of the API, or reads one answer."""

    def __init__(self, place: Place, credentials: Credentials, transport: str, caller: Caller) -> None:
        self.place = place
        self._credentials = credentials
        self._transport = transport
        self._call = caller
        self._clients: dict[str, Any] = {}

    def find(self, method: str, document: Mapping[str, Any]) -> dict[str, Any] | None:
        """One thing; None if it is not there."""
        return self._call.find(method, lambda: self._ask(method, document))

    def items(self, method: str, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All pages of a list; empty if what they belong to is not there."""
        found = self._call.find(method, lambda: self._ask(method, document))
        return list(found["items"]) if found else []

    def write(self, method: str, document: Mapping[str, Any]) -> Operation | None:
        """The operation that the write started, if it did."""
        answer = self._call.write(method, lambda: self._ask(method, document))
        return _operation(answer) if "/operations/" in answer.get("name", "") else None

    def running(self, resource: str) -> tuple[Operation, ...]:
        """The operations on a resource that have not ended: there is no other trace of some (facts, "seen later")."""
        rows = self._call.find("ListOperations", lambda: self._operations(resource)) or []
        found = (_operation(row) for row in rows)
        return tuple(each for each in found if each.running)

    def poll(self, operation: Operation) -> Operation:
        """Raises NotFound for one that the service has forgotten."""
        return _operation(self._call.read("GetOperation", lambda: self._get_operation(operation.id)))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _ask(self, method: str, document: Mapping[str, Any]) -> dict[str, Any]:
        kind = getattr(aiplatform_v1, f"{method}Request")
        request = kind()
        json_format.ParseDict(dict(document), kind.pb(request))
        answer = getattr(self._client(_service(method)), WORDS.sub("_", method).lower())(request=request)
        return _document(answer)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            host = f"{self.place.location}-aiplatform.googleapis.com"
            client = getattr(aiplatform_v1, service)
            self._clients[service] = client(
                credentials=self._credentials,
                transport=_transport(client, self._transport),
                client_options={"api_endpoint": host},
            )
        return self._clients[service]

    @cached_property
    def _longrunning(self) -> Any:
        return self._client("EndpointServiceClient")

    def _operations(self, resource: str) -> list[dict[str, Any]]:
        """All pages: which operation comes first is not promised."""
        found: list[dict[str, Any]] = []
        ask = operations_pb2.ListOperationsRequest(name=resource)
        while True:
            answer = self._longrunning.list_operations(ask)
            found += [_plain(each) for each in answer.operations]
            if not answer.next_page_token:
                return found
            ask.page_token = answer.next_page_token

    def _get_operation(self, name: str) -> dict[str, Any]:
        answer = self._longrunning.get_operation(operations_pb2.GetOperationRequest(name=name))
        return _plain(answer)


def _transport(client: Any, name: str) -> Callable[..., Any]:
    """Makes a transport that trusts the roots of now: gRPC itself reads the variable once a process, and a process
    may be led to an emulation, to another and back.
    """
    made: Callable[..., Any] = client.get_transport_class(name)
    file = os.environ.get(ROOTS)
    if name != "grpc" or not file:
        return made
    return partial(made, ssl_channel_credentials=grpc.ssl_channel_credentials(Path(file).read_bytes()))


def _service(method: str) -> str:
    return "EndpointServiceClient" if method in DEPLOYING else SERVICES[VERB.sub("", method)]


def _document(answer: Any) -> dict[str, Any]:
    """An answer as JSON: a message, the operation behind a future, or all pages of a list as ``items``."""
    if answer is None:
        return {}
    if isinstance(answer, Future):
        return _plain(answer.operation)
    if hasattr(answer, "pages"):
        return {"items": list(_pages(answer))}
    return _plain(type(answer).pb(answer))


def _plain(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = json_format.MessageToDict(message)
    return found


def _pages(pager: Any) -> Iterator[dict[str, Any]]:
    for item in pager:
        yield _plain(type(item).pb(item))


def _operation(row: Mapping[str, Any]) -> Operation:
    error = row.get("error")
    return Operation(
        id=row["name"],
        target=row["name"].partition("/operations/")[0],
        running=not row.get("done", False),
        error=Failure(error.get("message", "no message"), str(error.get("code", ""))) if error else None,
    )
