"""What an emulator has begun ends with it: threads, containers, connections, in the midst of everything."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from pathlib import Path

import pytest
from vertex_wire import Api, job, pool

from cloudml.emulation.running import start
from cloudml.testing import emulated
from cloudml_vertex.emulator import emulator

SLEEP = ("python3", "-c", "import time; time.sleep(600)")


def test_all_of_it_ends_while_it_works(tmp_path: Path) -> None:
    before = {*threading.enumerate()}
    with start([emulator]) as running, emulated.environment(running.environment):
        api = Api(f"ends-{uuid.uuid4().hex[:8]}", "rest")
        api.call("JobService/CreateCustomJob", {"parent": api.place, "customJob": job("long", pool(*SLEEP))})
        served = {"displayName": "m", "containerSpec": {"imageUri": "i", "command": list(SLEEP)}}
        model = api.call("ModelService/UploadModel", {"parent": api.place, "model": served, "modelId": "m"})
        endpoint = {"parent": api.place, "endpointId": "e", "endpoint": {"displayName": "e"}}
        api.call("EndpointService/CreateEndpoint", endpoint)
        resources = {"machineSpec": {"machineType": "n1-standard-4"}, "minReplicaCount": 1}
        deployed = {"model": model["response"]["model"], "dedicatedResources": resources}
        name = f"{api.place}/endpoints/e"
        operation = api.call("EndpointService/DeployModel", {"endpoint": name, "deployedModel": deployed})
        assert "done" not in operation, "it waits for a server that never answers"
        ports = {port for route in running.clouds["vertex"].cloud.routes for port in (route.port, route.grpc) if port}
    left = threads(before)
    deadline = time.monotonic() + 30
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = threads(before)
    assert left == []
    for port in ports:
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    assert not running.folder.exists()


def threads(before: set[threading.Thread]) -> list[str]:
    return [each.name for each in threading.enumerate() if each not in before and each.is_alive()]
