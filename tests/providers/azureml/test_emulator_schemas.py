"""What fits the service's own model of a body, and what does not; an independent source, never our own sending."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from azure_account import Account
from wire_bodies import BODIES, DEPLOYMENT, JOB, JOB_SCHEDULE, MONITOR

from cloudml_azureml.emulator import schemas
from cloudml_azureml.emulator.schemas import MODELS, accepted, definitions, seen

Path = tuple[str | int, ...]
CASES = [pytest.param(kind, version, body, id=f"{kind}-{version}") for (kind, version), body in BODIES.items()]


# How each kind of body that has required fields is sent.
WRITTEN: Mapping[str, tuple[str, str]] = {
    "jobs": ("PUT", "jobs/j"),
    "onlineEndpoints": ("PUT", "onlineEndpoints/{endpoint}"),
    "deployments": ("PUT", "onlineEndpoints/{endpoint}/deployments/blue"),
    "schedules": ("PUT", "schedules/s"),
    "regenerateKeys": ("POST", "onlineEndpoints/{endpoint}/regenerateKeys"),
    **{kind: ("PUT", f"{kind}/x/versions/1") for kind in ("codes", "environments", "data", "models")},
}


class Places(schemas._Known):
    """Walks a body beside its schema."""

    def required(self, schema: Mapping[str, Any], value: Any, path: Path = ()) -> Iterator[Path]:
        for place, said in self.objects(schema, value, path):
            yield from ((*place, name) for name in said.get("required", ()))

    def objects(
        self, schema: Mapping[str, Any], value: Any, path: Path = ()
    ) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        schema = self.resolved(schema, value)
        if isinstance(value, list):
            for index, each in enumerate(value):
                yield from self.objects(schema["items"], each, (*path, index))
        if isinstance(value, dict):
            if "properties" in schema:
                yield path, schema
            for name, each in value.items():
                inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
                if inner:
                    yield from self.objects(inner, each, (*path, name))


def at(document: Any, path: Path) -> Any:
    for part in path:
        document = document[part]
    return document


def schema(kind: str, version: str) -> Mapping[str, Any]:
    return {"$ref": f"#/$defs/{MODELS[kind][version]}"}


@pytest.mark.parametrize(("kind", "version", "body"), CASES)
def test_what_the_sdk_sends_fits(kind: str, version: str, body: Any) -> None:
    assert accepted(kind, version, body)[1] == []


@pytest.mark.parametrize(("kind", "version", "body"), CASES)
def test_each_required_field_dropped_once_is_refused(kind: str, version: str, body: Any) -> None:
    for path in [*Places(definitions(version)).required(schema(kind, version), body)]:
        broken = copy.deepcopy(body)
        del at(broken, path[:-1])[path[-1]]
        problems = accepted(kind, version, broken)[1]
        assert any(str(path[-1]) in problem and "required" in problem for problem in problems), (path, problems)


@pytest.mark.parametrize(("kind", "version", "body"), [case for case in CASES if case.values[0] in WRITTEN])
def test_each_required_field_dropped_once_is_refused_by_the_service(
    account: Account, kind: str, version: str, body: Any
) -> None:
    endpoint = f"e-{uuid.uuid4().hex[:8]}"
    account.endpoint(endpoint)
    account.settled(f"onlineEndpoints/{endpoint}")
    method, path = WRITTEN[kind][0], WRITTEN[kind][1].format(endpoint=endpoint)
    places = [*Places(definitions(version)).required(schema(kind, version), body)]
    assert places
    for place in places:
        broken = copy.deepcopy(body)
        del at(broken, place[:-1])[place[-1]]
        status, error = account.refused(method, path, version, broken)
        assert status == 400
        assert any(str(place[-1]) in said["message"] and "required" in said["message"] for said in error["details"])


def test_every_kind_that_has_required_fields_is_written_so() -> None:
    with_some = {
        kind
        for (kind, version), body in BODIES.items()
        if [*Places(definitions(version)).required(schema(kind, version), body)]
    }
    assert with_some == WRITTEN.keys()


def test_required_fields_were_found_at_every_depth() -> None:
    version = "2023-06-01-preview"
    found = set(Places(definitions(version)).required(schema("schedules", version), MONITOR))
    assert len(found) > 25
    assert max(map(len, found)) >= 7


@pytest.mark.parametrize(("kind", "version", "body"), CASES)
def test_an_unknown_member_of_any_object_is_refused(kind: str, version: str, body: Any) -> None:
    places = [path for path, _ in Places(definitions(version)).objects(schema(kind, version), body)]
    assert places
    for path in places:
        strange = copy.deepcopy(body)
        at(strange, path)["notAMember"] = 1
        assert any("notAMember" in problem for problem in accepted(kind, version, strange)[1]), path


def test_enums_are_compared_without_case_and_spelled_as_the_service_does() -> None:
    document, problems = accepted("schedules", "2023-06-01-preview", MONITOR)
    assert problems == []
    drift = document["properties"]["action"]["monitorDefinition"]["signals"]["drift"]
    assert drift["metricThresholds"][0]["metric"] == "JensenShannonDistance"
    assert document["properties"]["trigger"]["frequency"] == "Day"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("command",), "...", "does not match"),
        (("command",), "", "shorter"),
        (("limits", "timeout"), "10 minutes", "ISO 8601"),
        (("resources", "shmSize"), "much", "does not match"),
        (("resources", "instanceCount"), "two", "expected integer"),
        (("tags",), ["a"], "expected object"),
        (("queueSettings", "jobTier"), "Cheap", "is not one of"),
        (("inputs", "data", "jobInputType"), "uri_blob", "not supported"),
        (("jobType",), "Sweep", "not supported"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(path: Path, value: Any, said: str) -> None:
    broken = copy.deepcopy(JOB)
    at(broken["properties"], path[:-1])[path[-1]] = value
    problems = accepted("jobs", "2025-01-01-preview", broken)[1]
    assert any(str(path[-1]) in problem and said in problem for problem in problems), problems


def test_what_only_the_service_writes_is_ignored_and_null_is_nothing() -> None:
    body = copy.deepcopy(JOB)
    body |= {"id": "x", "name": "y", "systemData": {"createdBy": "me"}}
    body["properties"] |= {"status": "Completed", "description": None}
    document, problems = accepted("jobs", "2025-01-01-preview", body)
    assert problems == []
    assert set(document) == {"properties"}
    assert not {"status", "description"} & set(document["properties"])


def test_a_job_in_a_schedule_is_checked_like_a_job() -> None:
    assert accepted("schedules", "2023-06-01-preview", JOB_SCHEDULE)[1] == []
    broken = copy.deepcopy(JOB_SCHEDULE)
    del broken["properties"]["action"]["jobDefinition"]["command"]
    assert "command" in accepted("schedules", "2023-06-01-preview", broken)[1][0]


def test_an_older_version_does_not_show_what_it_does_not_know() -> None:
    new, old = (seen("deployments", version, DEPLOYMENT) for version in ("2023-04-01-preview", "2022-02-01-preview"))
    assert "dataCollector" in new["properties"]
    assert "dataCollector" not in old["properties"]
    assert old["properties"]["requestSettings"] == DEPLOYMENT["properties"]["requestSettings"]
