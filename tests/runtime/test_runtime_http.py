"""The real server over real sockets: routes, predictions, HTTP's corners, limits. One server for the module."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httptools")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_process import Served, receive_all, until

ONE = [[2.0, 1.0, 0.0]]
BODY = json.dumps({"instances": ONE}).encode()
DOUBLED = b'{"predictions":[[4.0,2.0,0.0]]}'  # what the echo model makes of it


@pytest.fixture(scope="module")
def server(linear: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(
        linear,
        tmp_path_factory.mktemp("server"),
        CLOUDML_MODEL_NAME="fraud",
        CLOUDML_MODEL_VERSION="3",
        CLOUDML_MAX_BODY="200000",
    )
    try:
        yield served
        assert served.process.poll() is None, "the server died: " + served.log.read_text()
    finally:
        code = served.stop()
    assert code == 0


@pytest.fixture
def hasty(linear: Path, tmp_path: Path) -> Iterator[Served]:
    """One whose patience is short: for its own test, since a machine under load is slow as well."""
    patience = {"CLOUDML_HEADER_TIMEOUT": "0.5", "CLOUDML_BODY_TIMEOUT": "0.7", "CLOUDML_KEEP_ALIVE": "1"}
    served = Served(linear, tmp_path / "run", **patience)
    try:
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="module")
def echoing(echo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(echo, tmp_path_factory.mktemp("echoing"))
    try:
        yield served
    finally:
        served.stop()


def post(body: bytes = BODY, path: str = "/invocations", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", *headers]
    if not any("chunked" in header for header in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answers(data: bytes) -> list[tuple[int, bytes]]:
    """The answers in what a server said on one connection."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        found.append((status, rest[:size]))
        data = rest[size:]
    return found


@pytest.mark.parametrize(
    "path",
    ["/livez", "/v2/health/live", "/ping", "/health", "/readyz", "/", "/v2/health/ready", "/v2/models/fraud/ready"],
)
def test_health(server: Served, path: str) -> None:
    assert server.call("GET", path)[0] == 200
    status, headers, body = server.call("HEAD", path)
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/invocations", "/predict", "/score", "/predict?x=1"])
def test_predict(server: Served, path: str) -> None:
    assert server.predict({"instances": [[2.0, 1.0, 0.0], [-2.0, 1.0, 0.0]]}, path) == (200, {"predictions": [1, 0]})


@pytest.mark.parametrize("path", ["/v2/models/fraud/infer", "/v2/models/fraud/versions/3/infer", "/invocations"])
def test_open_inference_protocol(server: Served, path: str) -> None:
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [2, 1, 0, -2, 1, 0]}
    status, reply = server.predict({"id": "a", "inputs": [tensor]}, path)
    output = {"name": "predictions", "shape": [2], "datatype": "INT64", "data": [1, 0]}
    assert (status, reply) == (200, {"model_name": "fraud", "model_version": "3", "id": "a", "outputs": [output]})


def test_metadata(server: Served) -> None:
    assert json.loads(server.call("GET", "/v2")[2])["name"] == "cloudml"
    about = json.loads(server.call("GET", "/v2/models/fraud")[2])
    assert (about["versions"], about["platform"]) == (["3"], "sklearn")
    assert about["inputs"] == [{"name": "inputs", "datatype": "FP64", "shape": [-1, 3]}]


def test_csv_both_ways(server: Served) -> None:
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    status, answered, body = server.call("POST", "/invocations", b"2,1,0\n-2,1,0\n", headers)
    assert (status, answered["content-type"], body) == (200, "text/csv", b"1\n0\n")


def test_methods_of_the_model(server: Served) -> None:
    status, reply = server.predict({"instances": ONE, "parameters": {"method": "predict_proba"}})
    assert status == 200
    assert sum(reply["predictions"][0]) == pytest.approx(1.0)
    status, reply = server.predict({"instances": ONE, "parameters": {"method": "fit"}})
    assert status == 400
    assert reply["error"].startswith("this model has no method 'fit'; it has predict")


def test_no_rows_no_predictions(server: Served) -> None:
    assert server.predict({"instances": []}) == (200, {"predictions": []})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"instances": [[1,', "line 1 column"),
        ({"instances": [[1, 2, 3], [1, 2]]}, "expected 3 features, row 2 has 2"),
        ({"instances": [[1, 2, "x"]]}, "row 1: feature 3 must be a number, not 'x'"),
        ({"instances": [{"a": 1}]}, "does not name its features"),
        ({"instances": [[1, 2, None]]}, "row 1: feature 3 is missing, and this model takes no missing values"),
        ({}, "exactly one of"),
    ],
)
def test_a_clients_mistake_is_400(server: Served, body: Any, says: str) -> None:
    status, reply = server.predict(body)
    assert status == 400
    assert says in reply["error"]


