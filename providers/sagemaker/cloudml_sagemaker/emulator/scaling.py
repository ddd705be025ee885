"""Application Auto Scaling of endpoints: moto's answers, checked in front, and instances that really come and go.

Source: the developer guide of SageMaker (endpoint auto scaling) and the API reference of Application Auto Scaling. A
policy by calls works (``SageMakerVariantInvocationsPerInstance``); one by any other metric is kept, and moves nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from cloudml_sagemaker.emulator import endpoints, operations, shapes, targets
from cloudml_sagemaker.emulator.accounts import Document, Scope, World
from cloudml_sagemaker.emulator.front import Answer, Backend, Request
from cloudml_sagemaker.emulator.others import refusal
from cloudml_sagemaker.emulator.problems import Lost, Refused
from cloudml_sagemaker.emulator.recording import recorder
from cloudml_sagemaker.emulator.services import MARK
from cloudml_sagemaker.emulator.targets import KIND, RESOURCE, Target

BY_CALLS = "SageMakerVariantInvocationsPerInstance"
LINKED = "arn:{scope.world.partition}:iam::{scope.account}:role/aws-service-role/"
LINKED += "sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
HIGH = 3  # minutes over the target before instances are added
SLACK = 0.9  # of the target: what is above is not few
COOLDOWN = 300.0  # seconds, unless the policy says


class Scaling:
    """Stands before moto for one service."""

    def __init__(self, world: World, account: Callable[[Request], str], moto: Backend) -> None:
        self._world, self._account, self._moto = world, account, moto
        self._noted = {
            "RegisterScalableTarget": _registered,
            "PutScalingPolicy": _followed,
            "DeregisterScalableTarget": _deregistered,
        }

    def __call__(self, request: Request) -> Answer:
        called = operations.called(request)
        note = self._noted.get(called.operation)
        if note is None or MARK in request.headers.get("user-agent", ""):
            return self._moto(request)
        try:
            signer = request.signer
            scope = self._world.scope(self._account(request), signer.region if signer else "")
            given = json.loads(request.body or b"{}")
            shapes.check_request(shapes.service("application-autoscaling").operation_model(called.operation), given)
            _check(scope, called.operation, given)
        except Refused as refused:
            return refusal(called, refused)
        if given["ServiceNamespace"] != "sagemaker":
            return self._moto(request)
        if called.operation == "RegisterScalableTarget":
            request = replace(request, body=json.dumps({"RoleARN": LINKED.format(scope=scope), **given}).encode())
        try:
            answer = self._moto(request)
        except Lost:
            note(scope, given)
            raise
        if answer.status == 200:
            note(scope, given)
        return answer


def _check(scope: Scope, operation: str, given: Document) -> None:
    match = RESOURCE.fullmatch(given["ResourceId"])
    if given["ServiceNamespace"] != "sagemaker":
        return
    if match is None or given["ScalableDimension"] != targets.DIMENSION:
        raise Refused("ValidationException", "Unsupported service namespace, resource type or scalable dimension")
    if operation != "RegisterScalableTarget":
        if given["ResourceId"] not in scope.table(KIND):
            dimension = f"resource ID: {given['ResourceId']}, scalable dimension: {given['ScalableDimension']}"
            text = f"No scalable target registered for service namespace: sagemaker, {dimension}"
            raise Refused("ObjectNotFoundException", text)
        return
    endpoint = scope.table(endpoints.KIND).get(match["endpoint"])
    if endpoint is None or endpoint.going or not endpoint.variant(match["variant"]):
        raise Refused("ValidationException", f"Could not find the endpoint variant {given['ResourceId']}")
    if not 1 <= given.get("MinCapacity", 1) <= given.get("MaxCapacity", math.inf):
        raise Refused("ValidationException", "Maximum capacity cannot be less than minimum capacity, nor that than 1")


def _registered(scope: Scope, given: Document) -> None:
    match = RESOURCE.fullmatch(given["ResourceId"])
    assert match
    old = scope.table(KIND).get(given["ResourceId"])
    least = given.get("MinCapacity", old.least if old else 1)
    most = given.get("MaxCapacity", old.most if old else least)
    target = old or Target(match["endpoint"], match["variant"], least, most)
    target.least, target.most = least, most
    scope.table(KIND)[given["ResourceId"]] = target


def _followed(scope: Scope, given: Document) -> None:
    scope.table(KIND)[given["ResourceId"]].policy = given.get("TargetTrackingScalingPolicyConfiguration")


def _deregistered(scope: Scope, given: Document) -> None:
    scope.table(KIND).pop(given["ResourceId"], None)
    targets.drop_policies(scope, given["ResourceId"])


def adjust(scope: Scope) -> None:
    """Brings each registered variant of an endpoint that is in service to the instances that it is to have."""
    for target in [*scope.table(KIND).values()]:
        endpoint = scope.table(endpoints.KIND).get(target.endpoint)
        variant = endpoint.variant(target.variant) if endpoint and endpoint.status == "InService" else None
        if endpoint is None or variant is None or endpoint.going:
            continue
        wanted = min(max(_asked(scope, target, variant.wanted), target.least), target.most)
        if wanted != variant.wanted:
            desired = [{"VariantName": target.variant, "DesiredInstanceCount": wanted}]
            with suppress(Refused):  # somebody changes it just now: the next pass tries again
                endpoints.update_weights(
                    scope, {"EndpointName": target.endpoint, "DesiredWeightsAndCapacities": desired}
                )
                target.moved = time.monotonic()


def _asked(scope: Scope, target: Target, count: int) -> int:
    """How many instances the calls of the last minutes ask for."""
    minute, now = scope.world.timing.minute, time.monotonic()
    if now - target.began >= minute:
        calls = recorder(scope).calls[target.endpoint, target.variant]
        target.points.append((calls - target.calls) / max(1, count) * minute / (now - target.began))
        target.calls, target.began = calls, now
    policy = target.policy or {}
    value = float(policy.get("TargetValue", 0))
    if not value or policy.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType") != BY_CALLS:
        return count
    points, rested = [*target.points], (now - target.moved) / minute * 60
    if len(points) >= HIGH and min(points[-HIGH:]) > value and rested >= policy.get("ScaleOutCooldown", COOLDOWN):
        return math.ceil(count * points[-1] / value)
    few = len(points) == targets.LOW and max(points) < SLACK * value and not policy.get("DisableScaleIn")
    if few and rested >= policy.get("ScaleInCooldown", COOLDOWN):
        return max(1, math.ceil(count * max(points) / value))
    return count
