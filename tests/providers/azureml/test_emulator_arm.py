"""The resource manager in front: who may call, what is refused and how, faults that were ordered, evidence."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import replace

import pytest
from azure_account import DEPLOYMENTS, ENDPOINTS, JOBS, Account, Emulated

from cloudml.emulation.faults import Fault, Trouble
from cloudml_azureml.emulator import emulator
from cloudml_azureml.emulator.answers import Request
from cloudml_azureml.emulator.signin import Directory

MODELS = "2023-08-01-preview"


def authorized(account: Account, token: str) -> tuple[int, str]:
    answer = account.send("GET", "", "2024-10-01-preview", headers={"authorization": token})
    assert answer is not None
    return answer.status, answer.body["error"]["code"] if answer.status != 200 else ""


def test_who_is_not_signed_in_is_told_so(account: Account) -> None:
    directory = account.emulated.azure.directory
    arm = "https://management.azure.com"
    head, claims, _ = directory.token(arm).split(".")
    assert authorized(account, "") == (401, "AuthenticationFailed")
    assert authorized(account, "Basic abc") == (401, "AuthenticationFailed")
    assert authorized(account, f"Bearer {Directory().token(arm)}") == (401, "InvalidAuthenticationToken")
    assert authorized(account, f"Bearer {head}.{claims}.") == (401, "InvalidAuthenticationToken")
    assert authorized(account, f"Bearer {directory.token(arm, -1)}") == (401, "ExpiredAuthenticationToken")
    assert authorized(account, f"Bearer {directory.token('https://graph')}") == (
        401,
        "InvalidAuthenticationTokenAudience",
    )
    assert authorized(account, f"Bearer {directory.token(arm)}") == (200, "")


def test_sign_in_refuses_as_entra_does(emulated: Emulated) -> None:
    directory = emulated.azure.directory

    def asked(tenant: str, **form: str) -> tuple[int, str]:
        body = "&".join(f"{name}={value}" for name, value in form.items()).encode()
        told = {"host": "login.microsoftonline.com"}
        answer = emulated.azure.respond(Request("POST", f"/{tenant}/oauth2/v2.0/token", told, body))
        assert answer is not None
        return answer.status, answer.body.get("error_description", "").split(":")[0]

    known = {"client_id": directory.client, "client_secret": directory.secret, "grant_type": "client_credentials"}
    scope = {"scope": "https://management.azure.com/.default"}
    assert asked(directory.tenant, **known, **scope) == (200, "")
    assert asked(str(uuid.uuid4()), **known, **scope) == (400, "AADSTS90002")
    assert asked(directory.tenant, **{**known, "client_secret": "no"}, **scope) == (401, "AADSTS7000215")
    assert asked(directory.tenant, **{**known, "client_id": "no"}, **scope) == (400, "AADSTS700016")
    assert asked(directory.tenant, **{**known, "grant_type": "password"}, **scope) == (400, "AADSTS70003")


def test_what_cannot_be_a_request_is_refused(account: Account) -> None:
    answer = account.emulated.azure.respond(Request("GET", account.id, {"host": "management.azure.com"}))
    assert answer is not None
    assert answer.status == 401
    assert account.refused("GET", "", "2001-01-01")[1]["code"] == "NoRegisteredProviderFound"
    assert account.refused("GET", "", "")[1]["code"] == "MissingApiVersionParameter"
    assert account.refused("PUT", "jobs/j", "2023-04-01", {})[1]["code"] == "NoRegisteredProviderFound"
    assert account.refused("GET", "unknown/x", JOBS)[0] == 404
    assert account.refused("DELETE", "jobs", JOBS)[0] == 405
    assert (
        account.refused("GET", account.id.replace(account.subscription, "no-guid"), JOBS)[1]["code"]
        == "InvalidSubscriptionId"
    )
    assert account.refused("PUT", "jobs/j", JOBS, ["not", "an", "object"])[1]["code"] == "InvalidRequestContent"
    assert replace(account, workspace="other").refused("GET", "", JOBS)[1]["code"] == "ResourceNotFound"
    assert (
        account.refused("GET", account.id.replace("/cloudml/", "/other/", 1), JOBS)[1]["code"]
        == "ResourceGroupNotFound"
    )


def test_answers_carry_what_is_left_of_the_subscription_s_tokens(account: Account) -> None:
    read, written = (
        account.send("GET", "", JOBS),
        account.send("POST", "datastores/workspaceblobstore/listSecrets", JOBS, {}),
    )
    assert read is not None
    assert written is not None
    assert read.headers["x-ms-ratelimit-remaining-subscription-reads"] == "249"
    assert written.headers["x-ms-ratelimit-remaining-subscription-writes"] == "199"


def test_calls_can_be_read_and_are_counted(account: Account) -> None:
    look = account.emulated.up.clouds["azureml"].cloud.inspect
    before = look()["counts"].get("GET management.azure.com", 0)
    for _ in range(3):
        account.send("GET", "", JOBS)
    seen = look()
    assert f"GET https://management.azure.com{account.id} 200" in seen["calls"]
    assert seen["counts"]["GET management.azure.com"] == before + 3


def test_an_invalid_body_names_every_problem(account: Account) -> None:
    body = {"properties": {"jobType": "Command", "environmentId": "e", "tags": {}, "strange": 1}}
    status, error = account.refused("PUT", "jobs/j", JOBS, body)
    assert status == 400
    said = json.dumps(error["details"])
    assert "strange" in said
    assert "command" in said
    assert error["additionalInfo"][0] == {"type": "ComponentName", "info": {"value": "managementfrontend"}}


def test_every_subscription_is_a_world_of_its_own(account: Account) -> None:
    told = account.emulated.up.clouds["azureml"].cloud.account()
    assert told["AZURE_SUBSCRIPTION_ID"] == told["CLOUDML_AZUREML_SUBSCRIPTION"]
    other = replace(account, subscription=told["AZURE_SUBSCRIPTION_ID"])
    account.environment("mine")
    assert [each["name"] for each in account.ask("GET", "environments", DEPLOYMENTS)["value"]] == ["mine"]
    assert other.ask("GET", "environments", DEPLOYMENTS)["value"] == []
    sibling = replace(account, workspace="cloudml-keys")
    assert sibling.ask("GET", "environments", DEPLOYMENTS)["value"] == []


def test_fixed_parts_of_a_path_have_no_case(account: Account) -> None:
    id = account.environment()
    shouted = account.id.replace("resourceGroups", "RESOURCEGROUPS").replace("workspaces", "WorkSpaces")
    assert account.ask("GET", f"{shouted}/ENVIRONMENTS/env/Versions/1", DEPLOYMENTS)["id"] == id
    assert account.job("j", "true", environmentId=id.replace("environments", "ENVIRONMENTS"))["name"] == "j"


def test_ordered_faults_come_in_azure_s_form_and_then_are_over(account: Account) -> None:
    name = f"m-{uuid.uuid4().hex[:6]}"
    body = {"properties": {"modelUri": account.put("m/x", "x"), "modelType": "custom_model"}}
    faults, path = account.emulated.faults, f"models/{name}/versions/1"
    for trouble in (Trouble.THROTTLE, Trouble.UNAVAILABLE, Trouble.QUOTA):
        faults.add(Fault(trouble, "PUT models/versions", f"{name}/1"))
    throttled = account.send("PUT", path, MODELS, body)
    assert throttled is not None
    assert (throttled.status, throttled.headers["Retry-After"]) == (429, "1")
    assert account.refused("PUT", path, MODELS, body)[0] == 503
    status, error = account.refused("PUT", path, MODELS, body)
    assert (status, error["details"][0]["code"]) == (400, "OutOfQuota")
    assert account.refused("GET", path, MODELS)[0] == 404  # none of them did anything
    faults.add(Fault(Trouble.LOSE, "PUT models/versions", f"{name}/1"))
    assert account.send("PUT", path, MODELS, body) is None
    assert account.ask("GET", path, MODELS)["name"] == "1"  # it was done
    faults.add(Fault(Trouble.SLOW, "GET models/versions", f"{name}/1", seconds=0.3))
    before = time.monotonic()
    account.ask("GET", path, MODELS)
    assert time.monotonic() - before >= 0.3


def test_every_route_has_its_evidence(emulated: Emulated) -> None:
    known = emulator.evidence()
    served = {route.operation for route in emulated.azure.served()}
    assert len(served) > 45
    assert served <= set(known)
    beyond = {
        "LIST workspaces",
        *("LIST tenants", "LIST subscriptions", "GET subscriptions", "LIST resourceGroups", "GET resourceGroups"),
        "POST oauth2/v2.0/token",
        "GET discovery",
        "GET mfeOperationsStatus",
        "GET mfeOperationResults",
        "POST score",
    }
    assert {
        route
        for route in set(known) - served
        if not {"history", "batchGetResolvedUris"} & {*route.replace(" ", "/").split("/")}
    } == beyond


@pytest.mark.parametrize("kind", ["onlineEndpoints", "jobs", "schedules"])
def test_what_is_gone_can_be_deleted_again(account: Account, kind: str) -> None:
    answer = account.send("DELETE", f"{kind}/nothing", ENDPOINTS)
    assert answer is not None
    assert answer.status == 204


def test_a_tenant_has_subscriptions_and_each_of_them_a_group(account: Account) -> None:
    told = account.emulated.azure.account()["AZURE_SUBSCRIPTION_ID"]
    account.ask("GET", account.id, "2024-10-01-preview")  # whoever uses one has it
    listed = account.ask("GET", "/subscriptions", "2022-12-01")
    assert {told, account.subscription} <= {each["subscriptionId"] for each in listed["value"]}
    assert listed["count"]["value"] == len(listed["value"])
    (tenant,) = account.ask("GET", "/tenants", "2022-12-01")["value"]
    one = account.ask("GET", f"/subscriptions/{told}", "2022-12-01")
    assert (one["state"], one["tenantId"]) == ("Enabled", tenant["tenantId"])
    group = account.ask("GET", f"/subscriptions/{account.subscription}/resourceGroups/cloudml", "2021-04-01")
    assert account.ask("GET", f"/subscriptions/{account.subscription}/resourcegroups", "2021-04-01")["value"] == [group]
    assert group["location"] == account.region
    assert account.refused("GET", f"/subscriptions/{told}/resourceGroups/other", "2021-04-01")[0] == 404
    assert account.refused("GET", "/subscriptions/none", "2021-04-01")[0] == 400
    assert account.refused("PUT", f"/subscriptions/{told}/resourceGroups/cloudml", "2021-04-01", {})[0] == 405
