"""Who may use an endpoint, what may run in it, and what is kept of it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_things import STACK, TIMEOUT, post, until, url_of

from cloudml import plan
from cloudml.client import Client, connect_plugin
from cloudml.errors import ConfigError, Conflict, ModelError, RunFailed
from cloudml.spi import Window
from cloudml_local import connect as opened
from cloudml_local.options import access, loopback
from cloudml_local.plugin import plugin

Write = Callable[..., str]


def beyond(home: Path, host: str, **settings: str) -> Client:
    """A client for whom 127.0.0.1 alone is this machine: 127.0.0.2 stands for an address that others can reach."""

    def connect(config: Any, caller: Any) -> Any:
        listens = access(config.host, config.token, lambda host: host == "127.0.0.1")
        return opened.provider(config.home, listens, config.cpus, caller)

    return connect_plugin(replace(plugin, connect=connect), STACK, [], {"home": str(home), "host": host, **settings})


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False),
    ],
)  # fmt: skip
def test_what_counts_as_this_machine(host: str, near: bool) -> None:
    assert loopback(host) is near
    assert access(host, None, loopback).needed is not near
    assert access(host, "${secret:env:X}", loopback).label == "${secret:env:X}"


def test_a_token_is_a_reference(home: Path) -> None:
    with pytest.raises(ConfigError, match="token"):
        connect_plugin(plugin, STACK, [], {"home": str(home), "token": "plain"})


def test_beyond_loopback_a_token_is_asked_for(client: Client, model: Write, home: Path) -> None:
    version = str(client.models.register("sums", model()))
    other = beyond(home, "127.0.0.2")
    endpoint = other.deploy("sum-api", version, timeout=TIMEOUT)
    url = url_of(endpoint.state)
    assert url.startswith("http://127.0.0.2:")
    assert endpoint.predict([[1, 2]]) == [3]
    token = (home / "token").read_text()
    assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600
    assert len(token) >= 32
    status, body = post(url)
    assert (status, "needs its token" in json.loads(body)["error"]) == (401, True)
    assert post(url, authorization=f"Bearer {token}") == (200, b'{"predictions":[3]}')
    with pytest.raises(ConnectionRefusedError):
        post(url.replace("127.0.0.2", "127.0.0.1"))
    (server,) = endpoint.state.of("deployment")
    with pytest.raises(ConnectionRefusedError):  # no way around the gateway
        post(f"http://127.0.0.2:{server.facts['port']}")
    assert token not in repr(endpoint.state)
    assert token not in str(endpoint.state.native)
    endpoint = client.deploy("sum-api", version, timeout=TIMEOUT)  # back, on the same port
    assert url_of(endpoint.state) == url.replace("127.0.0.2", "127.0.0.1")
    assert post(url_of(endpoint.state))[0] == 200


def test_a_token_of_ones_own(client: Client, model: Write, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = str(client.models.register("sums", model()))
    monkeypatch.setenv("SUM_TOKEN", "swordfish")
    other = beyond(home, "127.0.0.1", token="${secret:env:SUM_TOKEN}")  # asked for on loopback too
    endpoint = other.deploy("sum-api", version, timeout=TIMEOUT)
    assert endpoint.predict([[1, 2]]) == [3]
    assert post(url_of(endpoint.state))[0] == 401
    assert post(url_of(endpoint.state), authorization="Bearer swordfish")[0] == 200
    assert not (home / "token").exists()
    files = [path for path in home.rglob("*") if path.is_file() and b"swordfish" in path.read_bytes()]
    assert {(path.name, stat.S_IMODE(path.stat().st_mode)) for path in files} == {("task.json", 0o600)}


def test_a_port_that_it_had_and_somebody_took_is_told(client: Client, model: Write) -> None:
    import socket

    version = client.models.register("sums", model())
    first = client.deploy("first", version, timeout=TIMEOUT)
    port = int(url_of(first.state).rpartition(":")[2])
    second = {"local": {"port": port}}
    with pytest.raises(Conflict, match=f"cannot listen on 127.0.0.1:{port}"):
        client.deploy("second", version, options=second, timeout=TIMEOUT)
    first.delete()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Conflict, match=str(port)):
        client.deploy("second", version, options=second, timeout=TIMEOUT)
    assert client.deploy("second", version, options=second, timeout=TIMEOUT).predict([[1, 2]]) == [3]


def test_a_pickle_runs_as_it_was_registered_or_not_at_all(client: Client, pickled: str, home: Path) -> None:
    version = client.models.register("sevens", pickled, sample_input=[{"age": 1.0, "pay": 2.0}])
    endpoint = client.deploy("sum-api", version, timeout=TIMEOUT)
    assert endpoint.predict([{"pay": 1, "age": 2}]) == [7.0]
    with pytest.raises(ModelError, match="row 1 has no feature 'age', but an unknown 'aeg'; did you mean 'age'"):
        endpoint.predict([{"pay": 1, "aeg": 2}])
    with pytest.raises(ModelError, match="row 1: feature 'pay' must be a number, not 'much'"):
        endpoint.predict([{"pay": "much", "age": 2}])
    endpoint.delete()
    (stored,) = (home / "store").rglob("model.joblib")
    stored.write_bytes(stored.read_bytes() + b" ")
    with pytest.raises(RunFailed, match="is not the model that was registered"):
        client.deploy("sum-api", version, timeout=TIMEOUT)


@pytest.fixture
def captured(client: Client, model: Write) -> Any:
    """An endpoint that keeps everything but what somebody earns."""
    version = client.models.register("sevens", model("7"), sample_input=[{"age": 1.0, "pay": 2.0}])
    return client.deploy("sum-api", version, capture=1.0, redact=["pay"], timeout=TIMEOUT)


def test_what_is_redacted_is_nowhere(client: Client, captured: Any, home: Path) -> None:
    captured.predict([{"pay": 123456.5, "age": 2}])
    captured.predict([[3, 123456.5]])
    found: list[Any] = []

    def both() -> bool:
        found[:] = client.session.provider.telemetry.captured(captured.state, Window())
        return len(found) == 2

    until(both)
    assert [(each.inputs, list(each.names or ())) for each in found] == [
        ([[2, None]], ["age", "pay"]),
        ([[3, None]], ["age", "pay"]),
    ]
    assert not [path for path in home.rglob("*") if path.is_file() and b"123456.5" in path.read_bytes()]


def test_captured_requests_outlive_the_endpoint_and_go_with_the_stack(
    client: Client, captured: Any, home: Path
) -> None:
    captured.predict([[1, 2]])
    captured.delete()
    assert list((home / "store" / STACK / "captures" / "sum-api").glob("*.jsonl"))
    plan.destroy(client, everything=True)
    assert not [path for path in (home / "store").rglob("*") if path.is_file()]


def test_a_slip_in_redact_is_told(client: Client, model: Write) -> None:
    version = client.models.register("sevens", model("7"), sample_input=[{"age": 1.0, "pay": 2.0}])
    with pytest.raises(
        RunFailed, match="'redact' names 'pya', which is not a feature of this model; did you mean 'pay'"
    ):
        client.deploy("sum-api", version, capture=1.0, redact=["pya"], timeout=TIMEOUT)


def test_a_clients_mistakes_are_told_through_the_gateway(captured: Any) -> None:
    url = url_of(captured.state)
    for body, headers, status, says in (
        (b"[" + b" " * (7 << 20), {}, 413, "at most 6291456 are read"),
        (b"<xml/>", {"content_type": "text/xml"}, 415, "content-type 'text/xml' is not read here"),
        (b'{"instances": [[1, 2], [1]]}', {}, 400, "expected 2 features, row 2 has 1"),
        (b'{"instances": [[1, NaN]]}', {}, 400, "the body is not JSON"),
        (b'{"instances": [{"age": 1}]}', {}, 400, "row 1 has no feature 'pay'"),
        (b'{"instances": [{"age": 1, "pay": 2, "id": 3}]}', {}, 400, "row 1 has an unknown feature 'id'"),
        (b'{"instances": [[1, "much"]]}', {}, 400, "row 1: feature 'pay' must be a number, not 'much'"),
        (b"age,pay\n1,much\n", {"content_type": "text/csv"}, 400, "row 1: feature 'pay' must be a number, not 'much'"),
    ):
        found, said = post(url, body, **headers)  # type: ignore[arg-type]
        assert (found, says in json.loads(said)["error"]) == (status, True), said
    assert post(url, b'{"instances": [[1, null], [true, 2]]}') == (200, b'{"predictions":[7,7]}')
