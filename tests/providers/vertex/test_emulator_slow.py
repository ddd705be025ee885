"""The states between, which a slow cloud shows, and what is left after a reset."""

from __future__ import annotations

import time
import uuid
from typing import Any

from vertex_wire import HOST, Api, job, pool, session

from cloudml.emulation.running import Running

CREATE = "JobService/CreateCustomJob"


def test_operations_run_before_they_are_done(slow: Running) -> None:
    api = Api(f"slow-{uuid.uuid4().hex[:8]}", "rest")
    document = {"parent": api.place, "endpointId": "e-1", "endpoint": {"displayName": "e"}}
    started = api.call("EndpointService/CreateEndpoint", document)
    assert "done" not in started
    assert started["metadata"]["@type"].endswith(".CreateEndpointOperationMetadata")
    assert started["metadata"]["genericMetadata"]["createTime"]
    api.refused(404, "does not exist", "EndpointService/GetEndpoint", {"name": f"{api.place}/endpoints/e-1"})
    api.refused(409, "already exists", "EndpointService/CreateEndpoint", document)
    looks = 0
    deadline = time.monotonic() + 60
    while not (found := session().get(f"{HOST}/ui/{started['name']}").json()).get("done"):
        looks += 1
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert looks >= 1
    assert found["response"]["@type"].endswith(".Endpoint")
    listed = session().get(f"{HOST}/v1/{api.place}/endpoints/e-1/operations").json()["operations"]
    assert [each["name"] for each in listed] == [started["name"]]
    assert session().post(f"{HOST}/v1/{started['name']}:cancel").json() == {}
    assert session().get(f"{HOST}/v1/{api.place}/endpoints/e-1/operations/9").status_code == 404


def test_an_operation_that_fails_says_so_itself(slow: Running) -> None:
    api = Api(f"slow-{uuid.uuid4().hex[:8]}", "rest")
    model = {"displayName": "m", "artifactUri": "gs://nobody/nothing"}
    started = api.call("ModelService/UploadModel", {"parent": api.place, "model": model, "modelId": "m"})
    deadline = time.monotonic() + 60
    while not (found := session().get(f"{HOST}/v1/{started['name']}").json()).get("done"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (found["error"]["code"], "response" in found) == (3, False)
    assert "gs://nobody/nothing is expected to contain" in found["error"]["message"]
    api.refused(404, "does not exist", "ModelService/GetModel", {"name": f"{api.place}/models/m"})


def test_a_job_waits_in_its_states(slow: Running) -> None:
    api = Api(f"slow-{uuid.uuid4().hex[:8]}", "rest")
    made = api.call(CREATE, {"parent": api.place, "customJob": job("slow", pool("true"))})
    seen = [made["state"]]
    deadline = time.monotonic() + 60
    while seen[-1] not in ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED"):
        state = api.call("JobService/GetCustomJob", {"name": made["name"]})["state"]
        seen += [state] if state != seen[-1] else []
        assert time.monotonic() < deadline
        time.sleep(0.05)
    wanted = ["JOB_STATE_QUEUED", "JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]
    assert [state for state in wanted if state in seen] == seen, "in this order"
    assert seen[:2] == wanted[:2]
    assert seen[-1] == wanted[-1]


def test_nothing_is_left_after_a_reset(slow: Running) -> None:
    """A reset forgets the numbers of versions too."""
    api = Api("reset-1", "rest")

    def upload() -> dict[str, Any]:
        document = {"parent": api.place, "model": {"displayName": "m"}, "modelId": "m"}
        name = api.call("ModelService/UploadModel", document)["name"]
        deadline = time.monotonic() + 60
        while not (found := session().get(f"{HOST}/v1/{name}").json()).get("done"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return dict(found["response"])

    first = upload()
    slow.reset()
    assert api.call("ModelService/ListModels", {"parent": api.place}) == {}
    assert upload() == first
