"""Ways from one state of the world to another, which the walks go again and again with something going wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloudml.specs import Deployment, Endpoint, Monitor
from cloudml.spi import Capability, Until, Yes
from cloudml.states import Phase
from cloudml.testing.conformance.rig import FAMILY, Content, Process, Rig

JOB = "fraud-1a2b3c4d-1"
ENDPOINT = "fraud-api"
MONITOR = "fraud-api-drift"
Step = Callable[[Process], object]


@dataclass(frozen=True)
class Scenario:
    """``before`` is done in peace, ``act`` is what is walked through."""

    act: Step
    before: Step = lambda process: None

    def begin(self, rig: Rig) -> None:
        process = rig.process()
        process.upload(*rig.models, rig.broken)
        self.before(process)

    def starts(self, rig: Rig) -> Callable[[], Rig]:
        """Gives a world in which the scenario can be acted, again and again; copied where worlds can be."""
        if rig.fork:
            self.begin(rig)
            return rig.fork

        def begun() -> Rig:
            other = rig.fresh()
            self.begin(other)
            return other

        return begun


def single(content: Content) -> Endpoint:
    """An endpoint with one deployment, ``blue``."""
    return Endpoint(model=content.reference)


def double(rig: Rig, blue: int) -> Endpoint:
    """An endpoint with two deployments; ``blue`` is the first one's per cent of the traffic."""
    first, second = (Deployment(model=each.reference) for each in rig.models)
    return Endpoint(deployments={"blue": first, "green": second}, traffic={"blue": blue, "green": 100 - blue})


def mirroring(rig: Rig, share: int) -> Endpoint:
    """An endpoint where ``blue`` answers, and ``green`` gets copies of so many per cent of the requests."""
    first, second = (Deployment(model=each.reference) for each in rig.models)
    both = {"blue": first, "green": second}
    return Endpoint(deployments=both, traffic={"blue": 100}, mirror={"green": share} if share else {}, capture=1.0)


def scaled(rig: Rig, most: int) -> Endpoint:
    """An endpoint with one deployment of one server, or more of them while there are many requests."""
    return Endpoint.model_validate({"model": rig.models[0].reference, "scale": {"max": most, "metric": "requests"}})


def watch(threshold: float) -> Monitor:
    return Monitor(endpoint=ENDPOINT, drift={"psi": threshold}, schedule="0 * * * *")


def registered(process: Process) -> None:
    for content in process.rig.models:
        process.register(content)


def capturing(process: Process) -> None:
    """An endpoint that can be watched."""
    registered(process)
    want = Endpoint(model=process.rig.models[0].reference, capture=1.0)
    process.apply("endpoint", ENDPOINT, want)


def watched(process: Process) -> None:
    capturing(process)
    process.apply("monitor", MONITOR, watch(0.2))


def put_away(process: Process) -> None:
    registered(process)
    process.turn(process.rig.models[1], Phase.ARCHIVED)


def serving(process: Process) -> None:
    registered(process)
    process.apply("endpoint", ENDPOINT, single(process.rig.models[0]))


def sharing(process: Process) -> None:
    registered(process)
    process.apply("endpoint", ENDPOINT, double(process.rig, 90))


def replaced(process: Process) -> None:
    process.apply("endpoint", ENDPOINT, single(process.rig.models[1]))


def mirrored(process: Process) -> None:
    process.apply("endpoint", ENDPOINT, mirroring(process.rig, 50))


def mirrored_at_first(process: Process) -> None:
    registered(process)
    mirrored(process)


def scaled_at_first(process: Process) -> None:
    registered(process)
    process.apply("endpoint", ENDPOINT, scaled(process.rig, 3))


def replaced_once(process: Process) -> None:
    serving(process)
    replaced(process)


def put_back(process: Process) -> None:
    process.apply("endpoint", ENDPOINT, single(process.rig.models[0]))


def running(process: Process) -> None:
    process.apply("job", JOB, process.rig.slow, Until.SUBMITTED)


def done(process: Process) -> None:
    process.apply("job", JOB, process.rig.job)


def whole(process: Process) -> None:
    """Train, register under an alias, deploy."""
    done(process)
    process.register(process.rig.models[0], alias="champion")
    process.apply("endpoint", ENDPOINT, single(process.rig.models[0]))


def destroyed(process: Process) -> None:
    for kind, name in (("endpoint", ENDPOINT), ("model", FAMILY), ("job", JOB)):
        process.delete(kind, name)


SCENARIOS: Mapping[str, Scenario] = {
    "job-run": Scenario(done),
    "job-cancelled": Scenario(lambda process: process.cancel("job", JOB), running),
    "job-deleted-while-running": Scenario(lambda process: process.delete("job", JOB), running),
    "model-registered": Scenario(lambda process: process.register(process.rig.models[0], alias="champion")),
    "alias-moved": Scenario(
        lambda process: process.register(process.rig.models[1], alias="champion"),
        lambda process: process.register(process.rig.models[0], alias="champion"),
    ),
    "family-deleted": Scenario(lambda process: process.delete("model", FAMILY), registered),
    "endpoint-created": Scenario(
        lambda process: process.apply("endpoint", ENDPOINT, single(process.rig.models[0])), registered
    ),
    "endpoint-replaced": Scenario(replaced, serving),
    "endpoint-replaced-twice": Scenario(
        lambda process: process.apply("endpoint", ENDPOINT, single(process.rig.models[0])), replaced_once
    ),
    "deployment-added": Scenario(lambda process: process.apply("endpoint", ENDPOINT, double(process.rig, 90)), serving),
    "weights-moved": Scenario(lambda process: process.apply("endpoint", ENDPOINT, double(process.rig, 50)), sharing),
    "deployment-removed": Scenario(put_back, sharing),
    "endpoint-deleted": Scenario(lambda process: process.delete("endpoint", ENDPOINT), sharing),
    "whole": Scenario(whole),
    "destroyed": Scenario(destroyed, whole),
}
SCHEDULES: Mapping[str, Scenario] = {
    "schedule-created": Scenario(lambda process: process.apply("monitor", MONITOR, watch(0.2)), capturing),
    "schedule-changed": Scenario(lambda process: process.apply("monitor", MONITOR, watch(0.5)), watched),
    "schedule-deleted": Scenario(lambda process: process.delete("monitor", MONITOR), watched),
}


MIRRORS: Mapping[str, Scenario] = {
    "mirror-added": Scenario(mirrored, serving),
    "mirror-promoted": Scenario(replaced, mirrored_at_first),
}


SCALES: Mapping[str, Scenario] = {
    "scaling-added": Scenario(lambda process: process.apply("endpoint", ENDPOINT, scaled(process.rig, 3)), serving),
    "scaling-removed": Scenario(put_back, scaled_at_first),
}


VERSIONS: Mapping[str, tuple[Capability, Scenario]] = {
    "version-archived": (
        Capability.MODELS_ARCHIVE,
        Scenario(lambda process: process.turn(process.rig.models[1], Phase.ARCHIVED), registered),
    ),
    "version-brought-back": (
        Capability.MODELS_ARCHIVE,
        Scenario(lambda process: process.turn(process.rig.models[1], Phase.READY), put_away),
    ),
    "version-deleted": (
        Capability.MODELS_DELETE_VERSION,
        Scenario(lambda process: process.turn(process.rig.models[1], None), registered),
    ),
}


def can(rig: Rig, capability: Capability) -> bool:
    return isinstance(rig.plugin.capabilities[capability], Yes)


def schedules(rig: Rig) -> bool:
    """Whether the provider has schedules of its own."""
    return can(rig, Capability.MONITORS_SCHEDULE)
