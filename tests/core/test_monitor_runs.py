"""Runs of a monitor from Python: what is told meanwhile, what is kept, what can be asked for again."""

from __future__ import annotations

import pytest

from cloudml import monitors
from cloudml.client import Client, connect_plugin
from cloudml.errors import NotFound
from cloudml.events import Event, Happened
from cloudml.testing.clouds import CLOUDS
from cloudml.testing.world import World


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture(params=sorted(CLOUDS))
def client(request: pytest.FixtureRequest, told: list[Event], tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A watched endpoint that was asked ten times."""
    world = World()
    made = connect_plugin(CLOUDS[request.param](world), "shop-dev", [told.append], clock=world.clock)
    data = tmp_path_factory.mktemp("data") / "data.csv"
    data.write_text("x,y\n" + "".join(f"{number},{number % 2}\n" for number in range(60)))
    model = made.train("train", command="train", wait=True).register(
        "fraud", sample_input=[[1.0]], baseline=str(data), target="y"
    )
    endpoint = made.deploy("fraud-api", model, capture=1.0, monitor={"min_samples": 5})
    for number in range(10):
        endpoint.predict([[float(number)]])
    return made


def test_how_many_requests_were_read_is_told(
    client: Client, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitors, "TOLD_EVERY", 4)
    client.monitors.get("fraud-api").run()
    said = [event.text for event in told if event.what is Happened.PROGRESS]
    assert said == ["4 requests read", "8 requests read", "10 requests read, comparing"]


def test_a_run_is_kept_and_read_back_equal(client: Client) -> None:
    monitor = client.monitors.get("fraud-api")
    assert monitor.last() is None
    made = monitor.check()
    assert monitor.history() == [made]
    again = monitor.get(made.time[:8])
    assert (again.report, again.html(), again.model) == (made.report, made.html(), made.model)
    assert monitor.run(keep=False) == made.report
    assert len(monitor.history()) == 1
    with pytest.raises(NotFound, match="no run of that time"):
        monitor.get("1999")


def test_without_its_model_a_report_has_no_plots_but_is_there(client: Client) -> None:
    made = client.monitors.get("fraud-api").check()
    store = client.session.provider.artifacts
    store.delete(store.uri(f"shop-dev/models/fraud/{made.model.partition(':')[2]}.json"))
    assert "<figure" not in made.html()
    assert "Drift of fraud-api" in made.html()


def test_two_stacks_keep_their_runs_apart(client: Client) -> None:
    client.monitors.get("fraud-api").run()
    other = connect_plugin(client.plugin, "shop-prod", clock=client.session.clock)
    assert other.monitors.list() == []
    assert monitors.kept(other.session) == []
    assert monitors.kept(client.session) == ["fraud-api"]


def test_what_an_earlier_endpoint_of_the_name_captured_does_not_count(client: Client) -> None:
    client.endpoints.get("fraud-api").delete()
    client.session.clock.sleep(60.0)
    endpoint = client.deploy("fraud-api", "fraud", capture=1.0, monitor={"min_samples": 5})
    for number in range(3):
        endpoint.predict([[float(number)]])
    assert client.monitors.get("fraud-api").run().samples == 3
