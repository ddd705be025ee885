"""Many resources over the three clouds in memory: plan, apply, prune, destroy, and a kill at every point of apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cloudml import plan as planning
from cloudml.artifacts import KIND
from cloudml.client import Client, connect_plugin
from cloudml.errors import ConfigError, Conflict, GateFailed, ModelError, NotFound, RunFailed, Unsupported
from cloudml.events import Event, Happened
from cloudml.goals import stack_name
from cloudml.handles import register
from cloudml.specs import Baseline, Endpoint, Model, Monitor, TrainingJob
from cloudml.spi import Artifacts, Call, Caller, Later, Provider
from cloudml.testing.clouds import CLOUDS
from cloudml.testing.conformance.kills import POINTS
from cloudml.testing.killing import Killed, Points, Watched, kill_at
from cloudml.testing.world import World


@dataclass(frozen=True)
class Wanted:
    """A project as a file would give it."""

    name: str = "shop"
    jobs: Mapping[str, TrainingJob] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)


@dataclass
class WatchedArtifacts:
    """An artifact store whose process passes points at each write."""

    inner: Artifacts
    points: Points

    def put(self, key: str, source: Path | bytes) -> str:
        self.points.at("before put")
        uri = self.inner.put(key, source)
        self.points.at("taken put")
        return uri

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass
class Shop:
    """One in-memory cloud, a source folder, and processes that connect to it."""

    cloud: str
    source: Path
    world: World = field(default_factory=World)
    heard: list[Event] = field(default_factory=list)

    def client(self, stack: str = "shop-test", points: Points | None = None) -> Client:
        plugin = CLOUDS[self.cloud](self.world)
        if points:
            plugin = replace(plugin, connect=watched(plugin.connect, points))
        listeners = [self.heard.append, *([points.heard] if points else [])]
        return connect_plugin(plugin, stack, listeners, clock=self.world.clock)

    def wanted(self, command: str = "train", gates: tuple[str, ...] = ("accuracy >= 0.5",)) -> Wanted:
        job = TrainingJob(command=command, source=str(self.source))
        model = Model.model_validate(
            {"from": "jobs.train", "sample_input": [[1.0]], "gates": gates, "alias": "champion"}
        )
        endpoint = Endpoint(model="fraud@champion", capture=1.0, monitor=Monitor(drift={"psi": 0.3}))
        return Wanted("shop", {"train": job}, {"fraud": model}, {"fraud-api": endpoint})

    @property
    def sent(self) -> list[Call]:
        return [event.call for event in self.heard if event.what is Happened.SENDING and event.call]


def watched(connect: Callable[[Any, Caller], Provider], points: Points) -> Callable[[Any, Caller], Provider]:
    def opened(config: Any, caller: Caller) -> Provider:
        provider: Any = connect(config, caller)
        kinds = {kind: Watched(getattr(provider, kind), points) for kind in ("jobs", "models", "endpoints")}
        made: Provider = replace(provider, **kinds, artifacts=WatchedArtifacts(provider.artifacts, points))
        return made

    return opened


@pytest.fixture(params=sorted(CLOUDS))
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    source = tmp_path / "src"
    source.mkdir()
    (source / "train.py").write_text("print('trained')")
    return Shop(request.param, source)


def without_later(value: Any, like: Any) -> Any:
    """A planned document with its Laters filled in from what was sent."""
    if isinstance(value, Later):
        return like
    if isinstance(value, Mapping) and isinstance(like, Mapping):
        return {key: without_later(each, like.get(key)) for key, each in value.items()}
    if isinstance(value, list | tuple) and isinstance(like, Iterable) and not isinstance(like, str):
        return [without_later(one, other) for one, other in zip(value, like, strict=False)]
    return value


def test_what_was_planned_is_what_is_sent(shop: Shop) -> None:
    planned = [call for step in planning.plan(shop.client(), shop.wanted()).steps for call in step.calls]
    assert not shop.sent
    planning.apply(shop.client(), shop.wanted())
    assert [(call.operation, call.why) for call in shop.sent] == [(call.operation, call.why) for call in planned]
    for call, sent in zip(planned, shop.sent, strict=True):
        assert without_later(call.document, sent.document) == without_later(sent.document, sent.document)
    assert not planning.plan(shop.client(), shop.wanted()).changes
    endpoint = shop.client().endpoints.get("fraud-api")
    assert len(endpoint.predict([[1.0], [2.0]])) == 2
    assert endpoint.monitor().spec == Monitor(endpoint="fraud-api", drift={"psi": 0.3})


def test_a_kill_at_every_point_of_apply(shop: Shop, record_property: Callable[[str, object], None]) -> None:
    points = Points()
    planning.apply(shop.client(points=points), shop.wanted())
    expected, log = shop.world.snapshot(), list(shop.world.log)
    for number, point in enumerate(points.passed, 1):
        other = Shop(shop.cloud, shop.source)
        with pytest.raises(Killed):
            planning.apply(other.client(points=kill_at(number)), other.wanted())
        planning.apply(other.client(), other.wanted())
        assert other.world.snapshot() == expected, f"killed at point {number}: {point}"
        assert other.world.log == log, f"killed at point {number}: {point}"
    record_property(POINTS, len(points.passed))
    assert len(points.passed) > 40


def test_a_kill_at_every_point_of_several_runs(shop: Shop, record_property: Callable[[str, object], None]) -> None:
    jobs = {f"train-{number}": TrainingJob(command="sleep", params={"n": number}) for number in range(3)}

    def wanted(shop: Shop) -> Wanted:
        return replace(shop.wanted(), jobs=jobs, models={}, endpoints={})

    points = Points()
    planning.apply(shop.client(points=points), wanted(shop))
    expected, log = shop.world.snapshot(), sorted(shop.world.log)
    for number, point in enumerate(points.passed, 1):
        other = Shop(shop.cloud, shop.source)
        with pytest.raises(Killed):
            planning.apply(other.client(points=kill_at(number)), wanted(other))
        planning.apply(other.client(), wanted(other))
        assert other.world.snapshot() == expected, f"killed at point {number}: {point}"
        assert sorted(other.world.log) == log, f"killed at point {number}: {point}"
    record_property(POINTS, len(points.passed))
    assert len(points.passed) > 20


def test_a_failed_run_stops_there_until_it_is_asked_for_again(shop: Shop) -> None:
    with pytest.raises(RunFailed) as failed:
        planning.apply(shop.client(), shop.wanted("fail"))
    assert "--rerun train" in (failed.value.hint or "")
    with pytest.raises(RunFailed):
        planning.apply(shop.client(), shop.wanted("fail"))
    assert len(shop.client().jobs.list()) == 1
    assert not shop.client().models.list()
    with pytest.raises(RunFailed):
        planning.apply(shop.client(), shop.wanted("fail"), rerun=["train"])
    assert [state.key.name[-2:] for state in shop.client().jobs.list()] == ["-1", "-2"]
    with pytest.raises(ConfigError, match="no such job"):
        planning.apply(shop.client(), shop.wanted(), rerun=["trian"])


def test_a_gate_that_fails_registers_and_deploys_nothing(shop: Shop) -> None:
    with pytest.raises(GateFailed, match=r"accuracy is 0\.9"):
        planning.apply(shop.client(), shop.wanted(gates=("accuracy > 0.9",)))
    assert not shop.client().models.list()
    assert not shop.client().endpoints.list()


def test_a_new_model_replaces_the_old_one_and_rollback_brings_it_back(shop: Shop) -> None:
    planning.apply(shop.client(), shop.wanted())
    client = shop.client()
    before = client.endpoints.get("fraud-api").predict([[1.0]])
    planning.apply(client, shop.wanted("train --more"))
    endpoint = client.endpoints.get("fraud-api")
    after = endpoint.predict([[1.0]])
    assert after != before
    assert len(client.models.versions("fraud")) == 2
    assert client.models.get("fraud@champion").version == client.models.get("fraud").version
    assert endpoint.rollback().predict([[1.0]]) == before
    assert endpoint.rollback().predict([[1.0]]) == after


def test_traffic_is_shared_and_shifted(shop: Shop) -> None:
    planning.apply(shop.client(), shop.wanted())
    client = shop.client()
    first = client.models.get("fraud@champion")
    planning.apply(client, shop.wanted("train --more"))
    endpoint = client.endpoints.get("fraud-api").deploy(first, "green", traffic={"blue": 90, "green": 10})
    assert dict(endpoint.state.facts["traffic"]) == {"blue": 90, "green": 10}
    answers = [endpoint.predict([[1.0]])[0] for _ in range(100)]
    assert sorted(answers.count(answer) for answer in set(answers)) == [10, 90]
    assert dict(endpoint.shift({"blue": 50, "green": 50}).state.facts["traffic"]) == {"blue": 50, "green": 50}
    with pytest.raises(ConfigError, match="sums to 80"):
        endpoint.shift({"blue": 80})


def test_an_alias_moves(shop: Shop) -> None:
    planning.apply(shop.client(), shop.wanted())
    planning.apply(shop.client(), shop.wanted("train --more"))
    models = shop.client().models
    old = next(each for each in models.versions("fraud") if "champion" not in each.aliases)
    assert models.alias("fraud", "champion", old.version).version == old.version
    assert models.get("fraud@champion").hash == old.hash
    assert planning.plan(shop.client(), shop.wanted("train --more")).changes  # the file wants it elsewhere


def test_what_left_the_file_is_named_and_deleted_only_when_asked(shop: Shop) -> None:
    planning.apply(shop.client(), shop.wanted())
    less = replace(shop.wanted(), endpoints={})
    left = planning.apply(shop.client(), less).left
    assert {(key.kind, key.name) for key in left} == {
        ("endpoint", "fraud-api"),
        (KIND, "shop-test/monitors/fraud-api.json"),
    }
    assert shop.client().endpoints.list()
    plan = planning.plan(shop.client(), less, prune=True)
    assert [call.effect.name for step in plan.steps for call in step.calls].count("DELETE") > 1
    planning.apply(shop.client(), less, prune=True)
    assert not shop.client().endpoints.list()
    assert not shop.client().monitors.list()
    assert shop.client().models.list()


def test_destroy(shop: Shop) -> None:
    planning.apply(shop.client(), shop.wanted())
    other = shop.client("other-test")
    other.train("elsewhere", command="train", wait=True)
    planning.destroy(shop.client())
    assert not shop.client().endpoints.list()
    assert not shop.client().monitors.list()
    assert shop.client().models.list()
    planning.destroy(shop.client(), everything=True)
    left = shop.world.snapshot()
    assert "shop-test" not in str(left)
    assert other.jobs.list()
    assert not planning.destroy_plan(shop.client()).changes


def test_another_stack_is_not_touched(shop: Shop) -> None:
    planning.apply(shop.client(), shop.wanted())
    for act in (planning.plan, planning.apply):
        with pytest.raises(Conflict, match="shop-test"):
            act(shop.client("rival-test"), shop.wanted())


def test_train_always_makes_a_new_run(shop: Shop) -> None:
    client = shop.client()
    first, second = (client.train("daily", command="train", wait=True) for _ in range(2))
    assert (first.id[-2:], second.id[-2:]) == ("-1", "-2")
    assert first.metrics == {"accuracy": 0.9}
    assert list(first.logs()) == ["$ train", "epoch 1"]
    slow = client.train("daily", command="sleep")
    slow.cancel()
    with pytest.raises(RunFailed, match="cancelled"):
        slow.wait()
    slow.delete()
    assert len(client.jobs.list()) == 2


def test_what_a_cloud_cannot_do_is_refused_before_any_call(shop: Shop) -> None:
    wanted = replace(shop.wanted(), jobs={"train": TrainingJob(command="train", spot=True, nodes=4)})
    with pytest.raises(Unsupported, match=r"nodes: .*spot: "):
        planning.apply(shop.client(), wanted)
    assert shop.world.attempts == 0


def test_a_run_that_left_no_model_is_not_registered(shop: Shop) -> None:
    client = shop.client()
    job = client.train("daily", command="train", wait=True)
    facts = {**job.state.facts, "model": None}
    with pytest.raises(RunFailed, match="left no model"):
        register(client.session, "fraud", Model.model_validate({"from": f"run:{job.id}"}), facts)
    assert not client.models.list()


def test_waiting_for_a_run_that_is_deleted_does_not_start_it_again(shop: Shop) -> None:
    client = shop.client()
    job = client.train("daily", command="sleep")
    waits = iter([None, None])

    def sleep(seconds: float) -> None:
        shop.world.clock.sleep(seconds)
        if next(waits, "done") is None:
            shop.client().jobs.get(job.id).delete()

    waiting = replace(client.session, clock=replace(shop.world.clock, sleep=sleep))
    with pytest.raises(RunFailed, match="was deleted"):
        replace(job, session=waiting).wait()
    assert not client.jobs.list()


def test_a_family_that_the_file_names_is_not_pruned(shop: Shop) -> None:
    planning.apply(shop.client(), shop.wanted())
    names_it = replace(shop.wanted(), models={}, jobs={})
    assert not planning.plan(shop.client(), names_it, prune=True).changes
    planning.apply(shop.client(), names_it, prune=True)
    assert shop.client().models.list()
    with pytest.raises(ConfigError, match="--prune"):
        planning.apply(shop.client(), names_it, prune=True, wait=False)


def test_a_schedule_goes_with_its_monitor(shop: Shop, tmp_path: Path) -> None:
    if shop.cloud != "named":  # the only one that has schedules
        return
    wanted, data = shop.wanted(), tmp_path / "data.csv"
    planning.apply(shop.client(), wanted)
    with pytest.raises(ConfigError, match="without a baseline"):
        shop.client().endpoints.get("fraud-api").monitor(schedule="0 * * * *")
    data.write_text("x,y\n1,0\n2,1\n")
    baseline = Baseline(data=str(data), target="y")
    models = {name: each.model_copy(update={"baseline": baseline}) for name, each in wanted.models.items()}
    planning.apply(shop.client(), replace(wanted, models=models))
    endpoint = shop.client().endpoints.get("fraud-api")
    provider = shop.client().session.provider

    def schedules() -> int:
        assert provider.monitors is not None
        return len(list(provider.monitors.list("shop-test")))

    endpoint.monitor(schedule="0 * * * *")
    assert schedules() == 1
    endpoint.monitor(drift={"psi": 0.4})
    assert schedules() == 0
    endpoint.monitor(schedule="0 * * * *").delete()
    assert schedules() == 0
    endpoint.monitor(schedule="0 * * * *")
    planning.apply(shop.client(), replace(shop.wanted(), endpoints={}), prune=True)
    assert schedules() == 0


def test_a_new_family_knows_nothing_of_one_that_was_deleted(shop: Shop, tmp_path: Path) -> None:
    models = shop.client().models
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    assert models.register("fraud", str(weights), metrics={"auc": 0.7}).metrics == {"auc": 0.7}
    models.delete("fraud")
    assert models.register("fraud", str(weights), metrics={"auc": 0.9}).metrics == {"auc": 0.9}


@pytest.mark.parametrize("name", ["No", "My Job", "a" * 33, "x/../y", "double--dash", "line\nbreak"])
def test_names_that_no_provider_takes_are_refused(shop: Shop, name: str, tmp_path: Path) -> None:
    client = shop.client()
    for act in (
        lambda: client.train(name, command="train"),
        lambda: client.models.register(name, str(tmp_path)),
        lambda: client.deploy(name, "fraud"),
    ):
        with pytest.raises((ConfigError, Conflict), match="no name"):
            act()
    assert shop.world.attempts == 0


def test_options_are_checked_from_python_too(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="no options"):
        shop.client().train("daily", command="train", options={shop.cloud: {"typo": 1}})
    shop.client().train("daily", command="train", options={"elsewhere": {"inert": 1}})


def test_stacks_do_not_meet() -> None:
    assert stack_name("fraud", "api-dev") != stack_name("fraud-api", "dev")
    assert len(stack_name("customer-churn", "production")) == 20


def test_what_is_sure_to_fail_later_is_refused_before_the_training(shop: Shop, tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text("age,spend\n30,1\n")
    wanted = shop.wanted()
    baseline = {"data": str(table), "target": "spent"}
    model = Model.model_validate({"from": "jobs.train", "baseline": baseline})
    with pytest.raises(ConfigError, match="no column 'spent'") as raised:
        planning.apply(shop.client(), replace(wanted, models={"fraud": model}))
    assert "'spend'" in (raised.value.hint or "")
    for rows in ([[1.0, 2.0]], [[1.0], [1.0, 2.0]], [{"agee": 1.0}]):
        sampled = {"from": "jobs.train", "baseline": {**baseline, "target": "spend"}, "sample_input": rows}
        with pytest.raises(ConfigError, match="sample_input has"):
            planning.apply(shop.client(), replace(wanted, models={"fraud": Model.model_validate(sampled)}))
    elsewhere = Endpoint(model="fruad@champion")
    with pytest.raises(NotFound, match="fruad"):
        planning.apply(shop.client(), replace(wanted, endpoints={"fraud-api": elsewhere}))
    planning.apply(shop.client("rival-test"), replace(wanted, jobs={}, models={}, endpoints={}))
    planning.apply(shop.client("rival-test"), wanted)
    sent = len(shop.sent)
    with pytest.raises(Conflict, match="rival-test"):
        planning.apply(shop.client(), wanted)
    assert len(shop.sent) == sent
    assert not shop.client().jobs.list()


def test_what_has_no_place_in_json_is_sent_as_what_it_means(shop: Shop) -> None:
    planning.apply(shop.client(), shop.wanted())
    endpoint = shop.client().endpoints.get("fraud-api")
    rows = [[1.0, float("nan")], [np.int64(2), pd.NA], [pd.Timestamp("2026-11-22"), True]]
    assert len(endpoint.predict(rows)) == 3
    kept = shop.world.captured["fraud-api"][-1].inputs
    assert kept == [[1.0, None], [2, None], ["2026-11-22T00:00:00", True]]
    frame = pd.DataFrame({"a": [1.0, float("nan")], "b": ["x", None]}, index=[7, 9])
    with pytest.raises(ModelError, match="instances"):  # this cloud reads no frames: but it was JSON
        endpoint.predict(frame)
    with pytest.raises(ConfigError, match="set is no value of JSON"):
        endpoint.predict([{1, 2}])
