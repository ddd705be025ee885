"""Custom jobs on the wire: made, waited for, and what their replicas wrote."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from vertex_wire import Api, pool, session

ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
DEADLINE = 120.0


def python(code: str, *arguments: str, **more: Any) -> dict[str, Any]:
    return pool("python3", "-c", code, args=list(arguments), **more)


def create(api: Api, document: Mapping[str, Any]) -> str:
    made = api.call("JobService/CreateCustomJob", {"parent": api.place, "customJob": document})
    return str(made["name"])


def until(api: Api, name: str, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE
    while True:
        found = api.call("JobService/GetCustomJob", {"name": name})
        if met(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def ended(api: Api, document: Mapping[str, Any]) -> dict[str, Any]:
    return until(api, create(api, document), lambda found: found["state"] in ENDED)


def lines(api: Api, name: str) -> list[str]:
    text = f'resource.type="ml_job" AND resource.labels.job_id="{name.rpartition("/")[2]}"'
    body = {"resourceNames": [f"projects/{api.project}"], "filter": text}
    answer = session().post("https://logging.googleapis.com/v2/entries:list", json=body).json()
    return [each["textPayload"] for each in answer["entries"]]
