"""How it is known that each emulated operation behaves as the cloud's does.

SCHEMA: requests and answers are checked against botocore's model of the service. DOCUMENTED: and the behaviour behind
them is in AWS's developer guide. GUESSED: the behaviour is ours. Nothing here was compared with a real account.
"""

from __future__ import annotations

from cloudml.emulation import Evidence

DOCUMENTED = (
    *("CreateTrainingJob", "DescribeTrainingJob", "ListTrainingJobs", "StopTrainingJob"),
    *("CreateModel", "DescribeModel", "ListModels", "DeleteModel"),
    *("CreateModelPackageGroup", "DescribeModelPackageGroup", "ListModelPackageGroups", "DeleteModelPackageGroup"),
    *("CreateModelPackage", "DescribeModelPackage", "ListModelPackages", "UpdateModelPackage", "DeleteModelPackage"),
    *("CreateEndpointConfig", "DescribeEndpointConfig", "ListEndpointConfigs", "DeleteEndpointConfig"),
    *("CreateEndpoint", "DescribeEndpoint", "ListEndpoints", "UpdateEndpoint", "DeleteEndpoint"),
    *("UpdateEndpointWeightsAndCapacities", "InvokeEndpoint", "AddTags", "ListTags", "DeleteTags"),
    *("CreateMonitoringSchedule", "DescribeMonitoringSchedule", "UpdateMonitoringSchedule", "ListMonitoringSchedules"),
    *("DeleteMonitoringSchedule", "StartMonitoringSchedule", "StopMonitoringSchedule", "ListMonitoringExecutions"),
)
SCHEMA = ("DeleteTrainingJob",)
MOTO = ("s3", "iam", "sts", "logs", "monitoring", "application-autoscaling", "ecr")

EVIDENCE = {
    **dict.fromkeys((f"sagemaker {name}" for name in DOCUMENTED), Evidence.DOCUMENTED),
    **dict.fromkeys((f"sagemaker {name}" for name in SCHEMA), Evidence.SCHEMA),
    "iam SimulatePrincipalPolicy": Evidence.DOCUMENTED,
    **dict.fromkeys((f"{name} (moto)" for name in MOTO), Evidence.DOCUMENTED),
}
