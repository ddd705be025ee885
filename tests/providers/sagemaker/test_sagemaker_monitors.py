"""Monitors with a schedule on an emulated AWS, whose hours are short: its executions are runs like any other."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from sagemaker_things import profile, python_model

from cloudml.client import Client, connect_plugin
from cloudml.emulation import Emulator
from cloudml.emulation.running import Running, start
from cloudml.errors import ConfigError, Conflict, Invalid
from cloudml.handles import EndpointHandle
from cloudml.testing import emulated
from cloudml_sagemaker.emulator import cloud
from cloudml_sagemaker.emulator.accounts import Timing
from cloudml_sagemaker.plugin import Config, plugin

FEATURES = ("size", "age")
HOURLY = "0 * * * *"
ENOUGH, ROWS = 20, 60
DEADLINE = 60.0


def rows(number: int, shift: float = 0.0) -> list[list[float]]:
    chance = random.Random(7)
    return [[chance.gauss(shift, 1), chance.gauss(0, 1)] for _ in range(number)]


@pytest.fixture(scope="module")
def quick() -> Iterator[Running]:
    """An AWS whose hours take two seconds."""
    fast = Emulator("sagemaker", lambda site: cloud.start(site, Timing(hour=2.0)), dict)
    with start([fast]) as running, emulated.environment(running.environment):
        yield running


@pytest.fixture
def own(quick: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return profile(tmp_path / "credentials", quick.clouds["sagemaker"].cloud.account())


@pytest.fixture
def client(own: Config) -> Client:
    return connect_plugin(replace(plugin, pace=0.1), "shop-test", [], own.model_dump(exclude_none=True))


@pytest.fixture
def sagemaker(own: Config) -> Iterator[Any]:
    session = boto3.Session(profile_name=own.profile, region_name=own.region)
    with contextlib.closing(session.client("sagemaker")) as made:
        yield made


@pytest.fixture
def served(client: Client, tmp_path: Path) -> EndpointHandle:
    """An endpoint that keeps all requests, of a model with a baseline."""
    registered(client, tmp_path)
    return client.deploy("fraud-api", "fraud@one", capture=1.0)


def registered(client: Client, folder: Path) -> None:
    data = folder / "data.csv"
    data.write_text("\n".join([",".join(FEATURES), *(f"{one:.4f},{two:.4f}" for one, two in rows(500))]) + "\n")
    for name, answer in (("one", "1"), ("two", "2")):
        client.models.register("fraud", str(python_model(folder / name, answer)), baseline=str(data), alias=name)


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def ran(endpoint: EndpointHandle, times: int) -> bool:
    return len(endpoint.monitor().history()) >= times


def described(sagemaker: Any) -> dict[str, Any]:
    found: dict[str, Any] = sagemaker.describe_monitoring_schedule(MonitoringScheduleName="fraud-api")
    return found


def definition(sagemaker: Any) -> dict[str, Any]:
    found: dict[str, Any] = described(sagemaker)["MonitoringScheduleConfig"]["MonitoringJobDefinition"]
    return found


def test_what_a_schedule_finds_is_what_the_client_finds(client: Client, served: EndpointHandle) -> None:
    monitor = served.monitor(drift={"psi": 0.2}, min_samples=ENOUGH, schedule=HOURLY)
    served.predict(rows(ROWS, shift=3))
    (scheduled,) = until(monitor.history)
    by_hand = monitor.check(keep=False)
    assert scheduled.report.to_json() == by_hand.report.to_json()
    assert scheduled.document["profile"] == by_hand.document["profile"]
    assert scheduled.model == by_hand.model
    assert (scheduled.report.drifted, scheduled.report.samples) == (True, ROWS)
    assert "<figure" in scheduled.html()
    assert monitor.get(scheduled.time[:8]).report == scheduled.report
    assert client.monitors.list() == ["fraud-api"]
    assert [job.name for job in client.jobs.list()] == []
    monitor.delete()
    assert monitor.history() == []


def test_what_a_shadow_answers_is_no_part_of_it(client: Client, tmp_path: Path) -> None:
    registered(client, tmp_path)
    deployments = {"blue": {"model": "fraud@one"}, "green": {"model": "fraud@two"}}
    watched = {"min_samples": ENOUGH, "schedule": HOURLY}
    shares: dict[str, Any] = {"traffic": {"blue": 100}, "mirror": {"green": 100}}
    endpoint = client.deploy("fraud-api", deployments=deployments, **shares, capture=1.0, monitor=watched)
    for number in range(1, 4):
        endpoint.predict(rows(ROWS))
        until(partial(ran, endpoint, number))
    assert {run.report.samples for run in endpoint.monitor().history()} == {ROWS}


def test_a_schedule_follows_what_the_endpoint_serves(served: EndpointHandle, client: Client, sagemaker: Any) -> None:
    served.monitor(schedule="0 */6 * * *", window="1d", drift={"psi": 0.1, "ks": 0.3})
    before = definition(sagemaker)
    assert described(sagemaker)["MonitoringScheduleConfig"]["ScheduleConfig"] == {
        "ScheduleExpression": "cron(0 0/6 ? * * *)",
        "DataAnalysisStartTime": "-PT24H",
        "DataAnalysisEndTime": "-PT0H",
    }
    served.deploy("fraud@two")
    after = definition(sagemaker)
    model = client.models.get("fraud@two").hash
    assert after["BaselineConfig"]["StatisticsResource"]["S3Uri"].endswith(f"/models/fraud/{model}.json")
    assert after["Environment"]["CLOUDML_MODEL"] == f"fraud:{model}" != before["Environment"]["CLOUDML_MODEL"]
    served.shift({"blue": 100})
    assert definition(sagemaker) == after


def test_what_somebody_has_stopped_or_changed_is_put_back(served: EndpointHandle, sagemaker: Any) -> None:
    served.monitor(schedule=HOURLY)
    sagemaker.stop_monitoring_schedule(MonitoringScheduleName="fraud-api")
    served.monitor(schedule=HOURLY)
    assert described(sagemaker)["MonitoringScheduleStatus"] == "Scheduled"
    config = described(sagemaker)["MonitoringScheduleConfig"]
    config["MonitoringJobDefinition"]["Environment"]["CLOUDML_LIMITS"] = "{}"
    sagemaker.update_monitoring_schedule(MonitoringScheduleName="fraud-api", MonitoringScheduleConfig=config)
    served.monitor(schedule=HOURLY)
    assert definition(sagemaker)["Environment"]["CLOUDML_LIMITS"] == '{"psi":0.2}'


def test_it_goes_with_its_monitor_even_while_it_runs(served: EndpointHandle, sagemaker: Any) -> None:
    monitor = served.monitor(schedule=HOURLY)
    served.predict(rows(ROWS))

    def running() -> bool:
        last = described(sagemaker).get("LastMonitoringExecutionSummary", {})
        return last.get("MonitoringExecutionStatus") == "InProgress"

    until(running)
    monitor.delete()
    assert sagemaker.list_monitoring_schedules()["MonitoringScheduleSummaries"] == []
    served.monitor(schedule=HOURLY)
    served.monitor(drift={"psi": 0.1})
    assert sagemaker.list_monitoring_schedules()["MonitoringScheduleSummaries"] == []


def test_what_cannot_be_scheduled_is_refused_before_anything_is_deployed(
    client: Client, tmp_path: Path, sagemaker: Any
) -> None:
    registered(client, tmp_path)
    for monitor, said in (
        ({"schedule": "30 * * * *"}, "at a full hour"),
        ({"schedule": HOURLY, "window": "2d"}, "24 hours at most"),
    ):
        with pytest.raises(ConfigError, match=said) as refused:
            client.deploy("fraud-api", "fraud@one", capture=1.0, monitor=monitor)
        assert "cloudml monitors run" in str(refused.value.hint)
    assert sagemaker.list_endpoints()["Endpoints"] == []


def test_an_endpoint_that_keeps_no_requests_cannot_be_watched(client: Client, tmp_path: Path) -> None:
    registered(client, tmp_path)
    with pytest.raises(Invalid, match="does not have data capture enabled") as refused:
        client.deploy("fraud-api", "fraud@one", monitor={"schedule": HOURLY})
    assert "capture: 1.0" in str(refused.value.hint)


def test_a_schedule_is_one_stack_s(client: Client, own: Config, served: EndpointHandle) -> None:
    served.monitor(schedule=HOURLY)
    other = connect_plugin(plugin, "shop-prod", [], own.model_dump(exclude_none=True))
    assert list(other.session.provider.monitors.list("shop-prod")) == []  # type: ignore[union-attr]
    assert [state.key.name for state in client.session.provider.monitors.list(None)] == ["fraud-api"]  # type: ignore[union-attr]
    with pytest.raises(Conflict, match="belongs to stack 'shop-test'"):
        other.endpoints.get("fraud-api").monitor(schedule=HOURLY)
