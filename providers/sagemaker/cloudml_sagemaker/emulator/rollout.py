"""How an endpoint comes up and changes: blue/green, all at once, in a canary or in steps, and back if it goes wrong.

A bad update is undone in silence: the endpoint is InService again, with the configuration that it had.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from cloudml.emulation.faults import Trouble
from cloudml.errors import CloudmlError
from cloudml_sagemaker.emulator.accounts import Document
from cloudml_sagemaker.emulator.fleets import Fleet, Unhealthy, Variant
from cloudml_sagemaker.emulator.problems import DEFECTS

if TYPE_CHECKING:
    from cloudml_sagemaker.emulator.endpoints import Endpoint

NO_CAPACITY = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
NO_CAPACITY += "Please retry using a different ML instance type or after some time."
INTERNAL = "Request to service failed. If failure persists after retry, contact customer support."


@dataclass(frozen=True)
class Plan:
    """An update: to which configuration, how, and which properties of the variants stay as they are."""

    config: Document
    deployment: Document | None = None
    retained: bool = False
    excluded: frozenset[str] = frozenset()


class Undone(Exception):
    """The update is rolled back."""


def create_fleet(endpoint: Endpoint) -> None:
    """Brings an endpoint up: InService, or Failed with the reason."""
    scope, faults = endpoint.scope, endpoint.scope.world.site.faults
    fleet = Fleet(scope, endpoint.name, endpoint.config)
    try:
        if faults.take("CreateEndpoint", endpoint.name, Trouble.CAPACITY):
            raise Unhealthy(NO_CAPACITY)
        if faults.take("CreateEndpoint", endpoint.name, Trouble.FAIL):
            raise Unhealthy(INTERNAL)
        fleet.start()
        fleet.wait()
    except (Unhealthy, OSError, CloudmlError, ClientError, BotoCoreError, *DEFECTS) as error:
        fleet.close()
        endpoint.become("Failed", str(error)[:1024])
        return
    with scope.lock:
        wanted = scope.world.scopes.get((scope.account, scope.region)) is scope
        if wanted:
            endpoint.fleet = fleet
            endpoint.become("InService")
    if not wanted:  # the cloud was reset meanwhile
        fleet.close()


def update_fleet(endpoint: Endpoint, plan: Plan) -> None:
    """Puts a new fleet in the place of the one that serves; or leaves all as it was."""
    scope = endpoint.scope
    blue, green = endpoint.fleet, Fleet(scope, endpoint.name, plan.config)
    try:
        _meet_faults(endpoint)
        green.start(_kept(blue, plan))
        endpoint.stage = "Creating"
        endpoint.green = green
        green.wait()
        _shift(endpoint, plan.deployment or {})
    except (Unhealthy, Undone, OSError, CloudmlError, ClientError, BotoCoreError, *DEFECTS):
        with scope.lock:
            endpoint.share, endpoint.green = 0.0, None
            endpoint.become("RollingBack")
        green.close()
        with scope.lock:
            endpoint.pending = None
            endpoint.become("InService")
        return
    with scope.lock:
        endpoint.fleet, endpoint.green, endpoint.share = green, None, 0.0
        endpoint.config, endpoint.pending = plan.config, None
        endpoint.become("InService")
    if blue:
        blue.close()


def rescale(endpoint: Endpoint, fleet: Fleet, counts: Mapping[str, int]) -> None:
    """Other numbers of instances; what cannot be started is given up."""
    for variant in fleet.variants:
        before = variant.wanted
        try:
            fleet.scale(variant, counts.get(variant.name, before))
        except (Unhealthy, CloudmlError):
            fleet.scale(variant, before)
    with endpoint.scope.lock:
        endpoint.become("InService")


def _meet_faults(endpoint: Endpoint) -> None:
    troubles = (Trouble.CAPACITY, Trouble.FAIL, Trouble.ROLLBACK)
    fault = endpoint.scope.world.site.faults.take("UpdateEndpoint", endpoint.name, *troubles)
    if fault:
        raise Undone(fault.trouble.value)


def _kept(blue: Fleet | None, plan: Plan) -> dict[str, Variant]:
    """The variants whose properties are taken over, as they are to be."""
    if not plan.retained or blue is None:
        return {}
    given = {spec["VariantName"]: spec for spec in plan.config["ProductionVariants"]}
    kept = {}
    for variant in blue.variants:
        if spec := given.get(variant.name):
            weight, wanted = variant.weight, variant.wanted
            if "DesiredWeight" in plan.excluded:
                weight = float(spec.get("InitialVariantWeight", 1.0))
            if "DesiredInstanceCount" in plan.excluded:
                wanted = int(spec["InitialInstanceCount"])
            kept[variant.name] = Variant(spec, False, variant.folder, variant.container, False, weight, wanted)
    return kept


def _shift(endpoint: Endpoint, deployment: Document) -> None:
    """Moves the traffic to the new fleet, and watches the alarms until the old one is given up. Raises Undone."""
    policy = deployment.get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE"})
    minute = endpoint.scope.world.timing.minute
    for share in _steps(routing, endpoint.green):
        endpoint.stage, endpoint.share = "ActivatingTraffic", share
        seconds = routing.get("WaitIntervalInSeconds", 0) if share < 1 else policy.get("TerminationWaitInSeconds", 0)
        endpoint.stage = "Baking"
        _bake(endpoint, deployment, seconds / 60 * minute)


def _steps(routing: Document, green: Fleet | None) -> Iterator[float]:
    """The shares of the traffic, one after the other, up to all of it."""
    count = sum(variant.wanted for variant in green.variants) if green else 1
    size = routing.get("CanarySize") or routing.get("LinearStepSize") or {"Type": "CAPACITY_PERCENT", "Value": 100}
    step = size["Value"] / (100 if size["Type"] == "CAPACITY_PERCENT" else max(1, count))
    if routing["Type"] == "CANARY" and step < 1:
        yield step
    elif routing["Type"] == "LINEAR":
        yield from itertools.takewhile(lambda share: share < 1, (step * index for index in itertools.count(1)))
    yield 1.0


def _bake(endpoint: Endpoint, deployment: Document, seconds: float) -> None:
    """Waits; an alarm that is in ALARM undoes the update."""
    names = [each["AlarmName"] for each in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", ())]
    world, scope = endpoint.scope.world, endpoint.scope
    until = time.monotonic() + seconds
    while True:
        if names:
            client = world.services.client("cloudwatch", scope.account, scope.region)
            alarms = client.describe_alarms(AlarmNames=names)["MetricAlarms"]
            if any(alarm["StateValue"] == "ALARM" for alarm in alarms):
                raise Undone("an alarm is in ALARM")
        left = until - time.monotonic()
        if left <= 0:
            return
        if world.sleep(min(left, 0.1)):
            raise Undone("the emulator ends")
