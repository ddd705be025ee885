"""Automatic scaling: variants as scalable targets of Application Auto Scaling, each with one policy of ours.

Source: the developer guide (endpoint auto scaling: what to register, when to deregister) and the metrics that SageMaker
publishes: utilization is summed over cores and GPUs, so that four busy cores are 400 per cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cloudml import specs
from cloudml.errors import ConfigError
from cloudml.spi import Call, Caller, Effect
from cloudml.states import Part, Phase, State
from cloudml_sagemaker.account import Clients
from cloudml_sagemaker.documents import covers
from cloudml_sagemaker.instances import INSTANCES

KIND = "scaling"  # of a part
POLICY = "cloudml"
TARGET = 60.0  # per cent, or requests a minute of one instance, where the spec says none
UTILIZATION = {"cpu": "CPUUtilization", "gpu": "GPUUtilization"}
NAMESPACE = "/aws/sagemaker/Endpoints"
BY_REQUESTS = "SageMakerVariantInvocationsPerInstance"
OPERATIONS = ("RegisterScalableTarget", "PutScalingPolicy", "DeregisterScalableTarget")


def _key(endpoint: str, variant: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def automatic(scale: specs.Scale) -> bool:
    return scale.min != scale.max


def policy(endpoint: str, variant: str, scale: specs.Scale, instance: str, where: str) -> dict[str, Any]:
    """The policy that keeps a metric around its target. ConfigError if the instance type's cores are not known."""
    target = TARGET if scale.target is None else scale.target
    if scale.metric == "requests":
        return {"TargetValue": target, "PredefinedMetricSpecification": {"PredefinedMetricType": BY_REQUESTS}}
    units = next((getattr(each, scale.metric) for each in INSTANCES if each.name == instance), 0)
    if not units:
        said = (
            f"{where}: how many {scale.metric.upper()}s {instance} has for 'scale.metric: {scale.metric}' is not known"
        )
        raise ConfigError(said, hint="scale by 'metric: requests', or take an instance type that has them")
    dimensions = {"EndpointName": endpoint, "VariantName": variant}
    metric = {
        "MetricName": UTILIZATION[scale.metric],
        "Namespace": NAMESPACE,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Statistic": "Average",
        "Unit": "Percent",
    }
    return {"TargetValue": target * units, "CustomizedMetricSpecification": metric}


def observed(clients: Clients, caller: Caller, endpoint: str, variants: Iterable[str]) -> Iterator[Part]:
    """Those of the variants that are scalable targets, with their limits and our policy."""
    ids = {_key(endpoint, variant)["ResourceId"]: variant for variant in sorted(variants)}
    if not ids:
        return
    scaling, asked = clients["application-autoscaling"], {"ServiceNamespace": "sagemaker", "ResourceIds": [*ids]}
    found = caller.read("DescribeScalableTargets", lambda: scaling.describe_scalable_targets(**asked))
    for target in found["ScalableTargets"]:
        id, variant = target["ResourceId"], ids[target["ResourceId"]]
        facts = {"min": target["MinCapacity"], "max": target["MaxCapacity"], "policy": _policy(clients, caller, id)}
        yield Part(KIND, variant, id, Phase.READY, facts=facts)


def _policy(clients: Clients, caller: Caller, id: str) -> Mapping[str, Any] | None:
    scaling, asked = clients["application-autoscaling"], {"ServiceNamespace": "sagemaker", "ResourceId": id}
    found = caller.read("DescribeScalingPolicies", lambda: scaling.describe_scaling_policies(**asked))
    member = "TargetTrackingScalingPolicyConfiguration"
    return next((each.get(member) for each in found["ScalingPolicies"] if each["PolicyName"] == POLICY), None)


def freed(
    endpoint: str, want: specs.Endpoint, have: State | None, types: Mapping[str, str], config: str
) -> Iterator[Call]:
    """What is scaled no longer; and what refuses the update to ``config``, where a variant goes or changes its type.

    ``types`` are the wanted instance types by variant.
    """
    if have is None:
        return
    anew = have.phase is Phase.FAILED or not have.facts
    running = have.facts.get("types", {}) if have.facts.get("config") != config else types
    for part in have.of(KIND):
        if part.name not in types or anew or not automatic(want.deployments[part.name].scale):
            yield _deregister(endpoint, part.name, "its instances are not counted out automatically")
        elif running.get(part.name) != types[part.name]:
            yield _deregister(endpoint, part.name, f"it is to be {types[part.name]}, which an update refuses else")


def gone(have: State) -> Iterator[Call]:
    """Before an endpoint is deleted."""
    return (_deregister(have.key.name, part.name, "it is not wanted") for part in have.of(KIND))


def _deregister(endpoint: str, variant: str, why: str) -> Call:
    key = _key(endpoint, variant)
    return Call("DeregisterScalableTarget", key["ResourceId"], key, why, Effect.DELETE)


def settled(
    endpoint: str, want: specs.Endpoint, have: Mapping[str, Part], types: Mapping[str, str], where: str
) -> Iterator[Call]:
    """Limits and policy of each variant that is to be scaled, where they are not there or differ."""
    for variant, deployment in want.deployments.items():
        scale = deployment.scale
        if not automatic(scale):
            continue
        there, key = have.get(variant), _key(endpoint, variant)
        limits = {"MinCapacity": scale.min, "MaxCapacity": scale.max}
        facts = there.facts if there else {}
        effect = Effect.UPDATE if there else Effect.CREATE
        if (facts.get("min"), facts.get("max")) != (scale.min, scale.max):
            document = {**key, **limits}
            yield Call("RegisterScalableTarget", key["ResourceId"], document, "its limits differ", effect)
        wanted = policy(endpoint, variant, scale, types[variant], f"{where}, deployment {variant}")
        if not covers(facts.get("policy"), wanted):
            document = {"PolicyName": POLICY, **key, "PolicyType": "TargetTrackingScaling"}
            document["TargetTrackingScalingPolicyConfiguration"] = wanted
            yield Call("PutScalingPolicy", key["ResourceId"], document, "what it is scaled by differs", effect)
