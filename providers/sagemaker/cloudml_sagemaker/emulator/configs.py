"""The operations on endpoint configurations, which never change."""

from __future__ import annotations

from cloudml_sagemaker.emulator import models, roles, shapes
from cloudml_sagemaker.emulator.accounts import Document, Scope, known, now
from cloudml_sagemaker.emulator.listing import listed
from cloudml_sagemaker.emulator.problems import invalid, outside

KIND = "endpoint-config"
# What changes how an endpoint serves, and is not carried out here.
OUTSIDE = ("AsyncInferenceConfig", "ExplainerConfig", "CrossRegionTrafficConfig")
OUTSIDE_OF_VARIANTS = ("ServerlessConfig", "ManagedInstanceScaling", "InstancePools", "InferenceAmiVersion")
MOST_INSTANCES = 20  # of a variant, on this one machine


def create(scope: Scope, request: Document) -> Document:
    name = request["EndpointConfigName"]
    _check(scope, request)
    if "ExecutionRoleArn" in request:
        roles.check(scope, request["ExecutionRoleArn"])
    arn = scope.arn(KIND, name)
    with scope.lock:
        if name in scope.table(KIND):
            raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
        scope.table(KIND)[name] = request | {"CreationTime": now(), "EndpointConfigArn": arn}
        scope.tag(arn, request.get("Tags"))
    return {"EndpointConfigArn": arn}


def _check(scope: Scope, request: Document) -> None:
    for member in OUTSIDE:
        if request.get(member):
            raise outside(f"{member} of CreateEndpointConfig")
    shadows = request.get("ShadowProductionVariants", [])
    variants = request["ProductionVariants"] + shadows
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        raise invalid("Each variant of an endpoint configuration must have a name of its own.")
    if shadows and (len(shadows) > 1 or len(request["ProductionVariants"]) > 1):
        raise invalid("A shadow variant needs exactly one production variant, and there can be one shadow variant.")
    for variant in variants:
        for member in OUTSIDE_OF_VARIANTS:
            if variant.get(member):
                raise outside(f"{member} of a variant")
        if not variant.get("ModelName"):
            raise outside("a variant without ModelName (inference components)")
        models.find(scope, variant["ModelName"])
        if not variant.get("InstanceType"):
            raise invalid(f"Variant {variant['VariantName']} must have an InstanceType.")
        if not 1 <= variant.get("InitialInstanceCount", 0) <= MOST_INSTANCES:
            raise invalid(f"InitialInstanceCount of {variant['VariantName']} must be in 1 to {MOST_INSTANCES}.")


def find(scope: Scope, name: str) -> Document:
    config = scope.table(KIND).get(name)
    if config is None:
        raise invalid(f'Could not find endpoint configuration "{scope.arn(KIND, name)}".')
    found: Document = config
    return found


def describe(scope: Scope, request: Document) -> Document:
    output = shapes.service("sagemaker").operation_model("DescribeEndpointConfig").output_shape.members
    config = find(scope, request["EndpointConfigName"])
    variants = [{"InitialVariantWeight": 1.0} | variant for variant in config["ProductionVariants"]]
    return known({"EnableNetworkIsolation": False} | config | {"ProductionVariants": variants}, output)


def list_all(scope: Scope, request: Document) -> Document:
    members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
    found = [known(config, members) for config in [*scope.table(KIND).values()]]
    return listed(request, found, "EndpointConfigs", "EndpointConfigName")


def delete(scope: Scope, request: Document) -> None:
    config = find(scope, request["EndpointConfigName"])
    with scope.lock:
        scope.table(KIND).pop(request["EndpointConfigName"], None)
        scope.tags.pop(config["EndpointConfigArn"], None)


OPERATIONS = {
    "CreateEndpointConfig": create,
    "DescribeEndpointConfig": describe,
    "ListEndpointConfigs": list_all,
    "DeleteEndpointConfig": delete,
}
