"""Schedules: when they are due, what they submit, what cannot be one."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from azure_account import Account, until
from wire_bodies import JOB_SCHEDULE, MONITOR

from cloudml_azureml.emulator.moments import due

V = "2023-06-01-preview"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CREATED = moment("2026-11-02 10:30")  # a Monday


def recurs(frequency: str, interval: int = 1, **schedule: Any) -> dict[str, Any]:
    made = {"triggerType": "Recurrence", "frequency": frequency, "interval": interval}
    return {**made, "schedule": schedule} if schedule else made


@pytest.mark.parametrize(
    ("trigger", "yes", "no"),
    [
        ("* * * * *", ["11-02 10:31", "12-24 00:00"], []),
        ("15 3 * * *", ["11-03 03:15"], ["11-03 03:16", "11-03 04:15"]),
        ("*/20 8-10 * * 1-5", ["11-03 08:40", "11-06 10:00"], ["11-03 08:30", "11-07 08:40", "11-03 11:00"]),
        ("0 0 1,15 * *", ["11-15 00:00", "11-16 00:00"], ["11-16 01:00"]),  # days of the month are ignored
        ("0 0 13 12 5", ["11-13 00:00", "11-06 00:00"], ["11-12 00:00"]),  # and months
        ("0 12 * * 0", ["11-08 12:00"], ["11-09 12:00"]),
        ("0 12 * * 7", ["11-08 12:00"], ["11-09 12:00"]),
        (recurs("Minute", 15), ["11-02 10:45", "11-03 00:00"], ["11-02 10:46"]),
        (recurs("Hour", 2), ["11-02 12:30"], ["11-02 11:30", "11-02 12:31"]),
        (recurs("Day", hours=[3], minutes=[15, 45]), ["11-03 03:15", "11-04 03:45"], ["11-03 03:30"]),
        (recurs("Day", 2, hours=[3], minutes=[0]), ["11-04 03:00"], ["11-03 03:00"]),
        (recurs("Week", hours=[8], minutes=[0], weekDays=["Monday", "friday"]), ["11-06 08:00"], ["11-05 08:00"]),
        (
            recurs("Week", 2, hours=[8], minutes=[0], weekDays=["Friday"]),
            ["11-06 08:00", "11-20 08:00"],
            ["11-13 08:00"],
        ),
        (recurs("Month", hours=[1], minutes=[0], monthDays=[1, 31]), ["12-01 01:00", "12-31 01:00"], ["12-02 01:00"]),
    ],
)
def test_when_a_trigger_is_due(trigger: Any, yes: list[str], no: list[str]) -> None:
    said = {"triggerType": "Cron", "expression": trigger} if isinstance(trigger, str) else trigger
    assert [due(said, moment(f"2026-{each}"), CREATED) for each in yes] == [True] * len(yes)
    assert [due(said, moment(f"2026-{each}"), CREATED) for each in no] == [False] * len(no)


def test_a_trigger_has_a_zone_a_start_and_an_end() -> None:
    said = {"triggerType": "Cron", "expression": "0 8 * * *", "timeZone": "Europe/Berlin"}
    said |= {"startTime": "2026-11-05T00:00:00", "endTime": "2026-11-10T00:00:00"}
    days = [day for day in range(1, 15) if due(said, moment(f"2026-11-{day:02} 07:00"), CREATED)]
    assert days == [5, 6, 7, 8, 9]
    assert not due(said, moment("2026-11-06 08:00"), CREATED)


def scheduled(account: Account, name: str, **changed: Any) -> None:
    body = copy.deepcopy(JOB_SCHEDULE)
    body["properties"]["action"]["jobDefinition"]["environmentId"] = account.environment()
    body["properties"] |= changed
    account.ask("PUT", f"schedules/{name}", V, body)


def jobs(account: Account, **query: str) -> list[Any]:
    found: list[Any] = account.ask("GET", "jobs", "2024-01-01-preview", **query)["value"]
    return found


def test_what_is_due_is_submitted_once(account: Account) -> None:
    often = {"triggerType": "Cron", "expression": "0 3 * * *", "startTime": "2026-01-01T00:00:00"}
    scheduled(account, "often", trigger=often)
    scheduled(account, "off", isEnabled=False)
    schedules = account.emulated.azure.schedules
    schedules.tick(moment("2026-12-01 03:01"))
    assert jobs(account) == []
    schedules.tick(moment("2026-12-01 03:00"))
    (job,) = jobs(account)
    assert job["name"].startswith("often-")
    assert job["properties"]["properties"]["azureml.scheduleid"] == "often"
    assert account.finished(job["name"])["status"] == "Completed"
    assert account.log(job["name"]) == "ran\n"
    account.job("by-hand", "true")
    assert jobs(account, scheduled="true") == [account.ask("GET", f"jobs/{job['name']}", "2024-01-01-preview")]
    assert jobs(account, scheduleId="other") == []
    assert len(jobs(account, jobType="command")) == 2


def test_without_a_start_it_runs_at_once(account: Account) -> None:
    scheduled(account, "now")
    (job,) = until(lambda: jobs(account), bool)
    assert job["name"].startswith("now-")
    scheduled(account, "now", displayName="again")
    assert len(jobs(account)) == 1, "a change is no beginning"


def test_somebody_can_trigger_it(account: Account) -> None:
    scheduled(account, "s")
    done = account.ask("POST", "schedules/s/trigger", "2024-01-01-preview", {"scheduleTime": "2026-01-01T00:00:00"})
    assert done["scheduleActionType"] == "CreateJob"
    assert account.finished(done["submissionId"])["status"] == "Completed"


def test_lists_show_the_enabled_unless_asked(account: Account) -> None:
    scheduled(account, "on")
    scheduled(account, "off", isEnabled=False)
    names = {}
    for view in ("EnabledOnly", "DisabledOnly", "All"):
        names[view] = [each["name"] for each in account.ask("GET", "schedules", V, listViewType=view)["value"]]
    assert names == {"EnabledOnly": ["on"], "DisabledOnly": ["off"], "All": ["on", "off"]}
    account.ask("DELETE", "schedules/on", V)
    until(lambda: account.send("GET", "schedules/on", V), lambda answer: answer.status == 404)


def test_a_monitor_is_kept_and_not_run(account: Account) -> None:
    account.ask("PUT", "schedules/m", V, MONITOR)
    kept = account.ask("GET", "schedules/m", V)["properties"]["action"]["monitorDefinition"]
    assert kept["signals"]["drift"]["signalType"] == "DataDrift"
    status, error = account.refused("POST", "schedules/m/trigger", "2024-01-01-preview")
    assert (status, "not emulated" in error["message"]) == (400, True)


@pytest.mark.parametrize("trigger", [
    {"triggerType": "Cron", "expression": "0 3 * *"},
    {"triggerType": "Cron", "expression": "61 3 * * *"},
    {"triggerType": "Cron", "expression": "a b c d e"},
    {"triggerType": "Cron", "expression": "0 3 * * *", "timeZone": "Middle/Earth"},
    {"triggerType": "Recurrence", "frequency": "Day", "interval": 0},
    {"triggerType": "Recurrence", "frequency": "Fortnight", "interval": 1},
])  # fmt: skip
def test_a_trigger_that_can_never_be_due(account: Account, trigger: dict[str, Any]) -> None:
    body = {"properties": {**JOB_SCHEDULE["properties"], "trigger": trigger}}
    assert account.refused("PUT", "schedules/s", V, body)[0] == 400
