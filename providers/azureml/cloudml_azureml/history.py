"""Run history: where the service keeps a run's log files and its own reason for a failure. Its host is the region's."""

from __future__ import annotations

from typing import Any

from azure.core import PipelineClient
from azure.core.pipeline import policies
from azure.core.rest import HttpRequest

from cloudml.spi import Caller
from cloudml_azureml.wire import SCOPE, Wire


class History:
    """Asks about runs of the wire's workspace, as the same caller."""

    def __init__(self, wire: Wire, credential: Any, caller: Caller) -> None:
        self._wire = wire
        self._call = caller
        self._client: Any = PipelineClient(
            "https://api.azureml.ms", policies=[policies.BearerTokenCredentialPolicy(credential, SCOPE)]
        )

    def details(self, run: str) -> dict[str, Any]:
        """Log files by name, each with a signed address, and more; empty for a run that history does not know yet."""
        return self._call.find("GET history/runs/details", lambda: self._details(run)) or {}

    def failure(self, run: str) -> str | None:
        """Why the service says that a run failed."""
        said = (self.details(run).get("error") or {}).get("error") or {}
        message = said.get("message")
        return str(message) if message else None

    def _details(self, run: str) -> dict[str, Any]:
        region = str(self._wire.about["location"])
        url = f"https://{region}.api.azureml.ms/history/v1.0{self._wire.workspace}/runs/{run}/details"
        response = self._client.send_request(HttpRequest("GET", url, params={"api-version": "v1.0"}))
        response.raise_for_status()
        details: dict[str, Any] = response.json()
        return details
