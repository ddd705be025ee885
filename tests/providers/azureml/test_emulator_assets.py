"""Code, data, environments and models on the wire; the workspace and its secrets; blobs behind them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from azure_account import DEPLOYMENTS, Account

CODES, MODELS, WORKSPACES = "2023-04-01", "2023-08-01-preview", "2024-10-01-preview"


def test_code_is_found_by_its_hash_under_whatever_name(account: Account) -> None:
    digest = uuid.uuid4().hex
    body = {"properties": {"codeUri": "https://x/y", "properties": {"hash_sha256": digest, "hash_version": 202208}}}
    made = account.ask("PUT", f"codes/{uuid.uuid4()}/versions/1", CODES, body)
    asked = f"codes/{uuid.uuid4()}/versions"
    assert [each["id"] for each in account.ask("GET", asked, CODES, hash=digest, hashVersion="202208")["value"]] == [
        made["id"]
    ]
    assert account.ask("GET", asked, CODES, hash="other", hashVersion="202208")["value"] == []
    other = replace(account, workspace="cloudml-keys")
    assert other.ask("GET", asked, CODES, hash=digest, hashVersion="202208")["value"] == []


@pytest.mark.parametrize(
    ("kind", "version", "properties", "changed"),
    [
        ("data", DEPLOYMENTS, {"dataUri": "azureml://x", "dataType": "uri_file"}, {"dataUri": "azureml://y"}),
        ("environments", DEPLOYMENTS, {"image": "a"}, {"image": "b"}),
        ("models", MODELS, {"modelUri": "azureml://x", "modelType": "custom_model"}, {"modelType": "mlflow_model"}),
        ("codes", CODES, {"codeUri": "https://x/y"}, {"codeUri": "https://x/z"}),
    ],
)
def test_a_version_keeps_its_content(
    account: Account, kind: str, version: str, properties: dict[str, str], changed: dict[str, str]
) -> None:
    path = f"{kind}/a/versions/1"
    first = account.send("PUT", path, version, {"properties": properties})
    again = account.send("PUT", path, version, {"properties": {**properties, "tags": {"new": "tag"}}})
    assert first is not None
    assert again is not None
    assert (first.status, again.status) == (201, 200)
    status, error = account.refused("PUT", path, version, {"properties": {**properties, **changed}})
    assert (status, error["code"]) == (409, "UserError")
    kept = account.ask("GET", path, version)["properties"]
    assert kept["tags"] == {"new": "tag"}
    assert {name: kept[name] for name in properties} == properties


def test_a_container_counts_its_versions_and_has_tags_of_its_own(account: Account) -> None:
    body = {"properties": {"modelUri": account.put("m/x", "x"), "modelType": "custom_model"}}
    assert account.refused("GET", "models/m", MODELS)[0] == 404
    for version in ("1", "2", "7"):
        account.ask("PUT", f"models/m/versions/{version}", MODELS, body)
    seen = account.ask("GET", "models/m", MODELS)["properties"]
    assert (seen["latestVersion"], seen["nextVersion"]) == ("7", "8")
    account.ask("PUT", "models/m", MODELS, {"properties": {"tags": {"champion": "2"}}})
    assert account.ask("GET", "models/m", MODELS)["properties"]["tags"] == {"champion": "2"}
    top = account.ask("GET", "models/m/versions", MODELS, **{"$orderBy": "createdtime desc", "$top": "1"})
    assert [each["name"] for each in top["value"]] == ["7"]


def test_a_job_s_output_as_a_model_is_where_the_job_put_it(account: Account) -> None:
    account.job("j", "echo weights > ${{outputs.model}}/w", outputs={"model": {"jobOutputType": "uri_folder"}})
    assert account.finished("j")["status"] == "Completed"
    body = {"properties": {"modelUri": "azureml://jobs/j/outputs/model/paths/", "modelType": "custom_model"}}
    uri = account.ask("PUT", "models/m/versions/1", MODELS, body)["properties"]["modelUri"]
    assert uri.endswith("/workspaces/cloudml/datastores/workspaceblobstore/paths/azureml/j/model/")
    again = account.send("PUT", "models/m/versions/1", MODELS, body)
    assert again is not None
    assert again.status == 200
    for wrong, status in (("azureml://jobs/no/outputs/model/paths/", 404), ("azureml://jobs/j/outputs/no/paths/", 400)):
        said: dict[str, Any] = {"properties": {**body["properties"], "modelUri": wrong}}
        assert account.refused("PUT", "models/n/versions/1", MODELS, said)[0] == status


def test_which_secret_a_datastore_gives_depends_on_the_workspace(account: Account) -> None:
    kinds = {}
    for workspace in ("cloudml", "cloudml-sas", "cloudml-keys"):
        at = replace(account, workspace=workspace)
        for datastore in ("workspaceblobstore", "workspaceartifactstore"):
            said = at.ask("POST", f"datastores/{datastore}/listSecrets", WORKSPACES, {"expirableSecret": True})
            kinds[workspace, datastore] = said["secretsType"]
    assert [*kinds.values()] == ["Sas", "AccountKey", "Sas", "Sas", "AccountKey", "AccountKey"]
    plain = account.ask("POST", "datastores/workspaceblobstore/listSecrets", WORKSPACES, {})
    assert plain["secretsType"] == "AccountKey"
    assert account.refused("GET", "datastores/other", WORKSPACES)[0] == 404


def test_computes(account: Account) -> None:
    names = [each["name"] for each in account.ask("GET", "computes", DEPLOYMENTS)["value"]]
    assert names == ["cpu-cluster", "spot-cluster"]
    spot = account.ask("GET", "computes/spot-cluster", DEPLOYMENTS)["properties"]["properties"]
    assert spot["vmPriority"] == "LowPriority"
