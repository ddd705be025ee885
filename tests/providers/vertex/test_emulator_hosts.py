"""Every host of the emulated Google answers: over gRPC too, if only that it has no such method."""

from __future__ import annotations

import time

import grpc
import pytest
from vertex_wire import HOST, session

from cloudml.emulation.running import Running

LONGEST = 20.0  # seconds: a client that finds nobody tries for a minute


def hosts(running: Running) -> list[str]:
    """One of each pattern; addresses, which no certificate of Google's names, are asked in plain HTTP alone."""
    patterns = [route.host for route in running.clouds["vertex"].cloud.routes]
    return [each.replace("*", "us-central1") for each in patterns if not each[0].isdigit()]


def test_every_host_answers_grpc(running: Running) -> None:
    found = hosts(running)
    assert len(found) > 40
    for host in found:
        began = time.monotonic()
        with grpc.secure_channel(f"{host}:443", grpc.ssl_channel_credentials()) as channel:
            ask = channel.unary_unary("/google.nobody.v1.Nobody/DoNothing")
            with pytest.raises(grpc.RpcError) as refused:
                ask(b"", timeout=LONGEST)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED, host
        assert time.monotonic() - began < LONGEST, host


def test_every_region_has_the_api_and_no_other_has(running: Running) -> None:
    path = "/v1/projects/p-1/locations/{0}/endpoints"
    for region in ("us-central1", "europe-west4", "asia-southeast1", "africa-south1"):
        answer = session().get(HOST.replace("us-central1", region) + path.format(region))
        assert answer.json() == {}
    assert not [host for host in hosts(running) if "mars" in host]
