"""The states that the cloud's resources show on their way, declared; and a resource on such a way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cloudml.emulation.lifecycle import Lifecycle

# Shown before the resource is what it is; what really runs meanwhile takes the time that it takes.
BEFORE = {
    "training-job": ("Starting", "Downloading"),
    "endpoint": ("Creating",),
    "endpoint-update": ("Updating",),
    "model-package": ("Pending", "InProgress"),
    "monitoring-schedule": ("Pending",),
}
AFTER = {"training-job": ("Uploading",), "training-job-stopped": ("Stopping",)}
GOING = {"training-job": ("Deleting",), "endpoint": ("Deleting",)}


@dataclass
class Walk:
    """A resource on its way; each look is counted, because the pace may be given in looks."""

    lifecycle: Lifecycle
    states: Sequence[str]
    since: float = field(init=False)
    looks: int = -1

    def __post_init__(self) -> None:
        self.since = self.lifecycle.clock()

    def look(self) -> str | None:
        """The state to be shown; None once the way is over."""
        self.looks += 1
        return self.lifecycle.stage(self.states, self.since, self.looks)
