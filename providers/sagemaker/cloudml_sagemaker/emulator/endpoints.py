"""The operations on endpoints."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from cloudml_sagemaker.emulator import configs, pacing, targets
from cloudml_sagemaker.emulator.accounts import Document, Scope, known, now
from cloudml_sagemaker.emulator.fleets import Fleet, Variant
from cloudml_sagemaker.emulator.listing import listed
from cloudml_sagemaker.emulator.problems import Refused, invalid, outside
from cloudml_sagemaker.emulator.rollout import Plan, create_fleet, rescale, update_fleet

KIND = "endpoint"
GOING = ("Creating", "Updating", "RollingBack", "SystemUpdating")


@dataclass
class Endpoint:
    """An endpoint: the fleet that serves, and the one that is being put in its place with its share of the traffic."""

    scope: Scope
    name: str
    config: Document
    status: str = "Creating"
    reason: str | None = None
    created: float = field(default_factory=now)
    modified: float = field(default_factory=now)
    fleet: Fleet | None = None
    green: Fleet | None = None
    share: float = 0.0
    stage: str = "Creating"
    pending: Document | None = None
    deployment: Document | None = None
    walk: pacing.Walk | None = None
    going: pacing.Walk | None = None
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def arn(self) -> str:
        return self.scope.arn(KIND, self.name)

    def variant(self, name: str) -> Variant | None:
        """A variant of the fleet that serves."""
        return next((each for each in self.fleet.variants if each.name == name), None) if self.fleet else None

    def become(self, status: str, reason: str | None = None) -> None:
        self.status, self.reason, self.modified = status, reason, now()


def find(scope: Scope, name: str) -> Endpoint:
    endpoint = scope.table(KIND).get(name)
    if endpoint is None or _gone(scope, endpoint):
        raise invalid(f'Could not find endpoint "{scope.arn(KIND, name)}".')
    found: Endpoint = endpoint
    return found


def _gone(scope: Scope, endpoint: Endpoint) -> bool:
    if endpoint.going is None or endpoint.going.look() is not None or not endpoint.closed.is_set():
        return False
    if scope.table(KIND).get(endpoint.name) is endpoint:
        scope.table(KIND).pop(endpoint.name)
        scope.tags.pop(endpoint.arn, None)
    return True


def create(scope: Scope, request: Document) -> Document:
    name = request["EndpointName"]
    config = configs.find(scope, request["EndpointConfigName"])
    _check(request)
    with scope.lock:
        existing = scope.table(KIND).get(name)
        if existing is not None and not _gone(scope, existing):
            raise invalid(f'Cannot create already existing endpoint "{scope.arn(KIND, name)}".')
        endpoint = Endpoint(scope, name, config, deployment=request.get("DeploymentConfig"))
        endpoint.walk = pacing.Walk(scope.world.site.lifecycle, pacing.BEFORE[KIND])
        scope.table(KIND)[name] = endpoint
        scope.tag(endpoint.arn, request.get("Tags"))
    scope.world.spawn(endpoint.name, lambda: create_fleet(endpoint))
    return {"EndpointArn": endpoint.arn}


def _check(request: Document) -> None:
    deployment = request.get("DeploymentConfig", {})
    if deployment.get("RollingUpdatePolicy"):
        raise outside("RollingUpdatePolicy")
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    needed = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(routing.get("Type"))
    if needed and needed not in routing:
        raise invalid(f"{needed} must be given for traffic routing of type {routing['Type']}.")


def _steady(scope: Scope, name: str) -> Endpoint:
    """An endpoint that may be changed. Raises Refused while it is on its way."""
    endpoint = find(scope, name)
    if _status(endpoint) in GOING:
        raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
    if endpoint.going:
        raise invalid(f'Cannot update endpoint "{endpoint.arn}" that is being deleted.')
    return endpoint


def _status(endpoint: Endpoint) -> str:
    """The status as a look shows it: no further than the ordered pace allows."""
    if endpoint.going:
        return "Deleting"
    early = endpoint.walk.look() if endpoint.walk else None
    return early or endpoint.status


def describe(scope: Scope, request: Document) -> Document:
    with scope.lock:
        endpoint = find(scope, request["EndpointName"])
        status = _status(endpoint)
        document: Document = {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.config["EndpointConfigName"],
            "EndpointStatus": status,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "LastDeploymentConfig": endpoint.deployment,
            "FailureReason": endpoint.reason if status == "Failed" else None,
        }
        if endpoint.fleet and status not in ("Creating", "Failed"):
            document |= _variants(endpoint.fleet, 1 - endpoint.share, "Updating" if endpoint.green else None)
            document["DataCaptureConfig"] = _capture(endpoint.config)
        if endpoint.pending:
            document["PendingDeploymentSummary"] = _pending(endpoint)
        return known(document, document)


def _variants(fleet: Fleet, share: float, stage: str | None) -> Document:
    found: Document = {}
    for variant in fleet.variants:
        member = "ShadowProductionVariants" if variant.shadow else "ProductionVariants"
        found.setdefault(member, []).append(_variant(variant, share, stage))
    return found


def _variant(variant: Variant, share: float, stage: str | None) -> Document:
    image = variant.container["Image"]
    return {
        "VariantName": variant.name,
        "DeployedImages": [{"SpecifiedImage": image, "ResolutionTime": now()}],
        "CurrentWeight": round(variant.weight * share, 6),
        "DesiredWeight": variant.weight,
        "CurrentInstanceCount": len(variant.instances),
        "DesiredInstanceCount": variant.wanted,
    } | ({"VariantStatus": [{"Status": stage, "StartTime": now()}]} if stage else {})


def _capture(config: Document) -> Document | None:
    capture = config.get("DataCaptureConfig")
    if not capture:
        return None
    enabled = capture.get("EnableCapture", False)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }


def _pending(endpoint: Endpoint) -> Document:
    pending = dict(endpoint.pending or {})
    if endpoint.green:
        pending |= _variants(endpoint.green, endpoint.share, endpoint.stage)
    return pending


def list_all(scope: Scope, request: Document) -> Document:
    with scope.lock:
        found = [
            {
                "EndpointName": each.name,
                "EndpointArn": each.arn,
                "CreationTime": each.created,
                "LastModifiedTime": each.modified,
                "EndpointStatus": _status(each),
            }
            for each in [*scope.table(KIND).values()]
            if not _gone(scope, each)
        ]
    return listed(request, found, "Endpoints", "EndpointName", {"StatusEquals": "EndpointStatus"})


def update(scope: Scope, request: Document) -> Document:
    _check(request)
    with scope.lock:
        endpoint = _steady(scope, request["EndpointName"])
        if endpoint.status == "Failed":
            raise invalid(f'Cannot update endpoint "{endpoint.arn}": it is Failed, and can only be deleted.')
        config = configs.find(scope, request["EndpointConfigName"])
        _check_targets(endpoint, config)
        kept = request.get("RetainDeploymentConfig")
        deployment = endpoint.deployment if kept else request.get("DeploymentConfig")
        retained = bool(request.get("RetainAllVariantProperties"))
        excluded = {each["VariantPropertyType"] for each in request.get("ExcludeRetainedVariantProperties", ())}
        plan = Plan(config, deployment, retained, frozenset(excluded))
        endpoint.deployment = deployment
        endpoint.pending = {"EndpointConfigName": config["EndpointConfigName"], "StartTime": now()}
        endpoint.become("Updating")
        endpoint.walk = pacing.Walk(scope.world.site.lifecycle, pacing.BEFORE["endpoint-update"])
    scope.world.spawn(endpoint.name, lambda: update_fleet(endpoint, plan))
    return {"EndpointArn": endpoint.arn}


def _check_targets(endpoint: Endpoint, config: Document) -> None:
    """A variant that is scaled automatically neither goes nor gets another instance type (developer guide)."""
    specs = [*config["ProductionVariants"], *config.get("ShadowProductionVariants", ())]
    types = {spec["VariantName"]: spec.get("InstanceType") for spec in specs}
    for target in targets.of(endpoint.scope, endpoint.name):
        running = endpoint.variant(target.variant)
        if running and types.get(target.variant) != running.spec.get("InstanceType"):
            message = (
                f'The variant "{target.variant}" of the endpoint "{endpoint.arn}" has automatic scaling: deregister'
            )
            raise invalid(f"{message} it as a scalable target before it is removed or its instance type changes.")


def update_weights(scope: Scope, request: Document) -> Document:
    with scope.lock:
        endpoint = _steady(scope, request["EndpointName"])
        fleet = endpoint.fleet
        if endpoint.status == "Failed" or fleet is None:
            raise invalid(f'Cannot update endpoint "{endpoint.arn}": it is Failed, and can only be deleted.')
        variants = {variant.name: variant for variant in fleet.variants}
        counts: dict[str, int] = {}
        for desired in request["DesiredWeightsAndCapacities"]:
            name = desired["VariantName"]
            if name not in variants:
                raise invalid(f'The variant "{name}" does not exist in the endpoint "{endpoint.arn}".')
            wanted = desired.get("DesiredInstanceCount", variants[name].wanted)
            if not 1 <= wanted <= configs.MOST_INSTANCES:
                raise invalid(f"DesiredInstanceCount must be in 1 to {configs.MOST_INSTANCES}.")
            counts[name] = wanted
        for desired in request["DesiredWeightsAndCapacities"]:
            variant = variants[desired["VariantName"]]
            variant.weight = float(desired.get("DesiredWeight", variant.weight))
        endpoint.become("Updating")
        endpoint.walk = pacing.Walk(scope.world.site.lifecycle, pacing.BEFORE["endpoint-update"])
    scope.world.spawn(endpoint.name, lambda: rescale(endpoint, fleet, counts))
    return {"EndpointArn": endpoint.arn}


def delete(scope: Scope, request: Document) -> None:
    with scope.lock:
        endpoint = find(scope, request["EndpointName"])
        if endpoint.going:
            return
        if _status(endpoint) in GOING:
            raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        endpoint.going = pacing.Walk(scope.world.site.lifecycle, pacing.GOING[KIND])
        fleets = [fleet for fleet in (endpoint.fleet, endpoint.green) if fleet]
        endpoint.fleet = endpoint.green = None
    targets.forget(scope, endpoint.name)
    with scope.lock:
        if not fleets:
            endpoint.closed.set()
            _gone(scope, endpoint)
            return

    def close() -> None:
        for fleet in fleets:
            fleet.close()
        endpoint.closed.set()

    scope.world.spawn(endpoint.name, close)


def serving(scope: Scope, name: str) -> Endpoint:
    """The endpoint that answers calls. Raises the runtime's error for one that is not there, or not yet."""
    endpoint = scope.table(KIND).get(name)
    if endpoint is None or endpoint.going or endpoint.fleet is None:
        raise Refused("ValidationError", f"Endpoint {name} of account {scope.account} not found.")
    found: Endpoint = endpoint
    return found


OPERATIONS = {
    "CreateEndpoint": create,
    "DescribeEndpoint": describe,
    "ListEndpoints": list_all,
    "UpdateEndpoint": update,
    "UpdateEndpointWeightsAndCapacities": update_weights,
    "DeleteEndpoint": delete,
}
