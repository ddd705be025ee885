"""Azure Resource Manager in front of a workspace: which route a request means, who may call, which faults it meets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cloudml.emulation.faults import Faults
from cloudml.emulation.http import Answer
from cloudml_azureml.emulator import schemas
from cloudml_azureml.emulator.answers import Document, Refused, Request, invalid
from cloudml_azureml.emulator.operations import Operation, Operations, headers
from cloudml_azureml.emulator.ordered import meet
from cloudml_azureml.emulator.signin import ARM, ML, Directory
from cloudml_azureml.emulator.store import GROUP, PROVIDER, WORKSPACES, Resource, Store, Workspace, describe
from cloudml_azureml.emulator.subscriptions import Subscriptions

WORKSPACE = re.compile(
    rf"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/{PROVIDER}/workspaces/([^/]+)(?:/(.*))?", re.IGNORECASE
)
COLLECTION = re.compile(
    rf"/subscriptions/([^/]+)(?:/resourceGroups/([^/]+))?/providers/{PROVIDER}/workspaces/?", re.IGNORECASE
)
OPERATION = re.compile(
    rf"/subscriptions/([^/]+)/providers/{PROVIDER}/locations/[^/]+/(mfeOperation(?:sStatus|Results))/([^/]+)",
    re.IGNORECASE,
)
VERSIONS = frozenset(
    (
        *("2022-02-01-preview", "2023-04-01", "2023-04-01-preview", "2023-06-01-preview", "2023-08-01-preview"),
        *("2024-01-01-preview", "2024-10-01-preview", "2025-01-01-preview"),
    )
)
METRICS = "/providers/microsoft.insights/metrics"  # of another resource provider, below a resource of this one
INSIGHTS = frozenset(("2018-01-01", "2019-07-01", "2021-05-01", "2023-10-01"))
VERBS = {"GET": "read", "PUT": "write", "DELETE": "delete", "POST": "action"}  # by which permissions end
# What is left of a subscription's token buckets, as recorded; the emulator does not run out of them by itself.
REMAINING = {
    "GET": {"x-ms-ratelimit-remaining-subscription-reads": "249"},
    "OTHER": {"x-ms-ratelimit-remaining-subscription-writes": "199"},
}


@dataclass(frozen=True)
class Call:
    """A request to a resource of a workspace; ``names`` are what its pattern's braces stand for."""

    request: Request
    workspace: Workspace
    names: Mapping[str, str]
    version: str

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    def accepted(self, kind: str) -> Document:
        """The body, if it fits the schema of this api-version. Raises Refused."""
        if self.version not in schemas.MODELS[kind]:
            raise _version(self.version, sorted(schemas.MODELS[kind]))
        document, problems = schemas.accepted(kind, self.version, self.request.document())
        if problems:
            raise invalid(*problems)
        return document

    def seen(self, kind: str, resource: Resource) -> Document:
        """A resource as this api-version shows it."""
        return schemas.seen(kind, self.version, self.workspace.document(resource))

    def promised(self, kind: str, resource: Resource, operation: Operation, *, created: bool) -> Answer:
        """The answer to a PUT that goes on by itself."""
        place = f"{ARM}{self.workspace.identify(resource)}?api-version={self.version}"
        told = {**headers(operation, self.version), "Location": place}
        return Answer(201 if created else 200, self.seen(kind, resource), told)

    def going(self, operation: Operation) -> Answer:
        """The answer to a DELETE that goes on by itself."""
        return Answer(202, None, headers(operation, self.version, location=True))


