"""The answer of every write lost on the wire, once: the service has carried it out, and the client hears nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vertex_rigs import rig_over

from cloudml.emulation.faults import Fault, Trouble
from cloudml.emulation.running import Running
from cloudml.spi import Until
from cloudml.states import Phase
from cloudml.testing.conformance import Process, Rig
from cloudml.testing.conformance.scenarios import (
    ENDPOINT,
    destroyed,
    done,
    double,
    put_back,
    replaced,
    serving,
    single,
)
from cloudml_vertex.permissions import PERMISSIONS

OTHER = "fraud-9e8d7c6b-1"
READS = re.compile(r"(Get|List)[A-Z]\w*|RawPredict")
WRITES = {name for names in PERMISSIONS.values() for name in names if not READS.fullmatch(name)}
MADE_BY_THE_SERVICE = ("customJobs", "modelDeploymentMonitoringJobs")
Step = Callable[[Process], object]


def cancelled(process: Process) -> None:
    process.apply("job", OTHER, process.rig.slow, Until.SUBMITTED)
    process.cancel("job", OTHER)


def champion(process: Process) -> None:
    for content in process.rig.models:
        process.register(content, alias="champion")


def archived(process: Process) -> None:
    process.turn(process.rig.models[1], Phase.ARCHIVED)


def brought_back(process: Process) -> None:
    process.turn(process.rig.models[1], Phase.READY)


def shared(process: Process) -> None:
    process.apply("endpoint", ENDPOINT, double(process.rig, 50))


def first_version_gone(process: Process) -> None:
    """The native default alias moves first."""
    process.apply("endpoint", ENDPOINT, single(process.rig.models[1]))
    process.turn(process.rig.models[0], None)


def watched(process: Process) -> None:
    """By Vertex AI's own monitoring."""
    for paused in (True, False):
        options = {"vertex": {"monitoring": {"paused": paused}}}
        want = single(process.rig.models[1]).model_copy(update={"options": options})
        process.apply("endpoint", ENDPOINT, want)


def all_gone(process: Process) -> None:
    destroyed(process)
    process.delete("job", OTHER)


STORY: Sequence[Step] = (
    *(done, cancelled, champion, archived, brought_back),
    *(serving, shared, put_back, replaced, first_version_gone, watched, all_gone),
)


def told(rig: Rig, running: Running, step: Step, lost: Sequence[str] = ()) -> tuple[list[str], Any]:
    """What a step sends, and what there is then, in cloudml's words and in the emulator's own."""
    faults = running.clouds["vertex"].faults
    for operation in lost:
        faults.add(Fault(Trouble.LOSE, operation))
    process = rig.process()
    step(process)
    assert not [*faults], f"{step.__name__}: never sent"
    return [call.operation for call in process.sent if call.operation in WRITES], (rig.snapshot(), native(rig, running))


def native(rig: Rig, running: Running) -> Mapping[str, Any]:
    """Names without the project; what the service names is counted."""
    rows = running.clouds["vertex"].cloud.inspect()
    place = f"projects/{rig.config.project}/"
    found = {
        kind: [name.partition(place)[2] for name in rows[kind] if place in name] for kind in ("models", "endpoints")
    }
    return {**found, **{kind: sum(place in name for name in rows[kind]) for kind in MADE_BY_THE_SERVICE}}


def disturbed_by_lost_answers(rig: Rig, running: Running) -> None:
    calm, sent = rig.fresh(), set()
    for each in (calm, rig):
        each.process().upload(*each.models)
    for step in STORY:
        calls, expected = told(calm, running, step)
        assert calls, step.__name__
        assert told(rig, running, step, calls)[1] == expected, step.__name__
        sent |= {*calls}
    assert sent == WRITES, "each write that the adapter knows was sent, and its answer lost"


def test_an_answer_lost_on_the_wire_makes_nothing_twice(rig: Rig, running: Running) -> None:
    disturbed_by_lost_answers(rig, running)


def test_an_answer_lost_while_its_operation_still_runs(slow: Running, tmp_path: Path) -> None:
    disturbed_by_lost_answers(rig_over("rest", tmp_path), slow)
