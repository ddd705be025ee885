"""The operations on models: a container's image with an archive of a model."""

from __future__ import annotations

import re

from cloudml_sagemaker.emulator import roles, shapes
from cloudml_sagemaker.emulator.accounts import Document, Scope, known, now
from cloudml_sagemaker.emulator.listing import listed
from cloudml_sagemaker.emulator.packages import Package
from cloudml_sagemaker.emulator.packages import find as find_package
from cloudml_sagemaker.emulator.problems import Refused, invalid, outside

KIND = "model"
ECR = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/.+")


def missing(scope: Scope, name: str) -> Refused:
    return invalid(f'Could not find model "{scope.arn(KIND, name)}".')


def create(scope: Scope, request: Document) -> Document:
    name = request["ModelName"]
    containers = [*([request["PrimaryContainer"]] if "PrimaryContainer" in request else request.get("Containers", ()))]
    if "PrimaryContainer" in request and "Containers" in request:
        raise invalid("Both PrimaryContainer and Containers were given; a model has one of them.")
    if not containers:
        raise invalid("A model needs a PrimaryContainer or Containers.")
    if len(containers) > 1:
        raise outside("a model of several containers")
    _check(scope, containers[0])
    if "ExecutionRoleArn" in request:
        roles.check(scope, request["ExecutionRoleArn"])
    arn = scope.arn(KIND, name)
    with scope.lock:
        if name in scope.table(KIND):
            raise invalid(f'Cannot create already existing model "{arn}".')
        scope.table(KIND)[name] = request | {"CreationTime": now(), "ModelArn": arn}
        scope.tag(arn, request.get("Tags"))
    return {"ModelArn": arn}


def _check(scope: Scope, container: Document) -> None:
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise outside("a container with several models")
    if "ModelPackageName" in container:
        package = find_package(scope, container["ModelPackageName"])
        if package.document.get("ModelApprovalStatus") != "Approved":
            raise invalid(f"Model package {package.arn} is not approved: it cannot be deployed.")
        return
    image = container.get("Image", "")
    if not image:
        raise invalid("A container needs an Image or a ModelPackageName.")
    if not ECR.fullmatch(image) and container.get("ImageConfig", {}).get("RepositoryAccessMode") != "Vpc":
        raise invalid(f'Using non-ECR image "{image}" without Vpc repository access mode is not supported.')


def find(scope: Scope, name: str) -> Document:
    model = scope.table(KIND).get(name)
    if model is None:
        raise missing(scope, name)
    found: Document = model
    return found


def container(scope: Scope, name: str) -> Document:
    """The one container of a model, with the image and archive of its package, if it names one."""
    model = find(scope, name)
    given: Document = model.get("PrimaryContainer") or model["Containers"][0]
    if "ModelPackageName" not in given:
        return given
    package: Package = find_package(scope, given["ModelPackageName"])
    own: Document = package.document["InferenceSpecification"]["Containers"][0]
    return own | given | {"Environment": own.get("Environment", {}) | given.get("Environment", {})}


def describe(scope: Scope, request: Document) -> Document:
    model = find(scope, request["ModelName"])
    output = shapes.service("sagemaker").operation_model("DescribeModel").output_shape.members
    return known({"EnableNetworkIsolation": False} | model, output)


def list_all(scope: Scope, request: Document) -> Document:
    members = ("ModelName", "ModelArn", "CreationTime")
    found = [known(model, members) for model in [*scope.table(KIND).values()]]
    return listed(request, found, "Models", "ModelName")


def delete(scope: Scope, request: Document) -> None:
    model = find(scope, request["ModelName"])
    with scope.lock:
        scope.table(KIND).pop(request["ModelName"], None)
        scope.tags.pop(model["ModelArn"], None)


OPERATIONS = {"CreateModel": create, "DescribeModel": describe, "ListModels": list_all, "DeleteModel": delete}
