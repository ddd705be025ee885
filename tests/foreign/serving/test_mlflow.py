"""MLflow's own scoring client and the bodies that its own code writes."""

from __future__ import annotations

import pandas
import pytest
import requests
from mlflow.pyfunc.scoring_server import CONTENT_TYPE_CSV
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from serving_process import Served

FRAME = pandas.DataFrame({"c": [0.0, 0.0], "a": [2.0, -2.0], "b": [1.0, 1.0]})  # not in the model's order


def test_the_scoring_client(served: Served) -> None:
    client = ScoringServerClient("127.0.0.1", served.port)
    client.ping()
    client.wait_server_ready(30)
    found = client.invoke(FRAME)
    assert list(found.get_predictions()[0]) == [1, 0]


@pytest.mark.parametrize("orient", ["split", "records"])
def test_a_frame(url: str, orient: str) -> None:
    body = {f"dataframe_{orient}": FRAME.to_dict(orient=orient)}
    assert requests.post(f"{url}/invocations", json=body, timeout=30).json() == {"predictions": [1, 0]}


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [[2, 1, 0], [-2, 1, 0]]},
        {"inputs": {"a": [2, -2], "b": [1, 1], "c": [0, 0]}},
        {"instances": [[2, 1, 0], [-2, 1, 0]], "params": {}},
        {"inputs": FRAME.to_dict(orient="records")},
    ],
)
def test_tensors(url: str, body: object) -> None:
    assert requests.post(f"{url}/invocations", json=body, timeout=30).json() == {"predictions": [1, 0]}


def test_csv_and_parquet(url: str) -> None:
    text = FRAME.to_csv(index=False)
    headers = {"content-type": CONTENT_TYPE_CSV}
    assert requests.post(f"{url}/invocations", text, headers=headers, timeout=30).json() == {"predictions": [1, 0]}
    headers = {"content-type": "application/vnd.apache.parquet"}
    body = FRAME.to_parquet()
    assert requests.post(f"{url}/invocations", body, headers=headers, timeout=30).json() == {"predictions": [1, 0]}


def test_the_health_routes(url: str) -> None:
    assert [requests.get(url + path, timeout=30).status_code for path in ("/ping", "/health", "/version")] == [200] * 3
