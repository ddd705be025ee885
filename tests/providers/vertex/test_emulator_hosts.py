"""Every host of the emulated Google answers: over gRPC too, if only that it has no such method."""

from __future__ import annotations

import fnmatch

import grpc
import pytest
from vertex_wire import HOST, ROUTES, session

from cloudml.emulation.running import Running
from cloudml_vertex.emulator import emulator

LONGEST = 45.0  # seconds: a client that finds nobody tries for a minute


def hosts(running: Running) -> list[str]:
    """One of each pattern; addresses, which no certificate of Google's names, are asked in plain HTTP alone."""
    patterns = [route.host for route in running.clouds["vertex"].cloud.routes]
    return [each.replace("*", "us-central1") for each in patterns if not each[0].isdigit()]


def test_every_host_answers_grpc(running: Running) -> None:
    found = hosts(running)
    assert len(found) > 40
    for host in found:
        with grpc.secure_channel(f"{host}:443", grpc.ssl_channel_credentials()) as channel:
            ask = channel.unary_unary("/google.nobody.v1.Nobody/DoNothing")
            with pytest.raises(grpc.RpcError) as refused:
                ask(b"", timeout=LONGEST)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED, host


def test_every_region_has_the_api_and_no_other_has(running: Running) -> None:
    path = "/v1/projects/p-1/locations/{0}/endpoints"
    for region in ("us-central1", "europe-west4", "asia-southeast1", "africa-south1"):
        answer = session().get(HOST.replace("us-central1", region) + path.format(region))
        assert answer.json() == {}
    assert not [host for host in hosts(running) if "mars" in host]


def test_what_is_known_of_each_host_is_said(running: Running) -> None:
    """The API's methods are marked one by one; beside them each host, or all of its kind, has a mark."""
    known = emulator.evidence()
    assert {path for path in known if path.split("/")[0].endswith("Service") and ":" not in path} == ROUTES.keys()
    marked = [path.partition("/")[0] for path in known]
    for host in hosts(running):
        ours = host.endswith(("-aiplatform.googleapis.com", ".prediction.vertexai.goog"))
        assert ours or any(fnmatch.fnmatchcase(host, pattern) for pattern in marked), host
