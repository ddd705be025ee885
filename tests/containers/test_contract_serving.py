"""Servers, container by container: the image started and asked as each platform starts and asks it.

Facts: SageMaker's "your own inference code", Azure ML's custom containers on managed online endpoints, Vertex AI's
custom containers for prediction, KServe's custom predictor with the Open Inference Protocol.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, until

from cloudml.images import Built

# It is loaded, and its answer to 1313 is given, when the test says so: nothing depends on how fast the machine is.
GATED = """
import os, time
class Model:
    def __init__(self, folder):
        self.folder = str(folder)
        self.wait("go")
        self.nonce = open(self.folder + "/nonce").read()
    def wait(self, name):
        while not os.path.exists(self.folder + "/" + name):
            time.sleep(0.02)
    def predict(self, rows):
        if int(rows[0][0]) == 1313:
            print("asked", flush=True)
            self.wait("answer")
        return [f"{self.nonce} {int(sum(row))}" for row in rows]
"""
RESTRICTED = {
    "user": "12345:54321",
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}


@dataclass(frozen=True)
class Platform:
    """How a server is started, where its model lies, and how the platform asks it."""

    name: str
    model: str
    ready: str
    live: str
    predict: str
    body: Callable[[int], Any]
    answers: Callable[[Any], Any]
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = 8080
    options: Mapping[str, Any] = field(default_factory=dict)
    sent: Mapping[str, str] = field(default_factory=dict)  # headers, which come back
    grace: int = 30


def instances(first: int) -> Any:
    return {"instances": [[first, 2]]}


def predictions(body: Any) -> Any:
    return body["predictions"]


def tensors(first: int) -> Any:
    return {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [first, 2]}]}


PLATFORMS = [
    Platform(
        "sagemaker",
        "/opt/ml/model",
        *("/ping", "/livez", "/invocations"),
        instances,
        predictions,
        command=("serve",),
        sent={"X-Amzn-SageMaker-Custom-Attributes": "trace=7"},
    ),
    Platform(
        "sagemaker pipeline",
        "/opt/ml/model",
        *("/ping", "/livez", "/invocations"),
        instances,
        predictions,
        command=("serve",),
        env={"SAGEMAKER_BIND_TO_PORT": "8123", "SAGEMAKER_SAFE_PORT_RANGE": "8200-8299"},
        port=8123,
    ),
    Platform(
        "azureml",
        "/var/azureml-app/azureml-models/fraud/3",
        *("/readyz", "/livez", "/score"),
        lambda first: {"data": [[first, 2]]},
        predictions,
        env={"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/fraud/3"},
        sent={"x-ms-client-request-id": "a-request"},
    ),
    Platform(
        "vertex",
        "/gcs/shop/models/3",
        *("/v1/endpoints/17/deployedModels/42", "/livez", "/v1/endpoints/17/deployedModels/42:predict"),
        instances,
        predictions,
        command=("serve",),
        env={
            "AIP_MODE": "PREDICTION",
            "AIP_HTTP_PORT": "9090",
            "AIP_HEALTH_ROUTE": "/v1/endpoints/17/deployedModels/42",
            "AIP_PREDICT_ROUTE": "/v1/endpoints/17/deployedModels/42:predict",
            "AIP_STORAGE_URI": "file:///gcs/shop/models/3",  # from gs:// it is read in the session vertex
        },
        port=9090,
    ),
    Platform(
        "kserve",
        "/mnt/models",
        *("/v2/health/ready", "/v2/health/live", "/v2/models/fraud/infer"),
        tensors,
        lambda body: body["outputs"][0]["data"],
        env={"KUBERNETES_SERVICE_HOST": "10.0.0.1", "CLOUDML_MODEL_NAME": "fraud"},
        options=RESTRICTED,
    ),
    Platform(
        "docker",
        "/models",
        *("/", "/livez", "/predict"),
        lambda first: [[first, 2]],
        predictions,
        env={"CLOUDML_MODEL_DIR": "/models", "PORT": "8000"},
        port=8000,
        options={"user": "12345:54321"},
    ),
]
platforms = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)


@dataclass(frozen=True)
class Served:
    """A container of one platform, asked from outside."""

    platform: Platform
    container: Any

    def ask(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any, Any]:
        """Status, headers and body; 0 where nobody listens."""
        self.container.reload()
        published = self.container.ports.get(f"{self.platform.port}/tcp")
        if not published:
            return 0, {}, b""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{published[0]['HostPort']}{path}"
        asked = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(asked, timeout=DEADLINE) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except OSError:
            return 0, {}, b""

    def status(self, path: str) -> int:
        return self.ask(path)[0]

    def is_ready(self) -> bool:
        return self.status(self.platform.ready) == 200

    def becomes(self, path: str) -> None:
        """Waits until the route answers with 200; a server that ends instead says why."""

        def done() -> bool:
            found = self.status(path) == 200
            assert self.container.status in ("created", "running"), self.container.logs().decode()
            return found

        until(done)

    def predict(self, first: int) -> tuple[int, Any, Any]:
        return self.ask(self.platform.predict, self.platform.body(first), self.platform.sent)


@pytest.fixture
def gated(model: Path) -> Path:
    (model / "model.py").write_text(GATED)
    return model


@pytest.fixture
def served(platform: Platform, plain: Built, gated: Path, start: Callable[..., Any]) -> Served:
    volumes = {str(gated): {"bind": platform.model, "mode": "ro"}}
    more = {"volumes": volumes, "environment": dict(platform.env), "port": platform.port, **platform.options}
    return Served(platform, start(plain.name, *platform.command, **more))


@platforms
def test_it_lives_before_it_is_ready_and_answers_in_the_platform_s_words(
    platform: Platform, served: Served, gated: Path, nonce: str
) -> None:
    served.becomes(platform.live)
    assert served.status(platform.ready) == 503, "it loads"
    assert served.predict(1)[0] == 503
    (gated / "go").touch()
    served.becomes(platform.ready)
    status, headers, body = served.predict(1)
    assert status == 200, body
    assert platform.answers(json.loads(body)) == [f"{nonce} 3"]
    assert {name: headers[name] for name in platform.sent} == platform.sent
    assert served.ask(platform.predict, {"no": "rows"})[0] in (400, 415, 422), "the model's error, not the server's"
    assert sorted(path.name for path in gated.iterdir()) == ["go", "model.py", "nonce"], "nothing beside the model"


@platforms
def test_a_stop_within_the_grace_loses_no_request(platform: Platform, served: Served, gated: Path, nonce: str) -> None:
    (gated / "go").touch()
    served.becomes(platform.ready)
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(served.predict, 1313)
        until(lambda: b"asked" in served.container.logs())
        stopped = pool.submit(served.container.stop, timeout=platform.grace)
        until(lambda: not served.is_ready())  # no balancer sends anything any more
        assert not asked.done()
        (gated / "answer").touch()
        status, _, body = asked.result(DEADLINE)
        stopped.result(DEADLINE)
    assert status == 200, body
    assert platform.answers(json.loads(body)) == [f"{nonce} 1315"]
    assert served.container.wait()["StatusCode"] == 0
