"""The container behind each deployed model: started, probed, asked, stopped, as documented for custom containers."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from typing import Any

from cloudml.emulation import Container
from cloudml_vertex.emulator.problems import Problem
from cloudml_vertex.emulator.runs import Runs, Source, environment
from cloudml_vertex.emulator.storage import Buckets

PORT = 8080
PROBE_EVERY = 0.05  # seconds
PROBE_TIMEOUT = 10.0
READY_WITHIN = (
    120.0  # the service's own limit is half an hour and more; nobody waits for that on a machine of their own
)
KIND = "aiplatform.googleapis.com/Endpoint"
LAST_LINES = 5


@dataclass(frozen=True)
class Server:
    """A container that answers."""

    container: str
    predict_route: str


@dataclass(frozen=True)
class Reply:
    """What a container answered."""

    status: int
    body: bytes
    kind: str


class Servers:
    """By endpoint and deployed model."""

    def __init__(self, runs: Runs, buckets: Buckets) -> None:
        self._runs = runs
        self._buckets = buckets
        self._servers: dict[tuple[str, str], Server] = {}

    def start(self, endpoint: str, deployed: Any, model: Any, closing: threading.Event) -> None:
        """Returns once it is healthy. Raises Problem if it ends, or takes too long."""
        spec = model.container_spec
        route = f"/v1/endpoints/{endpoint.rpartition('/')[2]}/deployedModels/{deployed.id}"
        predict, health = spec.predict_route or f"{route}:predict", spec.health_route or route
        port = spec.ports[0].container_port if spec.ports else PORT
        container = Container(
            id=f"server-{deployed.id}",
            image=spec.image_uri,
            command=tuple(spec.command),
            arguments=tuple(spec.args),
            env={**environment(spec.env), **self._given(endpoint, deployed, model, predict, health)},
            port=port,
            grace=30.0,
        )
        labels = {"endpoint_id": endpoint.rpartition("/")[2], "deployed_model_id": deployed.id}
        id = self._runs.start(container, Source(endpoint.split("/")[1], KIND, labels), mounted=False)
        try:
            self._until_healthy(id, health, closing)
        except Problem:
            self._runs.remove(id)
            raise
        self._servers[endpoint, deployed.id] = Server(id, predict)

    def stop(self, endpoint: str, deployed: str) -> None:
        server = self._servers.pop((endpoint, deployed), None)
        if server is not None:
            self._runs.stop([server.container])
            deadline = time.monotonic() + 30
            while self._runs.look(server.container).running and time.monotonic() < deadline:
                time.sleep(PROBE_EVERY)
            self._runs.remove(server.container)

    def ask(self, endpoint: str, deployed: str, body: bytes, kind: str, limit: float) -> Reply:
        """One request to the container. Raises Problem if it does not answer."""
        server = self._servers.get((endpoint, deployed))
        ran = self._runs.look(server.container) if server else None
        if server is None or ran is None or ran.address is None:
            raise Problem("UNAVAILABLE", "The model server is not available.")
        connection = http.client.HTTPConnection(*ran.address, timeout=limit)
        try:
            connection.request("POST", server.predict_route, body, {"content-type": kind})
            answer = connection.getresponse()
            content = answer.read()
        except TimeoutError as error:
            raise Problem("DEADLINE_EXCEEDED", f"The model server did not answer within {limit:g} seconds.") from error
        except (OSError, http.client.HTTPException) as error:
            raise Problem("UNAVAILABLE", f"The model server did not answer: {error}") from error
        finally:
            connection.close()
        return Reply(answer.status, content, answer.headers.get("content-type", "application/octet-stream"))

    def clear(self) -> None:
        self._servers.clear()

    def _given(self, endpoint: str, deployed: Any, model: Any, predict: str, health: str) -> dict[str, str]:
        """What the platform sets (facts, containers.md §1.7)."""
        storage = self._buckets.taken_in(f"{model.name}@{model.version_id}") if model.artifact_uri else None
        return {
            "AIP_MODE": "PREDICTION",
            "AIP_MODE_VERSION": "1.0.0",
            "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
            "AIP_HTTP_PORT": "{port}",
            "AIP_PREDICT_ROUTE": predict,
            "AIP_HEALTH_ROUTE": health,
            "AIP_ENDPOINT_ID": endpoint.rpartition("/")[2],
            "AIP_DEPLOYED_MODEL_ID": deployed.id,
            "AIP_PROJECT_NUMBER": endpoint.split("/")[1],
            "AIP_MODEL_NAME": model.name.rpartition("/")[2],
            "AIP_VERSION_NAME": model.version_id,
            "AIP_MACHINE_TYPE": deployed.dedicated_resources.machine_spec.machine_type,
            **({"AIP_STORAGE_URI": storage} if storage else {}),
        }

    def _until_healthy(self, id: str, route: str, closing: threading.Event) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not closing.wait(PROBE_EVERY):
            ran = self._runs.look(id)
            if not ran.running:
                raise Problem(
                    "FAILED_PRECONDITION",
                    f"Model server exited unexpectedly with code {ran.exit_code}.{self._said(id)}",
                )
            if ran.address is not None and _healthy(ran.address, route):
                return
            if time.monotonic() > deadline:
                raise Problem("DEADLINE_EXCEEDED", f"Model server never became ready.{self._said(id)}")

    def _said(self, id: str) -> str:
        lines = self._runs.last_lines(id, LAST_LINES)
        return " Model server logs can be found in Cloud Logging. The last lines: " + " | ".join(lines) if lines else ""


def _healthy(address: tuple[str, int], route: str) -> bool:
    connection = http.client.HTTPConnection(*address, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", route)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
