"""The routes that each platform and each protocol asks for, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("httptools")

from serving_process import Served, manifested, until

from cloudml.errors import ConfigError
from cloudml.runtime.describing import execution_parameters
from cloudml.runtime.serving import settings

DEPLOYED = "/v1/endpoints/7/deployedModels/8"  # Vertex AI's own routes begin like this
ROWS = [[2.0, 1.0, 0.0], [-2.0, 1.0, 0.0]]
SIGNATURE = {
    "inputs": [{"name": "amount", "dtype": "float"}, {"name": "n", "dtype": "int"}, {"name": "k", "dtype": "int"}]
}
WAITING = """
import pathlib, time
class Model:
    def __init__(self, folder):
        while not (folder / "go").exists():
            time.sleep(0.01)
    def predict(self, rows):
        return rows
"""


@pytest.fixture(scope="module")
def server(linear: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("routes")
    (folder / "signature.json").write_text(json.dumps(SIGNATURE))
    served = Served(
        linear,
        folder,
        CLOUDML_MODEL_NAME="fraud",
        CLOUDML_MODEL_VERSION="3",
        CLOUDML_DEPLOYMENT="blue",
        CLOUDML_CAPTURE_DIR=str(folder / "captured"),
        CLOUDML_SIGNATURE=str(folder / "signature.json"),
        AIP_HEALTH_ROUTE=DEPLOYED,
        AIP_PREDICT_ROUTE=DEPLOYED + ":predict",
    )
    try:
        yield served
    finally:
        assert served.stop() == 0


@pytest.mark.parametrize("path", ["/v1/models/fraud:predict", "/v1/models/fraud%3Apredict", DEPLOYED + ":predict"])
def test_predict_routes(server: Served, path: str) -> None:
    assert server.predict({"instances": ROWS}, path) == (200, {"predictions": [1, 0]})


def test_the_models_of_every_protocol(server: Served) -> None:
    def said(path: str) -> object:
        status, _, body = server.call("GET", path)
        assert status == 200
        return json.loads(body)

    assert said("/v1/models") == {"models": ["fraud"]}
    assert said("/v1/models/fraud") == {"name": "fraud", "ready": True}
    assert said("/models") == {"models": [{"modelName": "fraud", "modelVersion": "3"}]}
    assert said(DEPLOYED) == {"ready": True}
    status, headers, body = server.call("GET", "/version")
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert body.decode() == json.loads(server.call("GET", "/v2")[2])["version"]


@pytest.mark.parametrize("path", ["/v1/models/other", "/v1/models/other:predict", "/v1/models/", "/v1/models/fraud/x"])
def test_what_is_not_there_is_404(server: Served, path: str) -> None:
    assert server.call("GET", path)[0] == 404


def test_each_route_has_its_method(server: Served) -> None:
    assert server.call("GET", "/v1/models/fraud:predict")[0] == 405
    assert server.call("POST", "/v1/models/fraud", {})[0] == 405
    status, headers, _ = server.call("POST", DEPLOYED, {})
    assert (status, headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("body", "transforms", "payload"), [(6 << 20, 16, 6), (1, 100, 1), (1 << 30, 1, 100), (40 << 20, 2, 40)]
)
def test_batch_transform_is_told_what_this_server_takes(body: int, transforms: int, payload: int) -> None:
    assert execution_parameters(body) == {
        "MaxConcurrentTransforms": transforms,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": payload,
    }


def test_execution_parameters_are_served(server: Served) -> None:
    assert json.loads(server.call("GET", "/execution-parameters")[2])["MaxPayloadInMB"] == 6


@pytest.mark.parametrize("path", ["/swagger.json", "/openapi.json"])
def test_the_document_names_the_features(server: Served, path: str) -> None:
    status, _, body = server.call("GET", path)
    document = json.loads(body)
    assert (status, document["openapi"], document["info"]) == (200, "3.0.3", {"title": "fraud", "version": "3"})
    record = document["components"]["schemas"]["Records"]["items"]
    assert record["required"] == ["amount", "n", "k"]
    assert record["properties"]["amount"] == {"type": "number"}


def test_every_route_of_the_document_is_answered_as_it_says(server: Served) -> None:
    document = json.loads(server.call("GET", "/openapi.json")[2])
    assert DEPLOYED in document["paths"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            status, headers, _ = server.call(method.upper(), path, {"instances": ROWS} if method == "post" else None)
            assert status == 200, path
            assert headers["content-type"] in operation["responses"]["200"]["content"]
    identifiers = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(set(identifiers)) == len(identifiers)


def test_json_lines_both_ways(server: Served) -> None:
    lines = b'{"amount": 2, "n": 1, "k": 0}\n[-2, 1, 0]\n'
    headers = {"content-type": "application/jsonlines", "accept": "application/jsonlines"}
    status, answered, body = server.call("POST", "/invocations", lines, headers)
    assert (status, answered["content-type"], body) == (200, "application/jsonlines", b"1\n0\n")


def test_every_envelope_on_every_predict_route(server: Served) -> None:
    records = [{"amount": 2.0, "n": 1, "k": 0}, {"k": 0, "n": 1, "amount": -2.0}]
    bodies = (
        ROWS,
        {"instances": ROWS},
        {"dataframe_records": records},
        {"inputs": {"k": [0, 0], "amount": [2.0, -2.0], "n": [1, 1]}},
        {"input_data": {"columns": ["amount", "n", "k"], "index": [0, 1], "data": ROWS}},
    )
    for path in ("/invocations", "/score", "/v1/models/fraud:predict"):
        for body in bodies:
            assert server.predict(body, path) == (200, {"predictions": [1, 0]})


CUSTOM, AZURE = "x-amzn-sagemaker-custom-attributes", "x-ms-client-request-id"


def test_what_goes_back_with_an_answer(server: Served) -> None:
    def answered(given: dict[str, str], body: object = ROWS) -> dict[str, str]:
        return server.call("POST", "/invocations", body, given)[1]

    assert answered({CUSTOM: "trace=1; c=d"})[CUSTOM] == "trace=1; c=d"
    assert answered({CUSTOM: "of a mistake"}, b"{")[CUSTOM] == "of a mistake"
    assert CUSTOM not in answered({})
    assert CUSTOM not in answered({CUSTOM: "x" * 1025})
    assert CUSTOM not in answered({CUSTOM: "caf\u00e9"})
    assert answered({"azureml-model-deployment": "green"})["azureml-model-deployment"] == "blue"
    assert "azureml-model-deployment" not in answered({})
    found = answered({AZURE: "of-azure"})
    assert (found[AZURE], found["x-request-id"]) == ("of-azure", "of-azure")
    assert answered({AZURE: "third", "x-amzn-sagemaker-inference-id": "second"})["x-request-id"] == "second"
    both = answered({"x-amzn-sagemaker-inference-id": "second", "x-request-id": "x" * 129})
    assert both["x-request-id"] == "second"


@pytest.mark.parametrize("header", ["x-request-id", "x-amzn-sagemaker-inference-id", AZURE])
def test_the_id_of_a_request_is_that_of_its_record(server: Served, header: str) -> None:
    name = f"captured-{header}"
    assert server.call("POST", "/invocations", ROWS, {header: name})[0] == 200

    def ids() -> list[str]:
        files = (server.log.parent / "captured").glob("*.jsonl")
        return [json.loads(line)["id"] for file in files for line in file.read_text().splitlines()]

    until(lambda: name in ids())
    assert ids().count(name) == 1


def test_one_path_for_health_and_predictions(echo: Path, tmp_path: Path) -> None:
    served = Served(echo, tmp_path, AIP_HEALTH_ROUTE="/same", AIP_PREDICT_ROUTE="/same")
    try:
        assert served.call("GET", "/same")[0] == 200
        assert served.predict([[1]], "/same") == (200, {"predictions": [[2]]})
        assert served.call("GET", "/v1/models/anything")[0] == 200
    finally:
        served.stop()


def test_before_the_model_is_there(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.py").write_text(WAITING)
    served = Served(manifested(model), tmp_path, ready=False, AIP_HEALTH_ROUTE="/asked")
    try:
        for path in ("/v1/models/m", "/asked", "/openapi.json", "/v2/models/m"):
            status, headers, _ = served.call("GET", path)
            assert (status, headers["retry-after"]) == (503, "1"), path
        for path in ("/livez", "/v1/models", "/models", "/version", "/execution-parameters"):
            assert served.call("GET", path)[0] == 200, path
        (model / "go").touch()
        until(lambda: served.call("GET", "/asked")[0] == 200)
        assert served.call("GET", "/v1/models/m")[0] == 200
    finally:
        served.stop()


@pytest.mark.parametrize("path", ["predict", "/predict?x=1", "/vorhersagé"])
def test_a_route_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="AIP_PREDICT_ROUTE"):
        settings({"CLOUDML_MODEL_DIR": "m", "AIP_PREDICT_ROUTE": path})
