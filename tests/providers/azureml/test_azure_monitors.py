"""Monitors with a schedule on the emulated Azure ML: the schedule's job is a run like any other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure_account import Account, Emulated, until

import cloudml
from cloudml.client import Client
from cloudml.errors import ConfigError
from cloudml.handles import EndpointHandle
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model

FEATURES = ("size", "age")
HOURLY = "0 * * * *"
ENOUGH = 20


def rows(number: int, shift: float = 0.0) -> list[list[float]]:
    chance = random.Random(7)
    return [[chance.gauss(shift, 1), chance.gauss(0, 1)] for _ in range(number)]


@pytest.fixture
def client(emulated: Emulated, account: Account) -> Iterator[Client]:
    with emulation.environment({**emulated.up.environment, "CLOUDML_AZUREML_SUBSCRIPTION": account.subscription}):
        yield cloudml.connect("azureml", project="shop", env="test")


@pytest.fixture
def served(client: Client, tmp_path: Path) -> EndpointHandle:
    """An endpoint that keeps all requests, of a model with a baseline."""
    data = tmp_path / "data.csv"
    data.write_text("\n".join([",".join(FEATURES), *(f"{one:.4f},{two:.4f}" for one, two in rows(500))]) + "\n")
    for name, answer in (("one", "1"), ("two", "2")):
        client.models.register("fraud", str(python_model(tmp_path / name, answer)), baseline=str(data), alias=name)
    return client.deploy("fraud-api", "fraud@one", capture=1.0)


def fired(emulated: Emulated, account: Account) -> dict[str, Any]:
    """What is due at the full hour is submitted; the job, ended."""
    before = {job["name"] for job in account.ask("GET", "jobs", "2024-01-01-preview", scheduleId="fraud-api")["value"]}
    emulated.azure.schedules.tick(datetime.now(UTC).replace(minute=0, second=0, microsecond=0))
    jobs = account.ask("GET", "jobs", "2024-01-01-preview", scheduleId="fraud-api")["value"]
    (name,) = {job["name"] for job in jobs} - before
    job: dict[str, Any] = account.finished(name)
    assert job["status"] == "Completed", account.log(name)
    return job


def command(account: Account) -> str:
    schedule = account.ask("GET", "schedules/fraud-api", "2023-06-01-preview")
    return str(schedule["properties"]["action"]["jobDefinition"]["command"])


def test_what_a_schedule_finds_is_what_the_client_finds(
    emulated: Emulated, account: Account, client: Client, served: EndpointHandle
) -> None:
    monitor = served.monitor(drift={"psi": 0.2}, min_samples=ENOUGH, schedule=HOURLY)
    fired(emulated, account)
    (empty,) = monitor.history()
    assert empty.report.samples == 0, "a run before any traffic is a run"
    served.predict(rows(60, shift=3))
    until(lambda: monitor.run(keep=False).samples, lambda seen: seen == 60)
    fired(emulated, account)
    _, last = monitor.history()
    by_hand = monitor.check(keep=False)
    assert last.report.to_json() == by_hand.report.to_json()
    assert last.document["profile"] == by_hand.document["profile"]
    assert last.model == by_hand.model
    assert last.report.drifted
    assert "<figure" in last.html()
    assert [job.name for job in client.jobs.list()] == [], "a schedule's runs are none of our jobs"


def test_a_schedule_follows_what_the_endpoint_serves(account: Account, client: Client, served: EndpointHandle) -> None:
    served.monitor(schedule=HOURLY, window="1d")
    before = command(account)
    assert "--window 86400" in before
    served.deploy("fraud@two")
    after = command(account)
    assert after != before
    family, hash = "fraud", client.models.get("fraud@two").hash
    assert f"--model {family}:{hash} " in after
    served.shift({"blue": 100})
    assert command(account) == after


def test_what_somebody_has_switched_off_is_switched_on_again(account: Account, served: EndpointHandle) -> None:
    served.monitor(schedule=HOURLY)
    schedule = account.ask("GET", "schedules/fraud-api", "2023-06-01-preview")
    kept = {name: schedule["properties"][name] for name in ("action", "trigger", "tags", "displayName")}
    account.ask("PUT", "schedules/fraud-api", "2023-06-01-preview", {"properties": {**kept, "isEnabled": False}})
    served.monitor(schedule=HOURLY)
    assert account.ask("GET", "schedules/fraud-api", "2023-06-01-preview")["properties"]["isEnabled"]


def test_it_goes_with_its_monitor(account: Account, client: Client, served: EndpointHandle) -> None:
    handle = served.monitor(schedule=HOURLY)
    endpoint = served.state.id
    marker = f"modelDataCollector/{endpoint}/cloudml-monitor.json"
    assert account.blob(marker, "azureml-blobstore")
    handle.delete()
    assert not account.blob(marker, "azureml-blobstore")
    assert account.send("GET", "schedules/fraud-api", "2023-06-01-preview").status == 404  # type: ignore[union-attr]
    served.monitor(schedule=HOURLY)
    served.monitor(drift={"psi": 0.1})
    assert account.ask("GET", "schedules", "2023-06-01-preview", listViewType="All")["value"] == []


@pytest.mark.parametrize("schedule", ["0 3 1 * *", "0 3 * 12 *"])
def test_a_day_or_a_month_is_refused_because_the_service_ignores_it(
    account: Account, served: EndpointHandle, schedule: str
) -> None:
    with pytest.raises(ConfigError, match="ignores the day and the month"):
        served.monitor(schedule=schedule)
    assert account.ask("GET", "schedules", "2023-06-01-preview", listViewType="All")["value"] == []


def test_a_list_of_schedules_is_one_stack_s_or_all(
    emulated: Emulated, account: Account, client: Client, served: EndpointHandle
) -> None:
    served.monitor(schedule=HOURLY)
    other = cloudml.connect("azureml", project="shop", env="prod")
    assert list(other.session.provider.monitors.list(other.session.stack)) == []  # type: ignore[union-attr]
    assert [state.key.name for state in client.session.provider.monitors.list(None)] == ["fraud-api"]  # type: ignore[union-attr]