@dataclass(frozen=True)
class Served:
    """A route: ``pattern`` below the workspace (``jobs/{name}/cancel``), and who answers it."""

    method: str
    pattern: str
    respond: Callable[[Call], Answer]

    @property
    def operation(self) -> str:
        """Its name for faults and evidence: ``POST jobs/cancel``."""
        fixed = [part for part in self.pattern.split("/") if part and not part.startswith("{")]
        named = self.pattern.endswith("}")
        verb = "LIST" if self.method == "GET" and fixed and not named else self.method
        return f"{verb} {'/'.join(fixed) or 'workspace'}"

    @property
    def action(self) -> str:
        """What a role must allow for it, by the permissions of Microsoft.MachineLearningServices."""
        _, _, other = self.pattern.partition("/providers/")
        kinds = [part for part in self.pattern.split("/") if part and not part.startswith("{")]
        return "/".join(
            [other, VERBS[self.method]] if other else [f"{PROVIDER}/workspaces", *kinds, VERBS[self.method]]
        )

    def match(self, parts: Sequence[str]) -> dict[str, str] | None:
        wanted = self.pattern.split("/") if self.pattern else []
        if len(wanted) != len(parts):
            return None
        names = {}
        for pattern, part in zip(wanted, parts, strict=True):
            if pattern.startswith("{"):
                names[pattern[1:-1]] = part
            elif pattern.lower() != part.lower():
                return None
        return names


class Front:
    """What management.azure.com says."""

    def __init__(
        self, directory: Directory, store: Store, operations: Operations, faults: Faults, routes: Sequence[Served]
    ) -> None:
        self._directory, self._store, self._operations, self._faults = directory, store, operations, faults
        self._routes, self._subscriptions = routes, Subscriptions(store)

    def respond(self, request: Request) -> Answer | None:
        """None when the answer is to be lost."""
        self._directory.check(request, ARM, ML)
        version = request.query.get("api-version", "").lower()
        if not version:
            said = "The api-version query parameter (?api-version=) is required for all requests."
            raise Refused(400, "MissingApiVersionParameter", said)
        if above := self._subscriptions.respond(request):
            return above
        known = INSIGHTS if request.path.lower().endswith(METRICS) else VERSIONS
        if version not in known:
            raise _version(version, sorted(known))
        self._operations.settle()
        if found := OPERATION.fullmatch(request.path):
            return self._operation(found[2], found[3], version)
        if found := COLLECTION.fullmatch(request.path):
            all = [self._store.workspace(found[1], found[2] or GROUP, name) for name in WORKSPACES]
            return Answer(200, {"value": [describe(each) for each in all]})
        found = WORKSPACE.fullmatch(request.path)
        if not found:
            raise Refused(404, "InvalidResourceType", f"The resource type could not be found for '{request.path}'.")
        workspace = self._store.workspace(found[1], found[2], found[3])
        parts = [part for part in (found[4] or "").split("/") if part]
        served, names = self._route(request.method, parts)
        return self._carried_out(served, Call(request, workspace, names, version))

    def _operation(self, what: str, id: str, version: str) -> Answer:
        if what.lower() == "mfeoperationsstatus":
            return self._operations.status(id)
        return self._operations.result(id, version)

    def _route(self, method: str, parts: Sequence[str]) -> tuple[Served, dict[str, str]]:
        allowed = False
        for served in self._routes:
            names = served.match(parts)
            if names is not None and served.method == method:
                return served, names
            allowed = allowed or names is not None
        if allowed:
            raise Refused(405, "MethodNotAllowed", f"{method} is not supported on this resource.")
        kinds = "/".join(parts[::2])
        raise Refused(404, "InvalidResourceType", f"The resource type '{kinds}' is not emulated.")

    def _carried_out(self, served: Served, call: Call) -> Answer | None:
        target, workspace = "/".join(call.names.values()), call.workspace.id
        lost = meet(self._faults, served.operation, target, served.action, workspace)
        answer = served.respond(call)
        if lost:
            return None
        told = {**REMAINING["GET" if call.request.method == "GET" else "OTHER"], **answer.headers}
        return Answer(answer.status, answer.body, told)


def _version(version: str, known: Sequence[str]) -> Refused:
    said = f"No registered resource provider found for API version '{version}'. The supported api-versions are"
    return Refused(400, "NoRegisteredProviderFound", f"{said} '{', '.join(known)}'.")
