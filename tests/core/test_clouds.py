"""The clouds' own faults, at every write of every scenario, and what only one of them does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cloudml.errors import Conflict, NotConverging, PreconditionFailed, RolledBack, RunFailed, Throttled, Unavailable
from cloudml.spi import Until
from cloudml.states import Phase
from cloudml.testing.clouds import memory_rig
from cloudml.testing.conformance.endpoints import hashed, runs, traffic
from cloudml.testing.conformance.rig import FAMILY, Process, Rig, summary
from cloudml.testing.conformance.scenarios import (
    ENDPOINT,
    JOB,
    MONITOR,
    SCENARIOS,
    SCHEDULES,
    VERSIONS,
    done,
    double,
    registered,
    replaced,
    running,
    schedules,
    serving,
    sharing,
    single,
    watch,
)
from cloudml.testing.killing import Killed, Points, kill_at
from cloudml.testing.world import Fault, Row, World

HARMLESS = {
    "throttle": (Fault.THROTTLE, 0.0),
    "unavailable": (Fault.UNAVAILABLE, 0.0),
    "lost": (Fault.LOST, 0.0),
    "stale": (Fault.STALE, 8.0),
    "lost-and-stale": (Fault.LOST, 8.0),
}


GUARDED = {"CreateModelPackage", "CreateCustomJob", "UploadModel"}


def world_of(rig: Rig) -> World:
    assert rig.world
    return rig.world


def on(name: str, tmp_path: Path) -> Rig:
    return memory_rig(name, tmp_path)


@pytest.mark.parametrize("fault", HARMLESS)
@pytest.mark.parametrize("name", [*SCENARIOS, *SCHEDULES, *VERSIONS])
def test_a_fault_at_any_write_changes_nothing(rig: Rig, name: str, fault: str) -> None:
    """Walked through every write that is tried: the same end, the same writes accepted, in the same order."""
    versions = {each: scenario for each, (_, scenario) in VERSIONS.items()}
    scenario = {**SCENARIOS, **SCHEDULES, **versions}[name]
    if name in SCHEDULES and not schedules(rig):
        assert rig.process().provider.monitors is None
        return
    start = scenario.starts(rig)
    alone = start()
    world, before = world_of(alone), world_of(alone).attempts
    scenario.act(alone.process())
    number, log, expected = world.attempts - before, world.log, alone.snapshot()
    assert number >= 1
    for skip in range(number):
        other = start()
        world_of(other).inject(HARMLESS[fault][0], skip=skip, seconds=HARMLESS[fault][1])
        scenario.act(other.process())
        assert world_of(other).unmet == 0
        done_twice = [each for each in world_of(other).log if world_of(other).log.count(each) > log.count(each)]
        allowed = fault == "lost-and-stale"  # what is safe to repeat may be repeated: nobody could see that it was done
        assert world_of(other).log == log or (allowed and not GUARDED & set(done_twice)), (fault, skip, number)
        assert other.snapshot() == expected, f"{fault} at write {skip + 1} of {number}"


@pytest.mark.parametrize("name", ["endpoint-created", "endpoint-replaced", "model-registered", "endpoint-deleted"])
def test_everything_slow_to_read_and_every_answer_lost(rig: Rig, name: str) -> None:
    """Each write's answer is lost, and reads are old after it, all at once."""
    start = SCENARIOS[name].starts(rig)
    alone = start()
    SCENARIOS[name].act(alone.process())
    other = start()
    for _ in range(len(world_of(alone).log)):
        world_of(other).inject(Fault.LOST)
        world_of(other).inject(Fault.STALE)
    SCENARIOS[name].act(other.process())
    assert other.snapshot() == alone.snapshot()


