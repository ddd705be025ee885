"""Predict and RawPredict: one request to the deployed model that the traffic split chooses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.api import httpbody_pb2
from google.cloud import aiplatform_v1
from google.protobuf import json_format, struct_pb2

from cloudml_vertex.emulator.endpoints import Endpoints
from cloudml_vertex.emulator.problems import Problem, invalid
from cloudml_vertex.emulator.servers import Reply, Servers

PredictResponse = aiplatform_v1.PredictResponse.pb()
SHARED_LIMIT = 1_500_000  # bytes of a request to a shared endpoint; facts, containers.md §2.1
DEDICATED_LIMIT = 10_000_000
PREDICT_TIMEOUT = 60  # seconds; a dedicated endpoint may have another
MOST_COUNTED = 100_000  # requests to an endpoint that are remembered
# What the service says for a container's own status; that it passes the container's text on is observed, not promised.
STATUS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
}


@dataclass(frozen=True)
class Raw:
    """A container's answer as it is, and who gave it."""

    reply: Reply
    headers: Mapping[str, str]


class Predictions:
    """Counts what Cloud Monitoring shows: requests, errors, and time, by endpoint."""

    def __init__(self, endpoints: Endpoints, servers: Servers) -> None:
        self._endpoints = endpoints
        self._servers = servers
        self._lock = threading.Lock()
        self.counted: dict[str, list[tuple[float, int, float]]] = {}  # endpoint -> (time, status, milliseconds)

    def clear(self) -> None:
        with self._lock:
            self.counted.clear()

    def asked(self, endpoint: str) -> float:
        """When an endpoint was asked last, in seconds since 1970; 0 if never."""
        with self._lock:
            rows = self.counted.get(endpoint)
            return rows[-1][0] if rows else 0.0

    def predict(self, request: Any) -> Any:
        body: dict[str, Any] = {"instances": [json_format.MessageToDict(each) for each in request.instances]}
        if request.HasField("parameters"):
            body["parameters"] = json_format.MessageToDict(request.parameters)
        raw = self.raw(request.endpoint, json.dumps(body).encode(), "application/json")
        if raw.reply.status != 200:
            raise Problem(STATUS.get(raw.reply.status, "INTERNAL"), raw.reply.body.decode(errors="replace"))
        try:
            found = json.loads(raw.reply.body)["predictions"]
        except (ValueError, KeyError, TypeError) as error:
            raise Problem(
                "INTERNAL", 'The model server\'s answer is not of the form {"predictions": [...]}.'
            ) from error
        response = PredictResponse(
            deployed_model_id=raw.headers["X-Vertex-AI-Deployed-Model-Id"],
            model=raw.headers["X-Vertex-AI-Model"],
            model_version_id=raw.headers["X-Vertex-AI-Model-Version-Id"],
        )
        for each in found:
            response.predictions.append(json_format.ParseDict(each, struct_pb2.Value()))
        return response

    def raw_predict(self, request: Any) -> Any:
        raw = self.raw(request.endpoint, request.http_body.data, request.http_body.content_type)
        if raw.reply.status != 200:
            raise Problem(STATUS.get(raw.reply.status, "INTERNAL"), raw.reply.body.decode(errors="replace"))
        return httpbody_pb2.HttpBody(content_type=raw.reply.kind, data=raw.reply.body)

    def raw(self, name: str, body: bytes, kind: str) -> Raw:
        """Raises Problem if no deployed model takes traffic, or the body is too large."""
        endpoint, deployed = self._endpoints.choose(name)
        largest = DEDICATED_LIMIT if endpoint.dedicated_endpoint_enabled else SHARED_LIMIT
        if len(body) > largest:
            raise invalid(f"The request size ({len(body)} bytes) exceeds {largest} bytes limit.")
        began = time.perf_counter()
        limit = endpoint.client_connection_config.inference_timeout.seconds or PREDICT_TIMEOUT
        reply = self._servers.ask(endpoint.name, deployed.id, body, kind or "application/json", float(limit))
        self._count(endpoint.name, reply.status, 1000 * (time.perf_counter() - began))
        told = {
            "X-Vertex-AI-Deployed-Model-Id": deployed.id,
            "X-Vertex-AI-Model": deployed.model,
            "X-Vertex-AI-Model-Version-Id": deployed.model_version_id,
        }
        return Raw(reply, told)

    def _count(self, endpoint: str, status: int, milliseconds: float) -> None:
        with self._lock:
            rows = self.counted.setdefault(endpoint, [])
            rows.append((time.time(), status, milliseconds))
            del rows[:-MOST_COUNTED]
