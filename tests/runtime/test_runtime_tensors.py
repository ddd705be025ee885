"""The binary tensor extension, long bodies, and what the numbers say, over real sockets."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httptools")

from serving_process import Served


@pytest.fixture(scope="module")
def server(echo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(echo, tmp_path_factory.mktemp("tensors"), CLOUDML_MODEL_NAME="fraud")
    try:
        yield served
    finally:
        assert served.stop() == 0


def binary(head: dict[str, Any], behind: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of the binary tensor extension, and its header."""
    text = json.dumps(head).encode()
    return text + behind, {
        "inference-header-content-length": str(len(text)),
        "content-type": "application/octet-stream",
    }


def tensor(size: int, **more: Any) -> dict[str, Any]:
    shape = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    return {"inputs": [{**shape, **more}]}


def test_tensors_as_bytes_both_ways(server: Served) -> None:
    three = struct.pack("<3f", 1.5, 2, 3)
    body, headers = binary({**tensor(12), "id": "7", "parameters": {"binary_data_output": True}}, three)
    status, answered, reply = server.call("POST", "/v2/models/fraud/infer", body, headers)
    end = int(answered["inference-header-content-length"])
    about = json.loads(reply[:end])
    assert (status, answered["content-type"], about["id"]) == (200, "application/octet-stream", "7")
    (output,) = about["outputs"]
    assert (output["shape"], output["datatype"], output["parameters"]) == ([1, 3], "FP64", {"binary_data_size": 24})
    assert struct.unpack("<3d", reply[end:]) == (3.0, 4.0, 6.0)
    body, headers = binary(tensor(12), three)  # as JSON, where nobody asks for bytes
    status, _, reply = server.call("POST", "/v2/models/fraud/infer", body, headers)
    assert json.loads(reply)["outputs"][0]["data"] == [3.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("head", "behind", "says"),
    [
        (tensor(12), b"short", "binary_data_size is not what the body holds"),
        (tensor(-1), b"", "binary_data_size is not what the body holds"),
        (tensor(8), b"12345678", "shape [1, 3] needs 3 values, data has 2"),
        (tensor(5), b"12345", "its bytes are not FP32"),
        (tensor(12), b"x" * 13, "1 bytes of the body belong to no tensor"),
        (tensor(6, datatype="BYTES"), b"\x03\0\0\0ab", "its bytes are not BYTES"),
        ({**tensor(12), "outputs": [{"name": "other"}]}, b"x" * 12, "there is no output 'other'"),
        ({**tensor(12), "outputs": 5}, b"x" * 12, "'outputs' must be a list of objects"),
        ({"instances": [[1]]}, b"", "this route takes 'inputs'"),
    ],
    ids=["short", "negative", "shape", "size", "rest", "text", "output", "outputs", "no-tensor"],
)
def test_wrong_bytes_are_400(server: Served, head: dict[str, Any], behind: bytes, says: str) -> None:
    body, headers = binary(head, behind)
    status, _, reply = server.call("POST", "/invocations", body, headers)
    assert status == 400
    assert says in json.loads(reply)["error"]


@pytest.mark.parametrize("length", ["-1", "x", "999999", "1" * 40, ""])
def test_a_wrong_length_of_the_json_is_400(server: Served, length: str) -> None:
    status, _, reply = server.call("POST", "/invocations", b"{}", {"inference-header-content-length": length})
    assert (status, b"must be a number" in reply) == (400, True)


def test_a_long_body_is_read_beside_the_loop_and_answered_alike(server: Served) -> None:
    rows = [[float(number), 0, 1] for number in range(9000)]
    status, reply = server.predict({"instances": rows})
    assert (status, reply["predictions"][-1]) == (200, [17998.0, 0, 2])
    text = "\n".join("1,2,3" for _ in range(9000)).encode()
    status, _, answer = server.call("POST", "/invocations", text, {"content-type": "text/csv"})
    assert (status, json.loads(answer)["predictions"][8999]) == (200, [2.0, 4.0, 6.0])
    status, reply = server.predict(b"[" * 40_000)
    assert status == 400
    assert server.predict({"instances": rows, "parameters": {"method": "no"}})[0] == 400


def test_every_number_says_what_it_is(server: Served) -> None:
    lines = server.call("GET", "/metrics")[2].decode().splitlines()
    helped = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert helped == [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(helped) == len(set(helped)) >= 8


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_a_compressed_body(server: Served, encoding: str, pack: Any) -> None:
    body = pack(b'{"instances":[[1,2,3]]}')
    status, _, reply = server.call("POST", "/invocations", body, {"content-encoding": encoding})
    assert (status, reply) == (200, b'{"predictions":[[2,4,6]]}')


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        ("gzip", b"[[1,2,3]]", 400),
        ("gzip", gzip.compress(b"[[1,2,3]]")[:-4], 400),
        ("gzip", gzip.compress(b"[[1,2,3]]") + b"more", 400),
        ("gzip", gzip.compress(b" " * (7 << 20)), 413),
        ("br", b"[[1,2,3]]", 415),
    ],
    ids=["not-gzip", "cut", "followed", "long", "unknown"],
)
def test_a_body_that_cannot_be_unpacked(server: Served, encoding: str, body: bytes, expected: int) -> None:
    assert server.call("POST", "/invocations", body, {"content-encoding": encoding})[0] == expected