@pytest.mark.parametrize("name", ["job-run", "model-registered", "endpoint-replaced"])
def test_two_kills_one_after_the_other(rig: Rig, name: str) -> None:
    points, start = Points(), SCENARIOS[name].starts(rig)
    alone = start()
    SCENARIOS[name].act(alone.process(points))
    expected = alone.snapshot()
    for first in range(1, len(points.passed) + 1):
        for second in range(1, len(points.passed) + 1, 4):
            other = start()
            with pytest.raises(Killed):
                SCENARIOS[name].act(other.process(kill_at(first)))
            try:
                SCENARIOS[name].act(other.process(kill_at(second)))
            except Killed:
                SCENARIOS[name].act(other.process())
            assert other.snapshot() == expected, (first, second)


@pytest.mark.parametrize("name", ["job-run", "model-registered", "endpoint-created"])
def test_a_kill_and_reads_that_are_old_leave_one_of_each(rig: Rig, name: str) -> None:
    """Whoever comes next may not see what the dead one made, and make a second: the oldest wins."""
    points, start = Points(), SCENARIOS[name].starts(rig)
    alone = start()
    SCENARIOS[name].act(alone.process(points))
    expected = summary(alone.process().everything())
    for number, point in enumerate(points.passed, 1):
        other = start()
        for _ in range(10):
            world_of(other).inject(Fault.STALE, seconds=2)
        with pytest.raises(Killed):
            SCENARIOS[name].act(other.process(kill_at(number)))
        SCENARIOS[name].act(other.process())
        world_of(other).settle()
        assert summary(other.process().everything()) == expected, point


@pytest.mark.parametrize(
    ("cloud", "operation"),
    [
        ("named", "CreateEndpoint"),
        ("nested", f"PUT onlineEndpoints/{ENDPOINT}"),
        ("operations", "CreateEndpoint"),
        ("operations", "DeployModel"),
    ],
)
def test_a_failure_of_work_in_the_background_is_told_and_repaired(cloud: str, operation: str, tmp_path: Path) -> None:
    rig = on(cloud, tmp_path)
    process = rig.process()
    registered(process)
    world_of(rig).inject(Fault.FAIL, operation)
    with pytest.raises(RunFailed, match=r"failed|exited|ping"):
        process.apply("endpoint", ENDPOINT, single(rig.models[0]))
    assert world_of(rig).unmet == 0
    rig.process().apply("endpoint", ENDPOINT, single(rig.models[0]))
    assert traffic(process) == {"blue": 100}
    process.delete("endpoint", ENDPOINT)
    process.delete("model", FAMILY)
    assert process.everything() == []


def test_a_traffic_switch_that_fails_leaves_the_old_traffic_and_is_repaired(tmp_path: Path) -> None:
    rig = on("nested", tmp_path)
    process = rig.process()
    serving(process)
    world_of(rig).inject(Fault.FAIL, f"PUT onlineEndpoints/{ENDPOINT}")
    with pytest.raises(RunFailed):
        replaced(process)
    have = process.state("endpoint", ENDPOINT)
    assert have
    assert {part.spec for part in have.of("deployment") if part.facts["weight"]} == {hashed(rig.models[0])}
    replaced(rig.process())
    assert runs(process) == {"blue": hashed(rig.models[1])}


def test_a_deployment_that_fails_while_a_dead_process_s_operation_runs(tmp_path: Path) -> None:
    """GetEndpoint shows nothing of it, before or after: who comes next waits, then tries once itself."""
    rig = on("operations", tmp_path)
    process = rig.process()
    registered(process)
    process.register(rig.broken)
    process.apply("endpoint", ENDPOINT, single(rig.models[0]))
    dying = Points(lambda point: _die(point, "taken DeployModel"))
    with pytest.raises(Killed):
        rig.process(dying).apply("endpoint", ENDPOINT, single(rig.broken))
    have = process.state("endpoint", ENDPOINT)
    assert have
    assert [part.spec for part in have.of("deployment")] == [hashed(rig.models[0])]
    assert [operation.running for operation in have.operations] == [True]
    with pytest.raises(RunFailed, match="exited"):
        rig.process().apply("endpoint", ENDPOINT, single(rig.broken))
    assert traffic(process) == {"blue": 100}


