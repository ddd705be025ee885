"""One prediction, by the endpoint's key. The SDK's own call keeps its headers from one call to the next (facts, §6)."""

from __future__ import annotations

from typing import Any

from azure.core import PipelineClient
from azure.core.rest import HttpRequest

from cloudml import payloads
from cloudml.errors import ModelError, NotFound
from cloudml.spi import Caller, Payload
from cloudml.states import State
from cloudml_azureml.wire import Wire

PIN = "azureml-model-deployment"
MODEL_STATUS = "ms-azureml-model-error-statuscode"  # of an answer 424: the model's own
TIMEOUT = 185.0  # seconds: more than the longest that the service allows


class Predictor:
    """Keys are asked for once, and again when one is refused: somebody may have renewed them."""

    def __init__(self, wire: Wire, caller: Caller) -> None:
        self._wire = wire
        self._call = caller
        self._client: Any = PipelineClient("https://inference.ml.azure.com", policies=[])
        self._keys: dict[str, str] = {}

    def predict(self, have: State, body: Payload, deployment: str | None) -> Payload:
        """Raises ModelError with the model's own status, NotFound if nothing takes the request."""
        if not have.facts["url"]:
            raise NotFound(f"{have.key} has no address yet")
        answer = self._call.write("POST score", lambda: self._post(have, body, deployment))
        if answer.status_code == 424:
            raise ModelError(payloads.message(answer.content), status=int(answer.headers.get(MODEL_STATUS) or 500))
        return Payload(answer.content, answer.headers.get("content-type", ""), dict(answer.headers))

    def _post(self, have: State, body: Payload, deployment: str | None) -> Any:
        answer = self._sent(have, body, deployment)
        if answer.status_code == 401:
            self._keys.pop(have.id, None)
            answer = self._sent(have, body, deployment)
        if answer.status_code != 424:
            answer.raise_for_status()
        return answer

    def _sent(self, have: State, body: Payload, deployment: str | None) -> Any:
        if have.id not in self._keys:
            self._keys[have.id] = self._wire.read(f"onlineEndpoints/{have.id}/listKeys", {})["primaryKey"]
        headers = {"content-type": body.content_type, "authorization": f"Bearer {self._keys[have.id]}", **body.headers}
        if deployment:
            headers[PIN] = deployment
        request = HttpRequest("POST", have.facts["url"], headers=headers, content=body.body)
        return self._client.send_request(request, read_timeout=TIMEOUT)
