"""Faults that are ordered, on both fronts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from vertex_wire import HOST, Api, job, session

from cloudml.emulation.faults import Fault, Faults, Trouble
from cloudml.emulation.running import Running

CREATE = "JobService/CreateCustomJob"


@pytest.fixture(params=["grpc", "rest"])
def api(running: Running, request: Any) -> Api:
    return Api(f"faults-{uuid.uuid4().hex[:8]}", request.param)


@pytest.fixture
def faults(running: Running) -> Iterator[Faults]:
    found = running.clouds["vertex"].faults
    yield found
    assert not [*found], "what was ordered has happened"


def requests(api: Api) -> dict[str, tuple[str, dict[str, Any]]]:
    """Requests by what a fault may name as their target."""
    endpoint = f"{api.place}/endpoints/e-1"
    resources = {"machineSpec": {"machineType": "n1-standard-4"}, "minReplicaCount": 1}
    deployed = {"model": f"{api.place}/models/m", "dedicatedResources": resources}
    return {
        "create": (CREATE, {"parent": api.place, "customJob": job("create")}),
        "e-1": ("EndpointService/DeployModel", {"endpoint": endpoint, "deployedModel": deployed}),
        "m": ("ModelService/UploadModel", {"parent": api.place, "modelId": "m", "model": {"displayName": "n"}}),
    }


@pytest.mark.parametrize("target", ["create", "e-1", "m"])
@pytest.mark.parametrize(
    ("trouble", "status", "said"),
    [
        (Trouble.THROTTLE, 429, "Requests per minute"),
        (Trouble.UNAVAILABLE, 503, "currently unavailable"),
        (Trouble.QUOTA, 429, "exceed quota limits"),
    ],
)
def test_a_refusal_changes_nothing_and_is_over(
    api: Api, faults: Faults, target: str, trouble: Trouble, status: int, said: str
) -> None:
    path, document = requests(api)[target]
    faults.add(Fault(trouble, path.partition("/")[2], "somebody-else"))
    faults.add(Fault(trouble, path.partition("/")[2], target))
    api.refused(status, said, path, document)
    assert api.call("JobService/ListCustomJobs", {"parent": api.place}) == {}
    assert api.call("ModelService/ListModels", {"parent": api.place}) == {}
    faults.clear()
    if target == "e-1":
        api.refused(404, "does not exist", path, document)
    else:
        assert api.call(path, document)


@pytest.mark.parametrize("method", ["Predict", "RawPredict"])
def test_predictions_are_refused_too(api: Api, faults: Faults, method: str) -> None:
    """RawPredict over HTTP is what cloudml and the SDK's ``raw_predict`` send."""
    name = f"{api.place}/endpoints/e-1"
    faults.add(Fault(Trouble.THROTTLE, method, "e-1"))
    verb = method[0].lower() + method[1:]
    answer = session().post(f"{HOST}/v1/{name}:{verb}", json={"instances": [[1]]})
    assert (answer.status_code, answer.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


def test_slow_is_answered_late(api: Api, faults: Faults) -> None:
    faults.add(Fault(Trouble.SLOW, "ListCustomJobs", "us-central1", seconds=0.3))
    began = time.monotonic()
    assert api.call("JobService/ListCustomJobs", {"parent": api.place}) == {}
    assert time.monotonic() - began >= 0.3


def test_lost_is_done_and_not_answered(api: Api, faults: Faults) -> None:
    faults.add(Fault(Trouble.LOSE, "CreateCustomJob", "lost"))
    with pytest.raises((exceptions.ServiceUnavailable, OSError)):
        api.call(CREATE, {"parent": api.place, "customJob": job("lost")})
    found = api.call("JobService/ListCustomJobs", {"parent": api.place})
    assert [each["displayName"] for each in found["customJobs"]] == ["lost"]
