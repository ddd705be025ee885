"""The least that a stack needs, as an IAM policy: which operation asks for which action, on what.

Source: the service authorization reference of each service (actions, and the resources that they can be limited to).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudml.spi import Scope

# Operations whose action is named otherwise; every other operation's action has its name.
RENAMED: Mapping[str, tuple[str, ...]] = {
    "s3:HeadBucket": ("s3:ListBucket",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "s3:HeadObject": ("s3:GetObject",),
    "s3:DeleteObjects": ("s3:DeleteObject",),
    "s3:CreateMultipartUpload": ("s3:PutObject",),
    "s3:UploadPart": ("s3:PutObject",),
    "s3:CompleteMultipartUpload": ("s3:PutObject",),
}


@dataclass(frozen=True)
class Grant:
    """Operations of one service that are allowed together, on resources of the ``kind``s that a scope names.

    In ``resources``, ``{name}`` is each name, ``{bucket}`` and ``{root}`` are the artifact store's; without ``kind``
    they are for every scope.
    """

    sid: str
    service: str
    operations: tuple[str, ...]
    resources: tuple[str, ...]
    kind: str | None = None


SM = "arn:{partition}:sagemaker:{region}:{account}:"
LOGS = "arn:{partition}:logs:{region}:{account}:log-group:/aws/sagemaker/"
READ_LOGS = ("DescribeLogStreams", "GetLogEvents")
GRANTS = (
    Grant(
        "Lists",
        "sagemaker",
        (
            "ListTrainingJobs",
            "ListModelPackageGroups",
            "ListModels",
            "ListEndpointConfigs",
            "ListEndpoints",
            "ListMonitoringSchedules",
            "ListTags",
        ),
        ("*",),
    ),
    Grant("Bucket", "s3", ("HeadBucket", "ListObjectsV2"), ("arn:{partition}:s3:::{bucket}",)),
    Grant(
        "Artifacts",
        "s3",
        ("GetObject", "HeadObject", "PutObject", "DeleteObjects", "CreateMultipartUpload", "AbortMultipartUpload"),
        ("arn:{partition}:s3:::{bucket}/{root}/*",),
    ),
    Grant(
        "Jobs",
        "sagemaker",
        ("CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob", "DeleteTrainingJob", "AddTags"),
        (SM + "training-job/{name}-*",),
        "job",
    ),
    Grant(
        "JobLogs",
        "logs",
        READ_LOGS,
        (LOGS + "TrainingJobs", LOGS + "TrainingJobs:*"),
        "job",
    ),
    Grant(
        "Models",
        "sagemaker",
        (
            *(
                "CreateModelPackageGroup",
                "DescribeModelPackageGroup",
                "DeleteModelPackageGroup",
                "AddTags",
                "DeleteTags",
            ),
            *("CreateModelPackage", "DescribeModelPackage", "UpdateModelPackage", "DeleteModelPackage"),
            "ListModelPackages",
        ),
        (SM + "model-package-group/{name}", SM + "model-package/{name}/*"),
        "model",
    ),
    Grant(
        "Endpoints",
        "sagemaker",
        (
            *("CreateModel", "DeleteModel", "CreateEndpointConfig", "DescribeEndpointConfig", "DeleteEndpointConfig"),
            *("CreateEndpoint", "DescribeEndpoint", "UpdateEndpoint", "UpdateEndpointWeightsAndCapacities"),
            *("DeleteEndpoint", "InvokeEndpoint", "AddTags"),
        ),
        (SM + "endpoint/{name}", SM + "endpoint-config/{name}-*", SM + "model/{name}-*"),
        "endpoint",
    ),
    Grant(
        "EndpointLogs",
        "logs",
        READ_LOGS,
        (LOGS + "Endpoints/{name}", LOGS + "Endpoints/{name}:*"),
        "endpoint",
    ),
    Grant(
        "Schedules",
        "sagemaker",
        (
            *("CreateMonitoringSchedule", "DescribeMonitoringSchedule", "UpdateMonitoringSchedule"),
            *("StartMonitoringSchedule", "DeleteMonitoringSchedule", "AddTags"),
        ),
        (SM + "monitoring-schedule/{name}",),
        "endpoint",
    ),
    # What the developer guide asks for besides, of whoever has endpoints scaled.
    Grant(
        "ScalingLists",
        "application-autoscaling",
        ("DescribeScalableTargets", "DescribeScalingPolicies"),
        ("*",),
        "endpoint",
    ),
    Grant(
        "Scaling",
        "application-autoscaling",
        ("RegisterScalableTarget", "PutScalingPolicy", "DeregisterScalableTarget"),
        ("arn:{partition}:application-autoscaling:{region}:{account}:scalable-target/*",),
        "endpoint",
    ),
    Grant(
        "ScalingAlarms",
        "cloudwatch",
        ("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms"),
        ("arn:{partition}:cloudwatch:{region}:{account}:alarm:TargetTracking-endpoint/{name}/*",),
        "endpoint",
    ),
    Grant(
        "ScalingRole",
        "iam",
        ("CreateServiceLinkedRole",),
        (
            "arn:{partition}:iam::{account}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
            "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
        ),
        "endpoint",
    ),
    Grant("EndpointMetrics", "cloudwatch", ("GetMetricStatistics",), ("*",), "endpoint"),
)


def actions(service: str, operation: str) -> tuple[str, ...]:
    """The IAM actions that an operation of a service asks for."""
    return RENAMED.get(f"{service}:{operation}", (f"{service}:{operation}",))


def policy(config: Any, scope: Scope) -> Mapping[str, Any]:
    """The policy of a scope; what is not configured (the role, the bucket) is a wildcard in it."""
    role = config.role or os.environ.get("CLOUDML_SAGEMAKER_ROLE") or None
    known = re.match(r"arn:(?P<partition>[a-z-]+):iam::(?P<account>\d{12}):", role or "")
    region = config.region or os.environ.get("AWS_REGION") or "*"
    account = known["account"] if known else "*"
    values = {
        "partition": known["partition"] if known else "aws",
        "account": account,
        "region": region,
        "bucket": config.bucket or os.environ.get("CLOUDML_SAGEMAKER_BUCKET") or f"sagemaker-{region}-{account}",
        "root": f"{config.prefix}/{scope.stack}",
    }
    statements = [statement for grant in GRANTS if (statement := _statement(grant, scope, values))]
    passed = role or f"arn:{values['partition']}:iam::{account}:role/*"
    return {"Version": "2012-10-17", "Statement": [*statements, _pass(passed)]}


def _statement(grant: Grant, scope: Scope, values: Mapping[str, str]) -> dict[str, Any] | None:
    names = scope.names.get(grant.kind, ()) if grant.kind else ("",)
    if not names:
        return None
    allowed = sorted({action for operation in grant.operations for action in actions(grant.service, operation)})
    resources = sorted({text.format(**values, name=name) for text in grant.resources for name in names})
    return {"Sid": grant.sid, "Effect": "Allow", "Action": allowed, "Resource": resources}


def _pass(role: str) -> dict[str, Any]:
    """Jobs and models run with a role, which whoever makes them hands over."""
    condition = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    return {"Sid": "Role", "Effect": "Allow", "Action": ["iam:PassRole"], "Resource": [role], "Condition": condition}