def _die(point: str, where: str) -> None:
    if point == where:
        raise Killed(point)


def test_a_silent_rollback_is_detected_and_ended(tmp_path: Path) -> None:
    rig = on("named", tmp_path)
    process = rig.process()
    serving(process)
    world_of(rig).inject(Fault.ROLL_BACK, "UpdateEndpoint")
    before = world_of(rig).time
    with pytest.raises(RolledBack, match="went back"):
        replaced(rig.process())
    assert world_of(rig).time - before < 60, "it does not wait for its deadline"
    assert world_of(rig).log.count("UpdateEndpoint") == 1, "and does not try again by itself"
    assert runs(process) == {"blue": hashed(rig.models[0])}
    replaced(rig.process())
    assert runs(process) == {"blue": hashed(rig.models[1])}


def test_a_rollback_that_nobody_waited_for_is_tried_again(tmp_path: Path) -> None:
    rig = on("named", tmp_path)
    process = rig.process()
    serving(process)
    world_of(rig).inject(Fault.ROLL_BACK, "UpdateEndpoint")
    process.apply("endpoint", ENDPOINT, single(rig.models[1]), Until.SUBMITTED)
    world_of(rig).settle()
    replaced(process)
    assert runs(process) == {"blue": hashed(rig.models[1])}


@pytest.mark.parametrize(
    ("cloud", "change"),
    [
        ("named", lambda row: row.update(config="made-by-hand")),
        ("named", lambda row: row.update(weights={"blue": 1.0, "green": 3.0})),
        ("nested", lambda row: row.update(traffic={})),
        ("operations", lambda row: row.update(traffic={next(iter(row["deployed"])): 100})),
        ("operations", lambda row: row.update(traffic={}, deployed={})),
    ],
)
def test_a_change_by_hand_is_seen_and_put_back(
    cloud: str, change: Callable[[dict[str, object]], None], tmp_path: Path
) -> None:
    rig = on(cloud, tmp_path)
    process = rig.process()
    sharing(process)
    change(world_of(rig).rows("endpoints")[ENDPOINT])
    calls = process.plan("endpoint", ENDPOINT, double(rig, 90))
    assert calls
    assert all(call.why for call in calls)
    process.apply("endpoint", ENDPOINT, double(rig, 90))
    assert traffic(process) == {"blue": 90, "green": 10}
    assert runs(process) == {"blue": hashed(rig.models[0]), "green": hashed(rig.models[1])}


@pytest.mark.parametrize(
    ("cloud", "table", "row"),
    [
        ("named", "configs", {"variants": {}, "labels": {}}),
        ("nested", "deployments", {"parent": ENDPOINT, "state": "Succeeded", "labels": {}}),
    ],
)
def test_what_carries_no_label_of_ours_is_never_deleted(
    cloud: str, table: str, row: dict[str, object], tmp_path: Path
) -> None:
    rig = on(cloud, tmp_path)
    process = rig.process()
    serving(process)
    foreign = f"{ENDPOINT}-byhand" if table == "configs" else f"{ENDPOINT}/blue-byhand"
    world_of(rig).rows(table)[foreign] = {"name": foreign, **row}
    replaced(process)
    assert foreign in world_of(rig).rows(table)


def test_when_all_is_destroyed_nothing_is_left_but_artifacts(rig: Rig) -> None:
    process = rig.process()
    SCENARIOS["whole"].act(process)
    process.register(rig.models[1])
    process.apply("endpoint", ENDPOINT, double(rig, 90))
    if schedules(rig):
        process.apply("monitor", MONITOR, watch(0.2))
        process.delete("monitor", MONITOR)
    SCENARIOS["destroyed"].act(process)
    assert process.everything() == []
    assert set(rig.snapshot()) == {"artifacts"}


