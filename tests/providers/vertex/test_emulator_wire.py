"""The emulated API on the wire: what is refused and how, lists and their pages, etags, masks; on both fronts."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import aiplatform_v1, storage
from google.protobuf import json_format
from vertex_requests import masked, required
from vertex_wire import HOST, ROUTES, Api, job, samples, session

from cloudml.emulation.running import Running

CREATE = "JobService/CreateCustomJob"
ENDPOINT = "EndpointService/CreateEndpoint"


@pytest.fixture(params=["grpc", "rest"])
def api(running: Running, request: Any) -> Api:
    return Api(f"wire-{uuid.uuid4().hex[:8]}", request.param)


# -- requests --------------------------------------------------------------------------------------------------------


def test_each_required_field_that_is_missing_is_refused(api: Api) -> None:
    dropped = 0
    for path, document in samples(api.place).items():
        inside = {part for rule in ROUTES[path]["http"] for part in re.findall(r"\{([\w.]+)=", rule["uri"])}
        for field in all_required(path, document):
            if api.transport == "rest" and (field in inside or any(each.startswith(f"{field}.") for each in inside)):
                continue  # the path itself: without it there is no request
            bodies = {re.sub(r"\W", "", rule.get("body", "")) for rule in ROUTES[path]["http"]}
            named = (
                api.transport == "grpc" or field not in bodies
            )  # no body is an empty one, and what that lacks is said
            said = re.escape(f"Field: {field}; Message: Required") if named else "Required field is not set"
            api.refused(400, said, path, without(document, field))
            dropped += 1
    assert dropped >= 40


def test_a_request_of_every_method_is_known_here() -> None:
    assert samples("p").keys() == ROUTES.keys()


def all_required(path: str, document: dict[str, Any]) -> Iterator[str]:
    """The required fields of a request and of all that is in it, as refusals write them; numbers may be zero."""
    kind = getattr(aiplatform_v1, f"{path.rpartition('/')[2]}Request").pb()
    yield from inner(json_format.ParseDict(document, kind()), "")


def inner(message: Any, place: str, asked: Any = None) -> Iterator[str]:
    for name in required(message, asked):
        assert name in {each.name for each, _ in message.ListFields()}, f"the sample has no {place}{name}"
        yield f"{place}{name}"
    for field, value in message.ListFields():
        if field.message_type and not field.message_type.GetOptions().map_entry:
            rows = enumerate(value) if field.is_repeated else [("", value)]
            for index, each in rows:
                where = f"{place}{field.name}{f'[{index}]' if field.is_repeated else ''}."
                yield from inner(each, where, masked(message))


def without(document: dict[str, Any], field: str) -> dict[str, Any]:
    """The document without a field that is written as in the proto."""
    found = copy.deepcopy(document)
    at: Any = found
    *way, last = re.findall(r"[a-z_0-9]+", field)
    for part in way:
        at = at[int(part)] if part.isdigit() else at[camel(part)]
    del at[camel(last)]
    return found


def camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


@pytest.mark.parametrize(
    ("body", "query", "said"),
    [
        ({"displayName": "j", "colour": "red"}, "", "colour"),
        ({**job("j"), "state": "JOB_STATE_DREAMING"}, "", "JOB_STATE_DREAMING"),
        (job("j"), "?colour=red", "colour"),
        ([1], "", "JSON object"),
    ],
)
def test_json_that_the_proto_does_not_know_is_refused(running: Running, body: Any, query: str, said: str) -> None:
    answer = session().post(f"{HOST}/v1/projects/p-1/locations/us-central1/customJobs{query}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert said in error["message"]


def test_a_path_that_is_not_emulated_says_so(running: Running) -> None:
    answer = session().post(f"{HOST}/v1/projects/p-1/locations/us-central1/trainingPipelines", json={})
    assert answer.status_code == 404
    assert "is not emulated" in answer.json()["error"]["message"]


def test_every_path_is_in_google_s_discovery_document() -> None:
    """``google-api-python-client`` ships it."""
    found = importlib.util.find_spec("googleapiclient")
    assert found
    assert found.origin
    file = Path(found.origin).parent / "discovery_cache" / "documents" / "aiplatform.v1.json"
    known = set(methods(json.loads(file.read_text())))
    ours = {
        (rule["method"].upper(), re.sub(r"\{([\w.]+)=[^}]+\}", r"{+\1}", rule["uri"].removeprefix("/"))): rule["uri"]
        for route in ROUTES.values()
        for rule in route["http"]
    }
    for (method, path), uri in ours.items():
        plain = re.sub(r"\{\+[\w.]+\}", "{}", path)
        assert (method, plain, uri.count("projects/*/locations/*")) in known, uri


def methods(document: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    for method in document.get("methods", {}).values():
        pattern = next((each.get("pattern", "") for each in method["parameters"].values() if "pattern" in each), "")
        path = re.sub(r"\{\+[\w.]+\}", "{}", method["path"])
        yield method["httpMethod"], path, int("^projects/[^/]+/locations/[^/]+" in pattern)
    for inside in document.get("resources", {}).values():
        yield from methods(inside)


# -- what may be written ---------------------------------------------------------------------------------------------


GPU = {"machineType": "n1-standard-4", "acceleratorType": "NVIDIA_TESLA_T4"}
RESERVED = {"imageUri": "i", "env": [{"name": "AIP_MODE", "value": "1"}]}


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("Machine type 'ml.m5.large'", {"machineSpec": {"machineType": "ml.m5.large"}}),
        ("Both `accelerator_type` and", {"machineSpec": GPU}),
        ("exactly one replica", {"replicaCount": "2"}),
        ("container_spec or python_package_spec", {"containerSpec": None}),
        ("AIP_MODE is reserved", {"containerSpec": RESERVED}),
    ],
)
def test_a_worker_pool_that_breaks_the_rules(api: Api, said: str, change: dict[str, Any]) -> None:
    document = samples(api.place)[CREATE]
    document["customJob"]["jobSpec"]["workerPoolSpecs"][0].update(change)
    api.refused(400, re.escape(said), CREATE, document)


@pytest.mark.parametrize(
    ("said", "path", "document"),
    [
        ("lowercase letters", ENDPOINT, {"endpoint": {"displayName": "e", "labels": {"Team": "x"}}}),
        ("lowercase letters", ENDPOINT, {"endpoint": {"displayName": "e", "labels": {"team": "X Y"}}}),
        ("1 to 128 characters", ENDPOINT, {"endpoint": {"displayName": "e" * 129}}),
        ("does not match", ENDPOINT, {"endpoint": {"displayName": "e"}, "endpointId": "Bad_Name"}),
        ("does not match", "ModelService/UploadModel", {"model": {"displayName": "m"}, "modelId": "Bad.Name"}),
        ("does not match", "ModelService/UploadModel", {"model": {"displayName": "m", "versionAliases": ["9"]}}),
    ],
)  # fmt: skip
def test_names_that_break_the_rules(api: Api, said: str, path: str, document: dict[str, Any]) -> None:
    api.refused(400, said, path, {"parent": api.place, **document})


def test_what_only_the_service_writes_is_not_taken(api: Api) -> None:
    made = api.call(ENDPOINT, {"parent": api.place, "endpoint": {"displayName": "e", "deployedModels": [{"id": "1"}]}})
    assert "deployedModels" not in made["response"]


def test_masks_and_etags(api: Api) -> None:
    document = {"parent": api.place, "endpoint": {"displayName": "e"}, "endpointId": "e-1"}
    made = api.call(ENDPOINT, document)["response"]
    update, name = "EndpointService/UpdateEndpoint", made["name"]
    wanted = {"name": name, "displayName": "new", "labels": {"a": "b"}}
    for mask, said in (
        ("createTime", "immutable or output only"),
        ("deployedModels", "immutable or output only"),
        ("colour", "does not have"),
        ("network", "cannot be updated"),
    ):
        api.refused(400, said, update, {"endpoint": wanted, "updateMask": mask})
    api.refused(409, "etag", update, {"endpoint": {**wanted, "etag": "old"}, "updateMask": "displayName"})
    changed = api.call(update, {"endpoint": {**wanted, "etag": made["etag"]}, "updateMask": "displayName"})
    assert (changed["displayName"], changed.get("labels")) == ("new", None), "the mask alone says what changes"
    assert changed["etag"] != made["etag"]
    api.refused(409, "etag", update, {"endpoint": {**wanted, "etag": made["etag"]}, "updateMask": "displayName"})
    api.refused(409, "already exists", ENDPOINT, document)


@pytest.mark.parametrize("mask", ["displayName,trafficSplit", "display_name,traffic_split"])
def test_a_mask_has_the_words_of_json_or_of_the_proto(running: Running, mask: str) -> None:
    """The SDK sends the first, gcloud the second."""
    api = Api(f"wire-{uuid.uuid4().hex[:8]}", "rest")
    name = api.call(ENDPOINT, {"parent": api.place, "endpoint": {"displayName": "e"}})["response"]["name"]
    answer = session().patch(f"{HOST}/v1/{name}?updateMask={mask}", json={"displayName": "new"})
    assert (answer.status_code, answer.json().get("displayName")) == (200, "new"), answer.text


def test_an_update_needs_what_it_is_about_alone(api: Api) -> None:
    """gcloud leaves out all that its mask does not name, a required display name too."""
    name = api.call(ENDPOINT, {"parent": api.place, "endpoint": {"displayName": "e"}})["response"]["name"]
    update = {"endpoint": {"name": name, "labels": {"a": "b"}}, "updateMask": "labels"}
    assert api.call("EndpointService/UpdateEndpoint", update)["displayName"] == "e"
    update["updateMask"] = "labels,displayName"
    api.refused(400, "endpoint.display_name; Message: Required", "EndpointService/UpdateEndpoint", update)


def test_a_version_s_artifact_cannot_be_changed(api: Api) -> None:
    upload = {"parent": api.place, "model": {"displayName": "m"}, "modelId": "m"}
    name = api.call("ModelService/UploadModel", upload)["response"]["model"]
    model = {"name": name, "displayName": "m", "artifactUri": "gs://b/other"}
    api.refused(400, "immutable", "ModelService/UpdateModel", {"model": model, "updateMask": "artifactUri"})
    assert "artifactUri" not in api.call("ModelService/GetModel", {"name": name})


# -- lists -----------------------------------------------------------------------------------------------------------


def test_lists_have_pages_filters_and_an_order(api: Api) -> None:
    for number in range(5):
        labels = {"half": str(number % 2), **({"last": ""} if number == 4 else {})}
        endpoint = {"displayName": f"e{number}", "labels": labels}
        api.call(ENDPOINT, {"parent": api.place, "endpoint": endpoint})

    def names(**asked: Any) -> tuple[list[str], str]:
        found = api.call("EndpointService/ListEndpoints", {"parent": api.place, **asked})
        return [each["displayName"] for each in found.get("endpoints", ())], found.get("nextPageToken", "")

    assert names() == (["e4", "e3", "e2", "e1", "e0"], ""), "newest first"
    assert names(orderBy="display_name")[0] == ["e0", "e1", "e2", "e3", "e4"]
    first, token = names(pageSize=2, orderBy="display_name")
    assert (first, bool(token)) == (["e0", "e1"], True)
    second, token = names(pageSize=2, pageToken=token, orderBy="display_name")
    third, end = names(pageSize=2, pageToken=token, orderBy="display_name")
    assert (second, third, end) == (["e2", "e3"], ["e4"], "")
    for text, wanted in (
        ('labels.half="1"', ["e3", "e1"]),
        ("labels.last:*", ["e4"]),
        ('labels.half!="1"', ["e4", "e2", "e0"]),
        ('display_name="e2"', ["e2"]),
        ('labels.half="0" AND displayName!="e0"', ["e4", "e2"]),
        ('labels.nobody="1"', []),
    ):
        assert names(filter=text)[0] == wanted, text
    for wrong in ({"filter": "display_name ~ e"}, {"pageToken": "soon"}, {"pageSize": -1}, {"orderBy": "colour"}):
        api.refused(400, ".", "EndpointService/ListEndpoints", {"parent": api.place, **wrong})


def test_every_list_has_pages_and_filters(api: Api) -> None:
    parent, upload = api.place, "ModelService/UploadModel"
    name = f"{parent}/models/m-0"
    for number in range(3):
        labels = {"turn": str(number)}
        api.call(CREATE, {"parent": parent, "customJob": {**job(f"j{number}"), "labels": labels}})
        model = {"displayName": f"m{number}", "labels": labels}
        api.call(upload, {"parent": parent, "modelId": f"m-{number}", "model": model})
    for alias in ("one", "two"):
        api.call(
            upload, {"parent": parent, "parentModel": name, "model": {"displayName": "m", "versionAliases": [alias]}}
        )
    for path, items, asked in (
        ("JobService/ListCustomJobs", "customJobs", {"parent": parent}),
        ("ModelService/ListModels", "models", {"parent": parent}),
        ("ModelService/ListModelVersions", "models", {"name": name}),
    ):
        first = api.call(path, {**asked, "pageSize": 2})
        second = api.call(path, {**asked, "pageSize": 2, "pageToken": first["nextPageToken"]})
        assert (len(first[items]), len(second[items]), "nextPageToken" in second) == (2, 1, False), path
        rows = [*first[items], *second[items]]
        assert len({json.dumps(row, sort_keys=True) for row in rows}) == 3, path
        if "Versions" not in path:
            (found,) = api.call(path, {**asked, "filter": 'labels.turn="1"'})[items]
            assert found["displayName"][1:] == "1", path
            (found,) = api.call(path, {**asked, "filter": f'display_name="{items[0].replace("c", "j")}2"'})[items]
            assert found["labels"] == {"turn": "2"}, path
        api.refused(400, "token", path, {**asked, "pageToken": "soon"})


def test_operations_have_pages_and_are_found_by_their_end(running: Running, api: Api) -> None:
    for alias in ("one", "two"):
        model = {"displayName": "m", "versionAliases": [alias]}
        there = {"modelId": "m"} if alias == "one" else {"parentModel": f"{api.place}/models/m"}
        api.call("ModelService/UploadModel", {"parent": api.place, **there, "model": model})
    place, client = f"{HOST}/v1/{api.place}/models/m/operations", session()
    first = client.get(f"{place}?pageSize=1").json()
    second = client.get(f"{place}?pageSize=1&pageToken={first['nextPageToken']}").json()
    assert len({each["name"] for page in (first, second) for each in page["operations"]}) == 2
    assert "nextPageToken" not in second
    assert len(client.get(f"{place}?filter=done=true").json()["operations"]) == 2
    assert client.get(f"{place}?filter=done=false").json() == {}


def test_a_model_s_and_a_version_s_etag(api: Api) -> None:
    """Each write gives another; who comes with an old one is refused, and who comes with none is not."""
    upload = {"parent": api.place, "model": {"displayName": "m"}, "modelId": "m"}
    name = api.call("ModelService/UploadModel", upload)["response"]["model"]
    update, aliases = "ModelService/UpdateModel", "ModelService/MergeVersionAliases"
    for target, field in ((name, "displayName"), (f"{name}@1", "versionDescription")):
        old = api.call("ModelService/GetModel", {"name": target})["etag"]
        model = {"name": target, "displayName": "m", field: "new"}
        changed = api.call(update, {"model": {**model, "etag": old}, "updateMask": field})
        assert changed["etag"] != old
        api.refused(409, "etag", update, {"model": {**model, "etag": old}, "updateMask": field})
        assert api.call(update, {"model": model, "updateMask": field})[field] == "new"
    before = api.call("ModelService/GetModel", {"name": name})["etag"]
    assert api.call(aliases, {"name": f"{name}@1", "versionAliases": ["a-1"]})["etag"] != before


def test_projects_see_nothing_of_each_other(api: Api) -> None:
    api.call(ENDPOINT, {"parent": api.place, "endpoint": {"displayName": "e"}})
    other = Api(f"other-{uuid.uuid4().hex[:8]}", api.transport)
    assert other.call("EndpointService/ListEndpoints", {"parent": other.place}) == {}
    api.refused(400, "Invalid resource name", "EndpointService/ListEndpoints", {"parent": "projects/P/locations/x"})


def test_calls_are_counted_over_either_transport_and_those_of_storage_too(
    api: Api, running: Running, bucket: str
) -> None:
    look = running.clouds["vertex"].cloud.inspect
    before = look()["calls"]
    for _ in range(3):
        api.call("ModelService/ListModels", {"parent": api.place})
    storage.Client(project=bucket).bucket(bucket).blob("counted").upload_from_string("1")
    new = {name: number - before.get(name, 0) for name, number in look()["calls"].items()}
    assert (new["ListModels"], new["POST storage.googleapis.com"]) == (3, 1)