def test_other_mistakes(server: Served) -> None:
    assert server.predict(BODY, content_type="image/png")[0] == 415
    assert server.call("GET", "/nowhere")[0] == 404
    assert server.predict(BODY, "/v2/models/other/infer") == (
        404,
        {"error": "there is no model 'other' here, but 'fraud'"},
    )
    assert server.predict(BODY, "/v2/models/fraud/versions/4/infer")[0] == 404
    assert server.predict(BODY, "/v2/models/fraud/infer")[0] == 400
    status, headers, _ = server.call("GET", "/invocations")
    assert (status, headers["allow"]) == (405, "POST")


def test_request_ids(server: Served) -> None:
    def given(**headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.call("POST", "/invocations", BODY, named)[1]["x-request-id"]

    assert given(x_request_id="mine") == "mine"
    assert given(x_amzn_sagemaker_inference_id="theirs") == "theirs"
    assert given() != given()
    assert given(x_request_id="x" * 200) != "x" * 200


def test_chunked_body(server: Served) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:5], BODY[5:6], BODY[6:])) + b"0\r\n\r\n"
    data = server.raw(post(chunks, "/invocations", "transfer-encoding: chunked"))
    assert answers(data) == [(200, b'{"predictions":[1]}')]


def test_pipelined_requests_are_answered_in_order(server: Served) -> None:
    bodies = [json.dumps({"instances": [[sign, 1, 0]]}).encode() for sign in (2, -2, 2, 2, -2)]
    bad, health = post(b"{"), b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    data = server.raw(b"".join(map(post, bodies[:3])) + bad + health + b"".join(map(post, bodies[3:])) + health)
    found = answers(data)
    assert [status for status, _ in found] == [200, 200, 200, 400, 200, 200, 200, 200]
    predicted = [json.loads(body)["predictions"][0] for _, body in found if b"predictions" in body]
    assert predicted == [1, 0, 1, 1, 0]


def test_many_pipelined_requests_byte_by_byte_and_at_once(server: Served, echoing: Served) -> None:
    assert len(answers(server.raw(post() * 300))) == 300
    with echoing.connect() as sock:
        for byte in post() + post():
            sock.sendall(bytes([byte]))
        sock.shutdown(socket.SHUT_WR)
        assert answers(receive_all(sock)) == [(200, DOUBLED)] * 2


def test_expect_100_continue(echoing: Served) -> None:
    head, body = post(BODY, "/invocations", "expect: 100-continue").split(b"\r\n\r\n")
    with echoing.connect() as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        sock.shutdown(socket.SHUT_WR)
        assert answers(receive_all(sock)) == [(200, DOUBLED)]


