"""The emulated Vertex AI: start-up, calls a second on both fronts, and what it adds to a prediction.

Run: ``python benchmarks/vertex.py`` with the extras ``serve``, ``vertex`` and ``emulators``. Medians; half a minute.
"""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

SECONDS = 4.0
LOCATION = "us-central1"
MODEL = """
class Model:
    def predict(self, rows):
        return [1 for _ in rows]

def load(folder):
    return Model()
"""
BODY = b'{"instances": [[1, 2]]}'


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Median milliseconds of a call, and calls a second, one after the other."""
    for _ in range(10):
        act()
    taken, end = [], time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < end:
        act()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken), len(taken) / SECONDS


def main() -> None:
    began = time.perf_counter()
    from cloudml.emulation.running import start
    from cloudml.testing import emulated
    from cloudml_vertex.emulator import emulator

    with start([emulator]) as running, emulated.environment(running.environment):
        print(f"start-up, imports among it {time.perf_counter() - began:6.2f} s")
        measure()


def measure() -> None:
    import google.auth
    import requests
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud.aiplatform_v1 import EndpointServiceClient

    from cloudml import connect

    client = connect("vertex", project="bench")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.py").write_text(MODEL)
        client.models.register("fraud", folder)
    endpoint = client.deploy("fraud-api", "fraud")
    assert endpoint.predict([[1, 2]]) == [1]
    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    name = f"projects/{project}/locations/{LOCATION}/endpoints/fraud-api"
    for transport in ("grpc", "rest"):
        options = {"api_endpoint": f"{LOCATION}-aiplatform.googleapis.com"}
        api = EndpointServiceClient(credentials=credentials, transport=transport, client_options=options)
        middle, rate = timed(partial(api.get_endpoint, name=name))
        print(f"GetEndpoint over {transport}       {middle:6.2f} ms {rate:6.0f} a second")
    (said,) = re.findall(r"listening on (\S+)", "\n".join(str(line) for line in endpoint.logs()))
    direct, asked = requests.Session(), AuthorizedSession(credentials)
    direct.trust_env = False
    headers = {"content-type": "application/json"}
    for label, session, url in (
        ("the container itself", direct, f"http://{said}/invocations"),
        ("rawPredict", asked, endpoint.state.facts["url"]),
    ):
        ask = partial(session.post, url, data=BODY, headers=headers)
        middle, rate = timed(ask)
        print(f"{label:25} {middle:6.2f} ms {rate:6.0f} a second")
    endpoint.delete()


if __name__ == "__main__":
    main()
