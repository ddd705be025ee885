"""One prediction: the body as it is, to the endpoint's own host or the location's, and the model's own answer back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudml import payloads
from cloudml.errors import ModelError, NotFound
from cloudml.spi import Caller, Payload
from cloudml.states import State
from cloudml_vertex.wire import Place

TIMEOUT = 60.0  # seconds, where the endpoint sets no limit of its own
SLACK = 5.0


class Predictor:
    """``rawPredict`` by HTTP: the generated REST client sends and reads it wrongly (shared facts, vertex.md §2)."""

    def __init__(self, place: Place, session: Any, caller: Caller) -> None:
        self._place = place
        self._session = session
        self._call = caller

    def url(self, endpoint: Mapping[str, Any]) -> str:
        """A dedicated endpoint has a host name of its own."""
        host = endpoint.get("dedicatedEndpointDns") or f"{self._place.location}-aiplatform.googleapis.com"
        return f"https://{host}/v1/{endpoint['name']}:rawPredict"

    def predict(self, have: State, body: Payload) -> Payload:
        """Raises ModelError with the model's own status, NotFound if nothing is deployed."""
        if not have.of("deployment"):
            raise NotFound(f"nothing is deployed to {have.key}")
        limit = float(str(have.facts["limit"] or "0s").rstrip("s")) or TIMEOUT
        headers = {"content-type": body.content_type, **body.headers}
        answer = self._call.write(
            "RawPredict", lambda: self._post(have.facts["url"], body.body, headers, limit + SLACK)
        )
        kind = answer.headers.get("content-type", "application/octet-stream")
        if answer.ok:
            return Payload(answer.content, kind, dict(answer.headers))
        raise ModelError(payloads.message(answer.content), status=answer.status_code)

    def _post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Any:
        """The service's own refusals are raised; a model's are answers."""
        from google.api_core.exceptions import from_http_response

        answer = self._session.post(url, data=body, headers=dict(headers), timeout=timeout)
        if not answer.ok and _of_service(answer.content):
            raise from_http_response(answer)
        return answer


def _of_service(content: bytes) -> bool:
    """Google's errors are ``{"error": {"code", "message", "status"}}``; a model's are what it says."""
    error = payloads.error(content)
    return isinstance(error, dict) and {"code", "status"} <= error.keys()
