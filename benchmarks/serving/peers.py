"""The servers that are compared: for each, the files that it needs, the command that starts it, and where it answers.

Each serves the same LogisticRegression (30 features) in one process and answers JSON rows, as its own documentation
shows it. The floor answers a constant: what HTTP alone costs on uvloop.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FASTAPI = """
import joblib, numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

class Rows(BaseModel):
    instances: list[list[float]]

app = FastAPI()
model = joblib.load("model.joblib")

@app.get("/ready")
async def ready() -> dict[str, bool]:
    return {"ready": True}

@app.post("/invocations")
async def invocations(rows: Rows) -> dict[str, list[int]]:
    return {"predictions": model.predict(np.array(rows.instances)).tolist()}
"""

GRANIAN = """
import joblib, numpy as np, orjson
model = joblib.load("model.joblib")

async def app(scope, protocol):
    if scope.path == "/ready":
        return protocol.response_bytes(200, [], b"{}")
    rows = orjson.loads(await protocol())["instances"]
    answer = orjson.dumps({"predictions": model.predict(np.array(rows)).tolist()})
    protocol.response_bytes(200, [("content-type", "application/json")], answer)
"""

LITSERVE = """
import sys
import joblib, litserve, numpy as np

class Model(litserve.LitAPI):
    def setup(self, device):
        self.model = joblib.load("model.joblib")
    def decode_request(self, request):
        return np.array(request["instances"])
    def predict(self, rows):
        return self.model.predict(rows).tolist()
    def encode_response(self, found):
        return {"predictions": found}

if __name__ == "__main__":
    server = litserve.LitServer(Model(api_path="/invocations"), accelerator="cpu", workers_per_device=1)
    quiet = {"log_level": "error", "generate_client_file": False}
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, **quiet)
"""

BENTOML = """
import bentoml, joblib, numpy as np

@bentoml.service(workers=1)
class Model:
    def __init__(self) -> None:
        self.model = joblib.load("model.joblib")

    @bentoml.api(route="/invocations")
    def invocations(self, instances: list[list[float]]) -> dict[str, list[int]]:
        return {"predictions": self.model.predict(np.array(instances)).tolist()}
"""

KSERVE = """
import sys
import joblib, kserve, numpy as np

class Model(kserve.Model):
    def load(self):
        self.model = joblib.load("model.joblib")
        self.ready = True
    async def predict(self, payload, headers=None, response_headers=None):
        return {"predictions": self.model.predict(np.array(payload["instances"])).tolist()}

if __name__ == "__main__":
    model = Model("m")
    model.load()
    kserve.ModelServer(http_port=int(sys.argv[1]), workers=1, enable_grpc=False, access_log_format=None).start([model])
"""

FLOOR = """
import asyncio, sys, uvloop
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 19\\r\\n\\r\\n"
ANSWER = HEAD + b'{"predictions":[0]}'

class Floor(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.left = transport, 0
    def data_received(self, data):
        if self.left == 0:
            head, _, body = data.partition(b"\\r\\n\\r\\n")
            at = head.lower().find(b"content-length: ")
            self.left = int(head[at + 16 :].split(b"\\r", 1)[0]) if at >= 0 else 0
            data = body
        self.left -= len(data)
        if self.left <= 0:
            self.left = 0
            self.transport.write(ANSWER)

async def main():
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

uvloop.run(main())
"""


@dataclass(frozen=True)
class Peer:
    """One server. ``command`` is what follows the Python, for a port; ``ready`` is 200 when it can predict."""

    name: str
    command: Callable[[int], list[str]]
    ready: str = "/ready"
    predict: str = "/invocations"
    source: str = ""
    env: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return self.name.replace("-", "_") + "_peer.py"

    def body(self, rows: list[list[float]]) -> bytes:
        return json.dumps({"inputs" if self.name == "mlflow" else "instances": rows}).encode()


def _module(name: str, *rest: str) -> Callable[[int], list[str]]:
    return lambda port: ["-m", name, *(word.replace("PORT", str(port)) for word in rest)]


def _script(name: str) -> Callable[[int], list[str]]:
    return lambda port: [f"{name}_peer.py", str(port)]


UVICORN = ("fastapi_peer:app", "--port", "PORT", "--no-access-log", "--log-level", "warning")
GRANIAN_OPTIONS = (
    "--interface",
    "rsgi",
    "--port",
    "PORT",
    "--no-access-log",
    "--log-level",
    "error",
    "granian_peer:app",
)
MLFLOW = ("models", "serve", "-m", "mlflow-model", "--env-manager", "local", "--port", "PORT", "--workers", "1")
PEERS = (
    Peer("floor", _script("floor"), "/", source=FLOOR),
    Peer("granian", _module("granian", *GRANIAN_OPTIONS), source=GRANIAN),
    Peer("fastapi", _module("uvicorn", *UVICORN), source=FASTAPI),
    Peer("kserve", _script("kserve"), "/v2/health/ready", "/v1/models/m:predict", KSERVE),
    Peer("litserve", _script("litserve"), "/health", source=LITSERVE),
    Peer("bentoml", _module("bentoml", "serve", "bentoml_peer:Model", "--port", "PORT"), "/readyz", source=BENTOML,
         env={"BENTOML_DO_NOT_TRACK": "True"}),
    Peer("mlflow", _module("mlflow", *MLFLOW), "/ping"),
)  # fmt: skip


def ours(kind: str, root: Path) -> Peer:
    """The endpoint, of this checkout, with the model as ``onnx`` or as ``sklearn``."""
    env = {"PYTHONPATH": str(root / "src"), "CLOUDML_MODEL_DIR": f"{kind}-model", "CLOUDML_ALLOW_PICKLE": "1"}
    return Peer(
        f"cloudml-{kind}",
        lambda port: ["-m", "cloudml.runtime", "serve"],
        "/readyz",
        env={**env, "CLOUDML_PORT": "PORT"},
    )
