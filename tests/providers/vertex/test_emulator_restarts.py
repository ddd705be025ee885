"""Workers that end badly: which exits begin again, how often, and who begins with them."""

from __future__ import annotations

from collections import Counter

import pytest
from vertex_jobs import ended, lines, python
from vertex_wire import Api, job

from cloudml.emulation.box import refusal

# Says that it began and where, then ends as told: with a code, or by a signal, until it has begun often enough.
FAILS = """
import os, socket, sys
folder, name, code, times = *sys.argv[1:3], *map(int, sys.argv[3:])
begun = len([each for each in os.listdir(folder) if each.startswith(name + "-")])
open(f"{folder}/{name}-{begun}", "w").close()
print(name, socket.gethostname(), flush=True)
if begun < times:
    os.abort() if code < 0 else os._exit(code)
"""
WAITS = """
import os, sys, time
print("first", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
"""
SIGNAL = -1


@pytest.fixture
def api(bucket: str) -> Api:
    assert refusal() is None, refusal()
    return Api(bucket, "grpc")


def fails(api: Api, code: int, times: int) -> dict[str, object]:
    return python(FAILS, f"/gcs/{api.project}", "worker", str(code), str(times))


def begun(api: Api, name: str) -> Counter[str]:
    return Counter(line.split()[0] for line in lines(api, name) if line.split()[0] in ("first", "worker"))


@pytest.mark.parametrize("code", [6, 11, 134, 139, SIGNAL])
def test_an_exit_that_may_pass_begins_again(api: Api, code: int) -> None:
    found = ended(api, job("passes", fails(api, code, 1)))
    assert found["state"] == "JOB_STATE_SUCCEEDED", found.get("error")
    assert begun(api, found["name"]) == {"worker": 2}


@pytest.mark.parametrize("code", [1, 2, 5, 137])
def test_any_other_exit_ends_the_job_at_once(api: Api, code: int) -> None:
    found = ended(api, job("permanent", fails(api, code, 1)))
    assert found["state"] == "JOB_STATE_FAILED"
    assert begun(api, found["name"]) == {"worker": 1}


def test_a_worker_begins_again_alone_and_under_its_name(api: Api) -> None:
    done = f"/gcs/{api.project}/worker-2"
    found = ended(api, job("alone", python(WAITS, done), fails(api, SIGNAL, 2)))
    assert found["state"] == "JOB_STATE_SUCCEEDED", found.get("error")
    assert begun(api, found["name"]) == {"first": 1, "worker": 3}
    hosts = {line.split()[1] for line in lines(api, found["name"]) if line.startswith("worker ")}
    assert len(hosts) == 1


def test_the_whole_job_begins_again_if_that_is_asked_for(api: Api) -> None:
    done = f"/gcs/{api.project}/worker-1"
    scheduling = {"restartJobOnWorkerRestart": True}
    found = ended(api, job("all", python(WAITS, done), fails(api, SIGNAL, 1), scheduling=scheduling))
    assert found["state"] == "JOB_STATE_SUCCEEDED", found.get("error")
    assert begun(api, found["name"]) == {"first": 2, "worker": 2}


def test_retries_that_are_disabled_are_none(api: Api) -> None:
    for more in ({}, {"restartJobOnWorkerRestart": True}):
        found = ended(api, job("none", fails(api, SIGNAL, 99), scheduling={"disableRetries": True, **more}))
        assert found["state"] == "JOB_STATE_FAILED"
        assert begun(api, found["name"]) == {"worker": 1}
        assert "workerpool0-0 exited with a non-zero status of 134." in found["error"]["message"]


def test_five_times_each_worker_and_three_times_the_job(api: Api) -> None:
    found = ended(api, job("never", fails(api, SIGNAL, 99)))
    assert found["state"] == "JOB_STATE_FAILED"
    assert begun(api, found["name"]) == {"worker": (1 + 5) * (1 + 3)}
    assert "exited with a non-zero status of 134." in found["error"]["message"]