def test_weights_are_kept_exactly(rig: Rig) -> None:
    process = rig.process()
    sharing(process)
    blue = process.ask(ENDPOINT, "blue")
    assert sum(process.ask(ENDPOINT) == blue for _ in range(100)) == 90


def test_of_two_jobs_with_one_id_the_oldest_wins(tmp_path: Path) -> None:
    """Somebody made a second one: it is cancelled at once, not when the first has ended."""
    rig = on("operations", tmp_path)
    process = rig.process()
    running(process)
    jobs = world_of(rig).rows("jobs")
    jobs["customJobs/2"] = {**jobs["customJobs/1"], "name": "customJobs/2", "created": world_of(rig).time}
    before = world_of(rig).time
    process.apply("job", JOB, rig.slow, Until.SUBMITTED)
    assert world_of(rig).time - before < 2
    assert jobs["customJobs/2"]["status"] == "CANCELLING"
    done(process)
    have = process.state("job", JOB)
    assert have
    assert (have.id, have.phase) == ("customJobs/1", Phase.SUCCEEDED)
    process.delete("job", JOB)
    assert jobs == {}


def test_refusals_of_the_clouds_are_errors_of_the_tree(rig: Rig) -> None:
    process = rig.process()
    serving(process)
    send = process.kind("endpoint").send
    delete = process.plan("endpoint", ENDPOINT, None)[-1 if rig.plugin.name == "operations" else 0]
    if rig.plugin.name == "operations":
        with pytest.raises(PreconditionFailed, match="deployed models"):
            send(delete)
    process.apply("endpoint", ENDPOINT, single(rig.models[1]), Until.SUBMITTED)
    if rig.plugin.name != "operations":
        with pytest.raises(PreconditionFailed, match="busy"):
            send(delete)
    for _ in range(8):
        world_of(rig).inject(Fault.THROTTLE)
    with pytest.raises(Throttled):
        send(delete)
    assert issubclass(Unavailable, ConnectionError)


def test_a_precondition_that_never_holds_is_a_conflict_in_the_end(tmp_path: Path) -> None:
    """Somebody else's endpoint uses our configuration: it cannot be deleted, whatever we do."""
    rig = on("named", tmp_path)
    process = rig.process()
    serving(process)
    config = next(iter(world_of(rig).rows("configs")))
    row: Row = {"name": "theirs", "config": config, "next": None, "status": "InService", "weights": {}, "labels": {}}
    world_of(rig).rows("endpoints")["theirs"] = row
    with pytest.raises(Conflict, match="uses the configuration"):
        process.delete("endpoint", ENDPOINT)
    assert sum(call.operation == "DeleteEndpointConfig" for call in process.sent) == 4


def test_a_call_without_effect_does_not_converge(tmp_path: Path) -> None:
    rig = on("named", tmp_path)
    process: Process = rig.process()
    sharing(process)
    endpoint = world_of(rig).rows("endpoints")[ENDPOINT]

    class Deaf(dict[str, object]):
        def update(self, *_: object, **__: object) -> None:
            """Takes the tags and forgets them."""

    endpoint["labels"] = Deaf(endpoint["labels"])
    with pytest.raises(NotConverging, match="AddTags"):
        process.apply("endpoint", ENDPOINT, double(rig, 50))


@pytest.mark.parametrize("after", [tick / 20 for tick in range(48, 62)])
def test_work_that_ends_between_two_reads_of_one_look_is_not_missed(after: float, tmp_path: Path) -> None:
    """Seen neither as running nor as done, an upload would be sent a second time."""
    rig = on("operations", tmp_path)
    rig.process().upload(*rig.models)
    rig.process().register(rig.models[0])
    dying = Points(lambda point: _die(point, "taken UploadModel"))
    with pytest.raises(Killed):
        rig.process(dying).register(rig.models[1])
    rig.clock.sleep(after)
    rig.process().register(rig.models[1])
    assert world_of(rig).log.count("UploadModel") == 2
