"""The workspace's part of Azure Resource Manager: requests as JSON, one write each, and its long-running operations.

Microsoft's pipeline (azure-core, azure-identity), not azure-ai-ml's own methods: one of those makes many requests,
random ids among them, where a call of ours must be one write (shared facts, azureml.md §3); and its import costs four
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from azure.core import PipelineClient
from azure.core.pipeline import policies
from azure.core.rest import HttpRequest

from cloudml.errors import AlreadyExists
from cloudml.spi import Caller
from cloudml.states import Failure, Operation

ARM = "https://management.azure.com"
SCOPE = f"{ARM}/.default"
TIMEOUT = 60.0  # seconds of silence
# What azure-ai-ml 1.35 uses for each kind (shared facts, azureml.md §3): writes of jobs need a newer one than reads.
VERSIONS: Mapping[str, str] = {
    "": "2024-10-01-preview",
    "datastores": "2024-10-01-preview",
    "environments": "2023-04-01-preview",
    "models": "2023-08-01-preview",
    "jobs": "2024-01-01-preview",
    "onlineEndpoints": "2022-02-01-preview",
    "deployments": "2023-04-01-preview",
    "schedules": "2023-06-01-preview",
    "metrics": "2018-01-01",  # of Azure Monitor, below a resource of the workspace
}
WRITES: Mapping[tuple[str, str], str] = {
    ("PUT", "jobs"): "2025-01-01-preview",
    ("POST", "jobs"): "2023-04-01-preview",
    ("DELETE", "jobs"): "2023-04-01-preview",
}
CREATED = 201
UNDONE = ("Failed", "Canceled")
ENDED = ("Succeeded", *UNDONE)
SOONEST = 0.05  # seconds between two questions about an operation


class Wire:
    """Paths are relative to the workspace: ``jobs/x``, ``onlineEndpoints/e/deployments/d``."""

    def __init__(self, workspace: str, location: str | None, credential: Any, caller: Caller) -> None:
        self.workspace = workspace
        self._location = location
        self._call = caller
        self._client: Any = PipelineClient(
            ARM,
            policies=[
                policies.RequestIdPolicy(),
                policies.UserAgentPolicy(base_user_agent="cloudml"),
                policies.BearerTokenCredentialPolicy(credential, SCOPE),
            ],
        )

    def id(self, path: str) -> str:
        """The full id of a resource of the workspace."""
        return f"{self.workspace}/{path}"

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """The workspace itself."""
        return self._call.read("GET workspace", lambda: self._asked("GET", "")[0])

    @property
    def location(self) -> str:
        """The region that an endpoint's body must name."""
        return self._location or str(self.about["location"])

    def find(self, path: str, **query: str) -> dict[str, Any] | None:
        """One thing; None if it is not there."""
        return self._call.find(f"GET {_kind(path)}", lambda: self._asked("GET", path, None, query)[0])

    def items(self, path: str, **query: str) -> Sequence[dict[str, Any]]:
        """All pages of a list; empty if what they belong to is not there."""
        found: list[dict[str, Any]] = []
        page = self._call.find(f"LIST {_kind(path)}", lambda: self._asked("GET", path, None, query)[0])
        while page:
            found += page.get("value", ())
            url = page.get("nextLink")
            page = self._call.read(f"LIST {_kind(path)}", lambda url=url: self._sent("GET", url)[0]) if url else None  # type: ignore[misc]
        return found

    def read(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A POST that only reads: secrets, logs."""
        return self._call.read(f"POST {_kind(path)}", lambda: self._asked("POST", path, body)[0])

    def write(self, operation: str, document: Mapping[str, Any], new: bool = False) -> Operation | None:
        """``PUT onlineEndpoints/x`` and its body; the operation that it started, if it did.

        Raises AlreadyExists if the thing was to be ``new`` and was there: the service takes the same body again.
        """
        method, _, path = operation.partition(" ")
        body = document if method != "DELETE" else None
        found, headers, status = self._call.write(
            f"{method} {_kind(path)}", lambda: self._answered(method, self._url(path), body, _version(method, path))
        )
        if new and status != CREATED:
            raise AlreadyExists(f"{path} exists already")
        url = headers.get("Azure-AsyncOperation") or headers.get("Location")
        state = (found.get("properties") or {}).get("provisioningState", "")
        return Operation(url, path, running=True, after=after(headers)) if url and state not in ENDED else None

    def poll(self, operation: Operation) -> Operation:
        """Raises NotFound for one that the service has forgotten."""
        body, headers, status = self._call.read("GET operation", lambda: self._answered("GET", operation.id))
        said = body.get("status")
        running = status == 202 if said is None else said not in ENDED
        error = body.get("error") or {"message": f"the operation ended {said}"}
        failure = Failure(_text(error), error.get("code")) if said in UNDONE else None
        return Operation(operation.id, operation.target, running, failure, after(headers))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _asked(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        return self._sent(method, self._url(path), body, {**_version(method, path), **(query or {})})

    def _url(self, path: str) -> str:
        return f"{ARM}{self.workspace}" + (f"/{path}" if path else "")

    def _sent(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        answer, headers, _ = self._answered(method, url, body, query)
        return answer, headers

    def _answered(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Any], Mapping[str, str], int]:
        request = HttpRequest(method, url, params=dict(query or {}), json=dict(body) if body is not None else None)
        response = self._client.send_request(request, connection_timeout=TIMEOUT, read_timeout=TIMEOUT)
        response.raise_for_status()
        found: dict[str, Any] = response.json() if response.content else {}
        return found, response.headers, int(response.status_code)


def _version(method: str, path: str) -> dict[str, str]:
    kind = _kind(path)
    return {"api-version": WRITES.get((method, kind), VERSIONS[kind])}


def _kind(path: str) -> str:
    """What a path is of, by which its api-version is chosen."""
    if path.endswith("/providers/microsoft.insights/metrics"):
        return "metrics"
    parts = path.split("/")
    return "deployments" if len(parts) > 2 and parts[2] == "deployments" else parts[0]


def after(headers: Mapping[str, str]) -> float | None:
    """When an operation wants to be asked again; Azure's SDKs keep to the same header."""
    said = headers.get("x-ms-retry-after-ms", "")
    return max(int(said) / 1000, SOONEST) if said.isdecimal() else None


def _text(error: Mapping[str, Any]) -> str:
    """The message, and every detail that says more."""
    details = [each.get("message") for each in error.get("details") or () if each.get("message")]
    return "; ".join([str(error.get("message") or error.get("code") or "no message"), *details])
