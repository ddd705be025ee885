"""The operations on the model registry: groups of model packages, and the packages, which are versions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cloudml_sagemaker.emulator import pacing, shapes
from cloudml_sagemaker.emulator.accounts import Document, Scope, known, now
from cloudml_sagemaker.emulator.listing import listed
from cloudml_sagemaker.emulator.problems import Refused, invalid

GROUP, PACKAGE = "model-package-group", "model-package"
ARN = re.compile(r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:[a-z\-]*/(.+)")
MOST_PROPERTIES = 50
SUMMARY = (
    *("ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "CreationTime"),
    *("ModelPackageDescription", "ModelPackageStatus", "ModelApprovalStatus", "ModelLifeCycle"),
)
CHANGEABLE = ("ModelApprovalStatus", "ApprovalDescription", "SourceUri", "InferenceSpecification", "ModelLifeCycle")


@dataclass
class Package:
    """A model package; ``document`` is what Describe answers, but for its status."""

    arn: str
    document: Document
    walk: pacing.Walk
    token: str | None = None

    def shown(self) -> Document:
        status = self.walk.look() or "Completed"
        details = [{"Name": "primary", "Status": "Completed" if status == "Completed" else "InProgress"}]
        return self.document | {
            "ModelPackageStatus": status,
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": details},
        }


@dataclass
class Group:
    name: str
    document: Document
    last: int = 0
    tokens: dict[str, str] = field(default_factory=dict)


def _short(name: str) -> str:
    """The name in a name or ARN."""
    match = ARN.fullmatch(name)
    return match[1] if match else name


def create_group(scope: Scope, request: Document) -> Document:
    name = request["ModelPackageGroupName"]
    arn = scope.arn(GROUP, name)
    with scope.lock:
        if name in scope.table(GROUP):
            raise invalid(f"Model Package Group already exists: {arn}")
        scope.table(GROUP)[name] = Group(name, request | {"CreationTime": now(), "ModelPackageGroupArn": arn})
        scope.tag(arn, request.get("Tags"))
    return {"ModelPackageGroupArn": arn}


def find_group(scope: Scope, name: str) -> Group:
    group = scope.table(GROUP).get(_short(name))
    if group is None:
        raise invalid(f"ModelPackageGroup {scope.arn(GROUP, _short(name))} does not exist.")
    found: Group = group
    return found


def describe_group(scope: Scope, request: Document) -> Document:
    group = find_group(scope, request["ModelPackageGroupName"])
    output = shapes.service("sagemaker").operation_model("DescribeModelPackageGroup").output_shape.members
    return known(group.document | {"ModelPackageGroupStatus": "Completed", "CreatedBy": {}}, output)


def list_groups(scope: Scope, request: Document) -> Document:
    members = ("ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime")
    found = [
        known(group.document, members) | {"ModelPackageGroupStatus": "Completed"}
        for group in [*scope.table(GROUP).values()]
    ]
    return listed(request, found, "ModelPackageGroupSummaryList", "ModelPackageGroupName")


def delete_group(scope: Scope, request: Document) -> None:
    with scope.lock:
        group = find_group(scope, request["ModelPackageGroupName"])
        arn = scope.arn(GROUP, group.name)
        if any(each.document.get("ModelPackageGroupName") == group.name for each in scope.table(PACKAGE).values()):
            message = f"Model Package Group cannot be deleted because it still contains Model Packages: {arn}"
            raise Refused("ConflictException", message)
        scope.table(GROUP).pop(group.name)
        scope.tags.pop(arn, None)


def create(scope: Scope, request: Document) -> Document:
    group_name, name = request.get("ModelPackageGroupName"), request.get("ModelPackageName")
    if bool(group_name) == bool(name):
        raise invalid("Exactly one of ModelPackageGroupName and ModelPackageName must be given.")
    if group_name and request.get("Tags"):
        raise invalid("Tags cannot be specified when creating a versioned model package: tag its group.")
    if not request.get("InferenceSpecification") and not request.get("SourceUri"):
        raise invalid("A model package needs an InferenceSpecification or a SourceUri.")
    with scope.lock:
        group = find_group(scope, group_name) if group_name else None
        return {"ModelPackageArn": _made(scope, request, group)}


def _made(scope: Scope, request: Document, group: Group | None) -> str:
    token = request.get("ClientToken")
    if group and token in group.tokens:
        return group.tokens[token]
    document = {key: value for key, value in request.items() if key not in ("ClientToken", "Tags")}
    if group:
        group.last += 1
        short = f"{group.name}/{group.last}"
        document |= {"ModelPackageGroupName": group.name, "ModelPackageVersion": group.last}
        document = {"ModelApprovalStatus": "PendingManualApproval"} | document
    else:
        short = request["ModelPackageName"]
        if short in scope.table(PACKAGE):
            raise Refused("ConflictException", f"Model Package already exists: {scope.arn(PACKAGE, short)}")
    arn = scope.arn(PACKAGE, short)
    document |= {"ModelPackageName": short.replace("/", "-"), "ModelPackageArn": arn, "CreationTime": now()}
    if group:
        document["ModelPackageName"] = group.name
        if token:
            group.tokens[token] = arn
    walk = pacing.Walk(scope.world.site.lifecycle, pacing.BEFORE[PACKAGE])
    scope.table(PACKAGE)[short] = Package(arn, document, walk)
    scope.tag(arn, request.get("Tags"))
    return arn


def find(scope: Scope, name: str) -> Package:
    package = scope.table(PACKAGE).get(_short(name))
    if package is None:
        arn = name if name.startswith("arn:") else scope.arn(PACKAGE, name)
        raise invalid(f"ModelPackage {arn} does not exist.")
    found: Package = package
    return found


def describe(scope: Scope, request: Document) -> Document:
    package = find(scope, request["ModelPackageName"])
    output = shapes.service("sagemaker").operation_model("DescribeModelPackage").output_shape.members
    return known(package.shown(), output)


def list_all(scope: Scope, request: Document) -> Document:
    group = find_group(scope, request["ModelPackageGroupName"]).name if "ModelPackageGroupName" in request else None
    kind = request.get("ModelPackageType", "Both" if group else "Unversioned")
    found = []
    for package in [*scope.table(PACKAGE).values()]:
        versioned = "ModelPackageVersion" in package.document
        wanted = kind == "Both" or versioned == (kind == "Versioned")
        if wanted and group in (None, package.document.get("ModelPackageGroupName")):
            found.append(known(package.shown(), SUMMARY))
    equal = {"ModelApprovalStatus": "ModelApprovalStatus"}
    return listed(request, found, "ModelPackageSummaryList", "ModelPackageName", equal)


def update(scope: Scope, request: Document) -> Document:
    with scope.lock:
        package = find(scope, request["ModelPackageArn"])
        document = package.document
        properties = dict(document.get("CustomerMetadataProperties", {}))
        properties |= request.get("CustomerMetadataProperties", {})
        for key in request.get("CustomerMetadataPropertiesToRemove", ()):
            properties.pop(key, None)
        if len(properties) > MOST_PROPERTIES:
            raise invalid(f"A model package has at most {MOST_PROPERTIES} customer metadata properties.")
        members = (
            "ModelApprovalStatus",
            "ApprovalDescription",
            "SourceUri",
            "InferenceSpecification",
            "ModelLifeCycle",
        )
        changed = known(request, members) | {"CustomerMetadataProperties": properties, "LastModifiedTime": now()}
        package.document = document | changed
        if not properties:
            package.document.pop("CustomerMetadataProperties")
        return {"ModelPackageArn": package.arn}


def delete(scope: Scope, request: Document) -> None:
    with scope.lock:
        package = find(scope, request["ModelPackageName"])
        scope.table(PACKAGE).pop(_short(package.arn))
        scope.tags.pop(package.arn, None)


OPERATIONS = {
    "CreateModelPackageGroup": create_group,
    "DescribeModelPackageGroup": describe_group,
    "ListModelPackageGroups": list_groups,
    "DeleteModelPackageGroup": delete_group,
    "CreateModelPackage": create,
    "DescribeModelPackage": describe,
    "ListModelPackages": list_all,
    "UpdateModelPackage": update,
    "DeleteModelPackage": delete,
}
