"""Monitoring schedules on the cloud of chosen names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cloudml import specs
from cloudml.spi import Call, Effect, Goal
from cloudml.states import Key, Phase, State
from cloudml.testing.memory import Adapter, base, lacks

SCHEDULES = {"Pending": Phase.CREATING, "Scheduled": Phase.READY}


class NamedMonitors(Adapter):
    """The definition itself is compared; a monitor without a schedule is none of this cloud's."""

    def observe(self, key: Key, want: specs.Monitor | None) -> State | None:
        row = self.find("schedules", key.name)
        if row is None:
            return None
        labels, facts = row["labels"], {"definition": row["definition"]}
        spec = specs.spec_hash(specs.Monitor(**row["definition"]))
        phase = SCHEDULES[row["status"]]
        return State(key, phase, labels.get("cloudml-stack"), spec, key.name, labels=labels, facts=facts, native=row)

    def render(self, goal: Goal[specs.Monitor], have: State | None) -> Sequence[Call]:
        name = {"MonitoringScheduleName": goal.key.name}
        if goal.want is None or goal.want.schedule is None:
            gone = Call("DeleteMonitoringSchedule", goal.key.name, name, "it is to be gone", Effect.DELETE)
            return [gone] if have else []
        definition: dict[str, Any] = {"Definition": specs.document(goal.want)}
        tags = base(goal.labels)
        if have is None:
            document = name | definition | {"Tags": tags}
            return [Call("CreateMonitoringSchedule", goal.key.name, document, "there is no such schedule")]
        steps = []
        if lacks(have.labels, tags):
            arn = {"ResourceArn": f"schedules/{goal.key.name}", "Tags": tags}
            steps.append(Call("AddTags", goal.key.name, arn, "its labels differ", Effect.UPDATE))
        if have.facts["definition"] != definition["Definition"]:
            document = name | definition
            steps.append(Call("UpdateMonitoringSchedule", goal.key.name, document, "it differs", Effect.UPDATE))
        return steps

    def list(self, stack: str | None) -> Iterator[State]:
        keys = [Key("monitor", name, owner) for owner, name in self.names(["schedules"], "monitor", stack)]
        return (state for key in keys if (state := self.observe(key, None)))
