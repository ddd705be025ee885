"""What clients may send: bytes, broken and nearly valid requests, bodies of every kind; for tests and a long run."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from typing import Any

from hypothesis import strategies as st

BODY = b'{"instances": [{"age": 1, "pay": 2.5}]}'
ROUTES = ("/invocations", "/predict", "/v2/models/m/infer", "/v2/models/m", "/metrics", "/readyz", "/", "/livez", "/x")


def post(body: bytes = BODY, path: str = "/invocations", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


WHOLE = post()
NAMES = ("content-length", "transfer-encoding", "connection", "expect", "upgrade", "host", "x-cloudml-deployment", "te")
VALUES = (
    "4",
    "0",
    "-1",
    "99999999999999999999",
    "chunked",
    "close",
    "keep-alive",
    "100-continue",
    "h2c",
    "a",
    "",
    "x, y",
)
raw = st.lists(st.binary(max_size=120), max_size=4)
broken = st.builds(
    lambda junk, at, cut, before: [WHOLE * before, WHOLE[:at] + junk + WHOLE[at + cut :], WHOLE],
    st.binary(max_size=40),
    st.integers(0, len(WHOLE)),
    st.integers(0, 20),
    st.integers(0, 3),
)
near = st.builds(
    lambda method, path, version, headers, body: [
        f"{method} {path} HTTP/{version}\r\n".encode()
        + "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
        + b"\r\n"
        + body,
        b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "TRACE", "BREW"]),
    st.sampled_from([*ROUTES, "*", "//", "http://x/y", "/%00", "/%ff/..", "/v2/models/%2e%2e/infer", "/" + "a" * 300]),
    st.sampled_from(["1.1", "1.1", "1.0", "2.0", "0.9"]),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=5),
    st.sampled_from([b"", b"body", BODY, b"4\r\nbody\r\n0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"ffffffffffffffff\r\n"]),
)
words = st.sampled_from(
    ["instances", "inputs", "data", "columns", "name", "shape", "datatype", "parameters", "method", "age", "pay", "id"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(
    st.lists(scalars, max_size=3)
    | st.fixed_dictionaries({"age": scalars, "pay": scalars})
    | st.dictionaries(words, scalars, max_size=3),
    max_size=3,
)
tensors = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["age", "pay", "x"]) | scalars,
            "shape": st.lists(st.integers(-1, 3), max_size=3) | scalars,
            "datatype": st.sampled_from(["FP64", "INT64", "BYTES", "BOOL", "fp64"]) | scalars,
            "data": st.lists(scalars | st.lists(scalars, max_size=2), max_size=6) | scalars,
        }
    ),
    max_size=3,
)
documents: st.SearchStrategy[Any] = st.one_of(
    values,
    st.fixed_dictionaries({"instances": rows | values}),
    st.fixed_dictionaries({"dataframe_records": rows | values}),
    st.fixed_dictionaries({"data": rows | values, "parameters": values}),
    st.fixed_dictionaries(
        {"inputs": tensors | rows | st.dictionaries(words, st.lists(scalars, max_size=3), max_size=3)}
    ),
    st.fixed_dictionaries(
        {"dataframe_split": st.fixed_dictionaries({"columns": st.lists(words, max_size=3), "data": rows | values})}
    ),
)
bodies = st.one_of(
    documents.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=100),
    st.text("0123456789.,eE-+\n\"';age py\t\x00é", max_size=60).map(str.encode),
)
kinds = st.sampled_from(
    [
        "application/json",
        "text/csv",
        "application/vnd.x+json",
        "application/octet-stream",
        "text/csv; charset=x",
        "",
        ";",
    ]
)
filled = st.builds(
    lambda body, path, kind, accept: [post(body, path, f"content-type: {kind}", f"accept: {accept}")],
    bodies,
    st.sampled_from(ROUTES[:4]),
    kinds,
    kinds,
)
anything = st.one_of(raw, broken, near, filled, filled)


def say(port: int, pieces: list[bytes]) -> bytes:
    """What is answered on one connection until it ends. TimeoutError for a server that hangs."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have said its last already
            for piece in pieces:
                one.sendall(piece)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while block := one.recv(1 << 16):
                found += block
        return found


def statuses(data: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]
