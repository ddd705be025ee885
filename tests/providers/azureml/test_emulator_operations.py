"""Long-running operations: their headers, the states on the way, their end; with a cloud that takes its time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from azure_account import DEPLOYMENTS, ENDPOINTS, JOBS, Account, Emulated

from cloudml.emulation.faults import Fault, Trouble
from cloudml.emulation.lifecycle import Lifecycle

ARM = "https://management.azure.com"
BODY = {"location": "eastus", "properties": {"authMode": "Key"}}


@pytest.fixture(scope="module")
def slow() -> Iterator[Emulated]:
    """States last for two looks."""
    made = Emulated(Lifecycle(reads=2))
    yield made
    made.up.close()


@pytest.fixture
def patient(slow: Emulated) -> Account:
    return Account(slow, str(uuid.uuid4()))


def followed(account: Account, url: str) -> tuple[int, dict[str, object] | None]:
    """Status and body behind a header."""
    assert url.startswith(ARM)
    path, _, query = url.removeprefix(ARM).partition("?")
    answer = account.send("GET", path, query.removeprefix("api-version="))
    assert answer is not None
    return answer.status, answer.body


def name() -> str:
    return f"e-{uuid.uuid4().hex[:10]}"


def test_a_put_goes_on_by_itself(patient: Account) -> None:
    made = name()
    answer = patient.send("PUT", f"onlineEndpoints/{made}", ENDPOINTS, BODY)
    assert answer is not None
    assert answer.status == 201
    assert answer.body["properties"]["provisioningState"] == "Creating"
    assert answer.body["properties"]["scoringUri"] is None
    assert answer.headers["Location"].startswith(f"{ARM}{patient.id}/onlineEndpoints/{made}")
    assert "Retry-After" not in answer.headers
    operation = answer.headers["Azure-AsyncOperation"]
    assert f"/subscriptions/{patient.subscription}/providers/" in operation
    assert operation.endswith("api-version=2022-02-01-preview")
    seen = [followed(patient, operation)[1] for _ in range(3)]
    assert [each and each["status"] for each in seen] == ["Creating", "Creating", "Succeeded"]
    assert seen[2] is not None
    assert seen[2]["endTime"]
    ready = patient.ask("GET", f"onlineEndpoints/{made}", ENDPOINTS)["properties"]
    assert ready["provisioningState"] == "Succeeded"
    assert ready["scoringUri"] == f"https://{made}.{patient.region}.inference.ml.azure.com/score"


def test_nothing_else_may_happen_meanwhile(patient: Account) -> None:
    made = name()
    answer = patient.send("PUT", f"onlineEndpoints/{made}", ENDPOINTS, BODY)
    assert answer is not None
    for method, path, version, body in (
        ("PUT", f"onlineEndpoints/{made}", ENDPOINTS, BODY),
        ("DELETE", f"onlineEndpoints/{made}", ENDPOINTS, None),
    ):
        status, error = patient.refused(method, path, version, body)
        assert (status, error["code"]) == (409, "Conflict")
    for _ in range(3):
        followed(patient, answer.headers["Azure-AsyncOperation"])
    again = patient.send("PUT", f"onlineEndpoints/{made}", ENDPOINTS, BODY)
    assert again is not None
    assert (again.status, again.body["properties"]["provisioningState"]) == (200, "Updating")


def test_a_delete_is_202_until_it_is_gone(patient: Account) -> None:
    made = name()
    answer = patient.send("PUT", f"onlineEndpoints/{made}", ENDPOINTS, BODY)
    assert answer is not None
    for _ in range(3):
        followed(patient, answer.headers["Azure-AsyncOperation"])
    gone = patient.send("DELETE", f"onlineEndpoints/{made}", ENDPOINTS)
    assert gone is not None
    assert gone.status == 202
    assert patient.state(f"onlineEndpoints/{made}") == "Deleting"
    results = [followed(patient, gone.headers["Location"])[0] for _ in range(3)]
    assert results == [202, 202, 200]
    assert followed(patient, gone.headers["Azure-AsyncOperation"])[1]["status"] == "Succeeded"  # type: ignore[index]
    assert patient.refused("GET", f"onlineEndpoints/{made}", ENDPOINTS)[0] == 404


def test_a_job_passes_through_the_states_before_it_runs(patient: Account) -> None:
    patient.job("j", "echo ran")
    seen = [patient.seen("j")["status"]]
    job = patient.finished("j")
    assert job["status"] == "Completed"
    patient.job("k", "echo ran")
    while (status := patient.seen("k")["status"]) not in ("Completed", "Failed"):
        seen.append(status)
    order = [status for index, status in enumerate(seen) if index == 0 or seen[index - 1] != status]
    assert set(order) >= {"Starting"}
    known = ["Starting", "Provisioning", "Preparing", "Queued", "Running", "Finalizing"]
    assert [known.index(status) for status in order[1:]] == sorted(known.index(status) for status in order[1:])


def test_an_operation_that_was_ordered_to_fail_says_why(account: Account) -> None:
    made = name()
    account.endpoint(made)
    account.settled(f"onlineEndpoints/{made}")
    account.emulated.faults.add(Fault(Trouble.CAPACITY, "PUT onlineEndpoints/deployments", f"{made}/blue"))
    path = f"onlineEndpoints/{made}/deployments/blue"
    body = {"endpointComputeType": "Managed", "environmentId": account.environment()}
    body["codeConfiguration"] = {"codeId": account.code(score="x"), "scoringScript": "score.py"}  # type: ignore[assignment]
    answer = account.send("PUT", path, DEPLOYMENTS, {"location": "eastus", "properties": body})
    assert answer is not None
    assert answer.status == 201
    status = followed(account, answer.headers["Azure-AsyncOperation"])[1]
    assert status is not None
    assert status["status"] == "Failed"
    assert status["error"]["code"] == "OutOfCapacity"  # type: ignore[index]
    assert account.state(path) == "Failed"


def test_an_operation_that_nobody_began_is_not_there(account: Account) -> None:
    place = f"/subscriptions/{account.subscription}/providers/Microsoft.MachineLearningServices/locations/eastus"
    assert account.refused("GET", f"{place}/mfeOperationsStatus/{uuid.uuid4()}", JOBS)[0] == 404
