"""Triton's own client of the Open Inference Protocol, which KServe's users have: JSON and binary tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from serving_process import Served
from tritonclient.utils import InferenceServerException


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
        yield client


def tensor(array: Any, binary: bool, name: str = "x") -> Any:
    kinds = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "float16": "FP16", "object": "BYTES"}
    found = triton.InferInput(name, list(array.shape), kinds[array.dtype.name])
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fraud")
    assert client.is_model_ready("fraud", "3")
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata("fraud")
    assert (about["name"], about["versions"], about["inputs"][0]["shape"]) == ("fraud", ["3"], [-1, 3])


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_infer(client: Any, binary_in: bool, binary_out: bool | None, dtype: Any) -> None:
    rows = np.array([[2, 1, 0], [-2, 1, 0]], dtype=dtype)
    wanted = None if binary_out is None else [triton.InferRequestedOutput("predictions", binary_data=binary_out)]
    found = client.infer("fraud", [tensor(rows, binary_in)], outputs=wanted, request_id="r-1")
    assert found.get_response()["id"] == "r-1"
    assert found.as_numpy("predictions").tolist() == [1, 0]


def test_a_tensor_for_each_feature(client: Any) -> None:
    columns = {"c": [0.0, 0.0], "a": [3.0, -3.0], "b": [1.0, 1.0]}
    inputs = [tensor(np.array(values, dtype=np.float32), True, name) for name, values in columns.items()]
    assert client.infer("fraud", inputs).as_numpy("predictions").tolist() == [1, 0]


def test_compressed(client: Any) -> None:
    rows = tensor(np.array([[2.0, 1, 0]] * 50), True)
    for way in ("gzip", "deflate"):
        found = client.infer("fraud", [rows], request_compression_algorithm=way, response_compression_algorithm=way)
        assert found.as_numpy("predictions").tolist() == [1] * 50


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((1, 2), np.float32), "expected 3 features, row 1 has 2"),
        (np.array([[b"a", b"b", b"c"]], dtype=object), "must be a number"),
        (np.zeros((1, 1, 3), np.float32), "send one of"),
    ],
)
def test_a_mistake_is_said(client: Any, array: Any, says: str) -> None:
    with pytest.raises(InferenceServerException, match=says):
        client.infer("fraud", [tensor(array, True)])