def test_connection_close_http_1_0_and_upgrade(server: Served) -> None:
    assert b"connection: close" in server.raw(post(BODY, "/invocations", "connection: close"), half_close=False)
    assert server.raw(b"GET /livez HTTP/1.0\r\n\r\n", half_close=False).startswith(b"HTTP/1.1 200")
    upgrade = post(BODY, "/invocations", "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AA")
    assert [status for status, _ in answers(server.raw(upgrade + post()))] == [200, 200]
    health = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    assert [status for status, _ in answers(server.raw(health + health))] == [200, 200]
    assert [status for status, _ in answers(server.raw(b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\nabc"))] == [405]


def test_limits_of_size(server: Served) -> None:
    status, reply = server.predict(b"[" + b" " * 200_000)
    assert (status, reply["error"]) == (413, "the body has 200001 bytes, at most 200000 are read")
    chunk = b"%x\r\n%s\r\n" % (150_000, b" " * 150_000)
    chunked = post(chunk + chunk + b"0\r\n\r\n", "/invocations", "transfer-encoding: chunked")
    assert answers(server.raw(chunked))[0][0] == 413
    for size in (40_000, 400_000):
        assert answers(server.raw(post(BODY, "/invocations", "x-long: " + "x" * size), half_close=False))[0][0] == 431


def test_not_http(server: Served) -> None:
    found = answers(server.raw(b"\x16\x03\x01\x02\x00 hello"))
    assert found[0][0] == 400
    smuggled = post(BODY, "/invocations", "content-length: 3")
    assert [status for status, _ in answers(server.raw(smuggled))] == [400]


def test_slow_and_idle_clients_are_let_go(hasty: Served) -> None:
    for sent, expected in ((b"POST /invocations HT", [408]), (post()[:-3], [408]), (b"", [])):
        assert [status for status, _ in answers(hasty.raw(sent, half_close=False))] == expected


def test_concurrent_rows_become_batches(server: Served) -> None:
    before = numbers(server)
    with ThreadPoolExecutor(16) as pool:
        bodies = [{"instances": [[float(n), 1, 0] for n in (1, -1, index % 2 or -1)]} for index in range(200)]
        found = list(pool.map(server.predict, bodies))
    expected = [(200, {"predictions": [1, 0, index % 2]}) for index in range(200)]
    assert found == expected
    after = numbers(server)
    assert after["cloudml_rows_total"] - before["cloudml_rows_total"] == 600
    assert after["cloudml_batches_total"] - before["cloudml_batches_total"] <= 200


def test_one_bad_request_does_not_fail_its_batch(server: Served) -> None:
    """Sent in one segment, so that they share a tick; the batch has an invalid row, a NaN and good rows."""
    good, narrow, nan = BODY, b'{"instances":[[1,2]]}', b'{"instances":[[1,2,null]]}'
    before = numbers(server)
    found = answers(server.raw(post(good) + post(narrow) + post(good) + post(nan) + post(good)))
    assert [status for status, _ in found] == [200, 400, 200, 400, 200]
    assert found[0] == found[2] == found[4] == (200, b'{"predictions":[1]}')
    assert numbers(server)["cloudml_batches_total"] - before["cloudml_batches_total"] == 1


def test_metrics(server: Served) -> None:
    before = numbers(server)
    server.predict(BODY)
    server.predict(b"{")
    after = numbers(server)
    for status in (200, 400):
        name = f'cloudml_requests_total{{route="predict",status="{status}"}}'
        assert after[name] - before.get(name, 0) == 1
    assert after["cloudml_predict_seconds_count"] - before["cloudml_predict_seconds_count"] == 2
    assert after["cloudml_ready"] == 1


def numbers(server: Served) -> dict[str, float]:
    text = server.call("GET", "/metrics")[2].decode()
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_a_model_that_raises_is_500_without_its_traceback(echoing: Served) -> None:
    status, reply = echoing.predict([["raise"]])
    assert (status, reply) == (500, {"error": "the model failed: RuntimeError: the model said no"})
    assert 'raise RuntimeError("the model said no")' in echoing.log.read_text()
    assert (
        echoing.predict([["short"]])[1]["error"] == "the model failed: BadAnswer: the model gave 0 answers for 1 rows"
    )
    status, reply = echoing.predict([["object"]])
    assert (status, "cannot be written as JSON" in reply["error"]) == (500, True)
    assert echoing.predict([[1, "a"]]) == (200, {"predictions": [[2, "aa"]]})


def test_of_a_batch_that_raises_only_the_culprit_fails(echoing: Served) -> None:
    first = post(b'[["sleep", 0.3]]')
    rest = [post(b"[[%d]]" % n) if n != 2 else post(b'[["raise"]]') for n in range(5)]
    found = answers(echoing.raw(first + b"".join(rest)))
    assert [status for status, _ in found] == [200, 200, 200, 500, 200, 200]
    assert json.loads(found[-1][1]) == {"predictions": [[8]]}


def test_a_slow_prediction_does_not_hold_up_health(echoing: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        batches = numbers(echoing)["cloudml_batches_total"]
        slow = pool.submit(echoing.predict, [["sleep", 1.0]])
        until(lambda: numbers(echoing)["cloudml_batches_total"] > batches)
        assert echoing.call("GET", "/livez")[0] == 200
        assert not slow.done()
        assert slow.result() == (200, {"predictions": [["sleepsleep", 2.0]]})


FUZZ = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["instances", "inputs", "data", "columns", "name", "shape", "datatype", "parameters", "method"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def fine(server: Served, data: bytes) -> None:
    """Whatever was sent: no 500, no hang, and the server lives."""
    said = server.raw(data)
    assert all(status < 500 and status != 408 for status, _ in answers(said)), said
    assert server.process.poll() is None


@FUZZ
@given(st.binary(max_size=200))
def test_any_bytes(server: Served, data: bytes) -> None:
    fine(server, data)


@FUZZ
@given(st.binary(max_size=40), st.integers(0, len(post())), st.integers(0, 20))
def test_a_broken_request(server: Served, junk: bytes, at: int, cut: int) -> None:
    whole = post()
    fine(server, whole[:at] + junk + whole[at + cut :])


@FUZZ
@given(st.binary(max_size=100))
def test_any_body(server: Served, body: bytes) -> None:
    fine(server, post(body))


@FUZZ
@given(json_values)
def test_any_json(server: Served, value: Any) -> None:
    fine(server, post(json.dumps(value).encode()))


@FUZZ
@given(st.sampled_from(["instances", "inputs", "dataframe_split", "dataframe_records", "data"]), json_values)
def test_any_envelope(server: Served, name: str, value: Any) -> None:
    fine(server, post(json.dumps({name: value}).encode()))
